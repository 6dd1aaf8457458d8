"""Fitting the step-cost law."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import ModelError
from topoprobe.model.calibration.nonnegative import solve_nonnegative
from topoprobe.model.calibration.readings import Readings
from topoprobe.model.calibration.steps import fit_models
from topoprobe.model.cost import FEATURES, StepFeatures, StepLaw, law_from, prefill_pairs
from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import (
    Environment,
    Experiment,
    ResultsDocument,
    Sample,
    Series,
)
from topoprobe.units import PS_PER_S

LAW = StepLaw(
    fixed_ps=2_000_000_000,
    per_sequence_ps=300_000_000,
    per_token_ps=200_000_000,
    per_pair_ps=20_000,
    stream_ps=4_000_000_000,
    per_context_ps=1_000_000,
)
DECODES = [(count, context) for count in (1, 2, 4, 8, 16) for context in (16, 300, 900)]
CHUNKS = [(query, context) for query in (8, 32, 64, 128, 256) for context in (0, 200, 700)]


def decode(num_sequences: int, context: int) -> StepFeatures:
    return StepFeatures(
        num_sequences=num_sequences,
        num_tokens=num_sequences,
        num_prefill_pairs=0,
        num_context_tokens=num_sequences * context,
    )


def chunk(query: int, context: int) -> StepFeatures:
    return StepFeatures(
        num_sequences=1,
        num_tokens=query,
        num_prefill_pairs=prefill_pairs(query, context),
        num_context_tokens=0,
    )


def series(features: StepFeatures, role: str, noise: float = 0.0, **factors) -> Series:
    rng = random.Random(repr(features))
    exact = LAW.step_ps(features) / PS_PER_S
    samples = [exact * (1 + rng.gauss(0, noise)) for _ in range(5)]
    return Series(
        name="model.step",
        unit="s",
        factors={
            "device": "host",
            "model": "tiny-llama",
            "dtype": "fp32",
            "threads": 2,
            "num_sequences": features.num_sequences,
            "num_tokens": features.num_tokens,
            "num_prefill_pairs": features.num_prefill_pairs,
            "num_context_tokens": features.num_context_tokens,
            "role": role,
            **factors,
        },
        is_better_higher=False,
        status=Status.OK,
        samples=tuple(Sample(value=one, started_s=0.0, duration_s=one) for one in samples),
    )


def readings(*all_series: Series) -> Readings:
    experiment = Experiment(
        benchmark="model.steps", revision=1, summary="", status=Status.OK, series=all_series
    )
    return Readings(
        ResultsDocument(
            tool=Tool(tool_version="0"),
            machine=MachineDocument(
                tool=Tool(tool_version="0"), origin="live", sources=(), nodes=()
            ),
            environment=Environment(python="3"),
            suite="quick",
            started_at="2026-01-01T00:00:00Z",
            experiments=(experiment,),
        )
    )


def suite(noise: float = 0.0) -> list[Series]:
    fitted = [decode(*each) for each in DECODES] + [chunk(*each) for each in CHUNKS]
    validated = [decode(6, 500), chunk(96, 100), decode(12, 60)]
    return [series(each, "fit", noise) for each in fitted] + [
        series(each, "validate", noise) for each in validated
    ]


def test_fit_of_exact_steps_recovers_the_law():
    (cost,) = fit_models(readings(*suite()))
    assert cost.max_error_ratio < 0.03
    law = law_from(cost)
    assert law.per_token_ps == pytest.approx(LAW.per_token_ps, rel=0.05)
    assert law.per_context_ps == pytest.approx(LAW.per_context_ps, rel=0.05)
    assert law.per_pair_ps == pytest.approx(LAW.per_pair_ps, rel=0.1)
    # The knee is found on a grid, so what it costs to be beside it goes to its neighbours.
    assert law.fixed_ps + law.stream_ps == pytest.approx(LAW.fixed_ps + LAW.stream_ps, rel=0.1)


def test_fit_states_samples_shapes_ranges_and_threads():
    (cost,) = fit_models(readings(*suite()))
    assert [each.feature for each in cost.coefficients] == list(FEATURES)
    assert (cost.num_fit_shapes, cost.num_validation_shapes) == (30, 3)
    assert cost.num_threads == 2
    assert cost.devices == ("host",)
    assert {(one.feature, one.low, one.high) for one in cost.ranges} == {
        ("per_sequence", 1.0, 16.0),
        ("per_token", 1.0, 256.0),
        ("per_pair", 0.0, float(prefill_pairs(256, 700))),
        ("per_context", 0.0, 16 * 900.0),
    }


def test_fit_of_noisy_steps_has_intervals_around_its_values():
    (cost,) = fit_models(readings(*suite(noise=0.05)))
    assert 0.0 < cost.mean_error_ratio < 0.1
    for coefficient in cost.coefficients:
        estimate = coefficient.estimate
        assert 0.0 <= estimate.low <= estimate.value <= estimate.high
    per_token = cost.coefficients[FEATURES.index("per_token")].estimate
    assert per_token.low < per_token.high


def test_fit_of_the_same_samples_is_the_same():
    noisy = suite(noise=0.05)
    assert fit_models(readings(*noisy)) == fit_models(readings(*noisy))


def test_too_few_shapes_give_no_law():
    few = [series(decode(count, 10), "fit") for count in range(1, len(FEATURES))]
    assert fit_models(readings(*few, series(decode(9, 9), "validate"))) == ()


def test_law_that_was_never_validated_is_not_given():
    fitted = [each for each in suite() if each.factors["role"] == "fit"]
    assert fit_models(readings(*fitted)) == ()


def test_each_number_of_threads_gets_its_law():
    slow = [
        Series(**{**{f: getattr(each, f) for f in each.__struct_fields__},
                  "factors": {**each.factors, "threads": 1}})
        for each in suite()
    ]  # fmt: skip
    costs = fit_models(readings(*suite(), *slow))
    assert [cost.num_threads for cost in costs] == [2, 1]


def test_steps_of_an_unknown_model_are_refused():
    unknown = [
        series(decode(*each), role, model="nobody")
        for role, each in [("fit", each) for each in DECODES] + [("validate", (5, 5))]
    ]
    with pytest.raises(ModelError, match="nobody"):
        fit_models(readings(*unknown))


def test_nonnegative_solution_binds_a_column_that_wants_to_be_negative():
    design = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    falling = np.array([3.0, 2.0, 1.0])
    np.testing.assert_allclose(solve_nonnegative(design, falling), [2.0, 0.0], atol=1e-12)


def test_nonnegative_solution_of_a_zero_column_is_zero():
    design = np.array([[1.0, 0.0], [2.0, 0.0]])
    np.testing.assert_allclose(solve_nonnegative(design, np.array([2.0, 4.0])), [2.0, 0.0])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), num_columns=st.integers(1, 6), scale=st.integers(0, 9))
def test_nonnegative_solution_meets_the_optimality_conditions(seed, num_columns, scale):
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(12, num_columns)) * 10.0 ** rng.integers(-scale, 1, num_columns)
    target = rng.normal(size=12)
    solution = solve_nonnegative(design, target)
    assert (solution >= 0).all()
    lengths = np.sqrt((design**2).sum(axis=0))
    gradient = (design.T @ (target - design @ solution)) / lengths
    assert (gradient < 1e-7).all()
    assert np.abs(gradient[solution > 0]).max(initial=0.0) < 1e-7
