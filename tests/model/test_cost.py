from __future__ import annotations

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.errors import ModelError
from topoprobe.model.catalogue.shapes import LLAMA_2_7B, LLAMA_3_8B, TINY_LLAMA
from topoprobe.model.cost import (
    FEATURES,
    StepFeatures,
    StepLaw,
    derive_law,
    kv_bytes_per_token,
    law_from,
    num_parameters,
    prefill_pairs,
)
from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import Coefficient, ModelCost

PS = st.integers(0, 10**10)
COUNT = st.integers(0, 10_000)
LAWS = st.builds(StepLaw, PS, PS, PS, PS, PS, PS)


@given(LAWS, st.builds(StepFeatures, COUNT, COUNT, COUNT, COUNT), st.integers(1, 60))
def test_segment_is_exactly_the_sum_of_its_steps(
    law: StepLaw, features: StepFeatures, num_steps: int
) -> None:
    total = 0
    for step in range(num_steps):
        grown = features.num_context_tokens + step * features.num_sequences
        total += law.step_ps(dataclasses.replace(features, num_context_tokens=grown))
    assert law.segment_ps(features, num_steps) == total


@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 59))
def test_prefill_pairs_do_not_depend_on_the_cut(num_query: int, num_context: int, cut: int) -> None:
    cut = min(cut, num_query)
    whole = prefill_pairs(num_query, num_context)
    rest = num_query - cut
    assert whole == sum(num_context + each + 1 for each in range(num_query))
    assert whole == prefill_pairs(cut, num_context) + prefill_pairs(rest, num_context + cut)


def test_sizes_are_those_that_are_published() -> None:
    assert num_parameters(LLAMA_2_7B) == pytest.approx(6.74e9, rel=0.001)
    assert num_parameters(LLAMA_3_8B) == pytest.approx(8.03e9, rel=0.001)
    assert kv_bytes_per_token(LLAMA_2_7B) == 512 * 1024
    assert kv_bytes_per_token(LLAMA_3_8B) == 128 * 1024


def test_tied_embeddings_are_stored_once() -> None:
    tied = msgspec.structs.replace(TINY_LLAMA, has_tied_embeddings=True)
    saved = TINY_LLAMA.vocab_size * TINY_LLAMA.hidden_size
    assert num_parameters(TINY_LLAMA) - num_parameters(tied) == saved


def test_derived_law_follows_the_roofline() -> None:
    law = derive_law(LLAMA_3_8B, flop_per_s=1e12, bytes_per_s=1e11, fixed_s=1e-3)
    weights = num_parameters(LLAMA_3_8B) - LLAMA_3_8B.vocab_size * LLAMA_3_8B.hidden_size
    assert law.fixed_ps == 10**9
    assert law.per_token_ps == 2 * weights
    assert law.stream_ps == weights * 2 * 10
    assert law.per_context_ps == 128 * 1024 * 10
    assert law.per_pair_ps == 4 * 32 * 32 * 128


def cost(**seconds: float) -> ModelCost:
    return ModelCost(
        model=TINY_LLAMA,
        devices=("host",),
        coefficients=tuple(
            Coefficient(
                feature=feature,
                unit="s",
                estimate=Estimate(
                    value=value, low=value, high=value, source=Source.MEASURED, n=3, evidence="test"
                ),
            )
            for feature, value in seconds.items()
        ),
        num_fit_shapes=3,
        num_validation_shapes=2,
    )


def test_law_from_calibration_reads_every_coefficient() -> None:
    seconds = dict(zip(FEATURES, (1e-3, 2e-6, 3e-5, 4e-9, 5e-4, 6e-8), strict=True))
    law = law_from(cost(**seconds))
    assert law == StepLaw(10**9, 2 * 10**6, 3 * 10**7, 4 * 10**3, 5 * 10**8, 6 * 10**4)


@pytest.mark.parametrize(
    "seconds",
    [
        {},
        dict.fromkeys(FEATURES[:-1], 1.0),
        dict.fromkeys((*FEATURES, "per_moon"), 1.0),
        dict.fromkeys(FEATURES, -1.0),
    ],
)
def test_law_from_other_coefficients_is_refused(seconds: dict[str, float]) -> None:
    with pytest.raises(ModelError, match="calibrate it again"):
        law_from(cost(**seconds))


def test_law_from_other_units_is_refused() -> None:
    good = cost(**dict.fromkeys(FEATURES, 1.0))
    coefficients = (
        msgspec.structs.replace(good.coefficients[0], unit="ms"),
        *good.coefficients[1:],
    )
    with pytest.raises(ModelError, match=r"fixed \(ms\)"):
        law_from(msgspec.structs.replace(good, coefficients=coefficients))
