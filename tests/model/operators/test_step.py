"""A step as the sum of its operators."""

from __future__ import annotations

import msgspec
import pytest

from topoprobe.model.calibration.builtin import builtin_calibration
from topoprobe.model.calibration.composed import compose_law
from topoprobe.model.catalogue.shapes import LLAMA_2_7B, LLAMA_3_8B
from topoprobe.model.cost import num_matrix_parameters
from topoprobe.model.operators.recorded import law_of
from topoprobe.model.operators.step import (
    Composition,
    StepOperators,
    matrices,
    step_seconds,
    uncached,
)
from topoprobe.records.calibration import ModelShape


def operators(machine: str) -> StepOperators:
    document = builtin_calibration(machine)
    assert document is not None
    laws = {cost.operator: law_of(cost) for cost in document.operators}
    return StepOperators(
        gemm=laws["gemm"],
        prefill_attention=laws["prefill_attention"],
        decode_attention=laws["decode_attention"],
    )


@pytest.fixture(scope="module")
def h100() -> StepOperators:
    return operators("hgx-h100")


@pytest.mark.parametrize("shape", [LLAMA_2_7B, LLAMA_3_8B], ids=lambda shape: shape.name)
def test_matrices_hold_the_weights_of_the_model(shape: ModelShape) -> None:
    layer = sum(rows * columns for rows, columns in matrices(shape))
    head = shape.hidden_size * shape.vocab_size
    assert shape.num_layers * layer + head == num_matrix_parameters(shape)


def test_step_counts_what_the_step_law_counts() -> None:
    step = Composition(num_prompts=2, prompt_tokens=10, num_decoding=3, context=100)
    features = step.features()
    assert features.num_sequences == 5
    assert features.num_tokens == 23
    assert features.num_prefill_pairs == 2 * 55
    assert features.num_context_tokens == 300


def test_step_grows_with_each_of_its_parts(h100: StepOperators) -> None:
    step = Composition(num_prompts=1, prompt_tokens=256, num_decoding=8, context=1000)
    seconds = step_seconds(LLAMA_3_8B, h100, step)
    for part in ("num_prompts", "prompt_tokens", "num_decoding", "context"):
        changes = {
            name: getattr(step, name) * (2 if name == part else 1)
            for name in ("num_prompts", "prompt_tokens", "num_decoding", "context")
        }
        assert step_seconds(LLAMA_3_8B, h100, Composition(**changes)) > seconds, part


def test_layers_are_priced_alike(h100: StepOperators) -> None:
    step = Composition(num_decoding=4, context=500)
    seconds = [
        step_seconds(msgspec.structs.replace(LLAMA_3_8B, num_layers=num_layers), h100, step)
        for num_layers in (0, 1, 32)
    ]
    assert seconds[2] - seconds[0] == pytest.approx(32 * (seconds[1] - seconds[0]))


def test_decode_step_reads_all_weights_from_memory() -> None:
    machine = operators("4xl40s")
    step = Composition(num_decoding=1, context=10)
    weights_s = 2 * num_matrix_parameters(LLAMA_3_8B) * machine.gemm.roofline.per_byte_s
    cold = step_seconds(LLAMA_3_8B, uncached(machine), step)
    assert cold > weights_s
    assert step_seconds(LLAMA_3_8B, machine, step) < cold


def test_parts_beyond_the_timed_shapes_are_named(h100: StepOperators) -> None:
    # Products were timed up to 65,536 columns; its vocabulary has 128,256 words.
    assert compose_law(LLAMA_3_8B, h100).extrapolated == ("vocabulary product",)
    # Decoding was timed with up to 8 key-value heads; it has 32.
    assert compose_law(LLAMA_2_7B, h100).extrapolated == ("decode attention",)


@pytest.mark.parametrize("machine", ["dgx-a100", "hgx-h100", "hgx-h200", "4xl40s"])
@pytest.mark.parametrize("shape", [LLAMA_2_7B, LLAMA_3_8B], ids=lambda shape: shape.name)
def test_step_law_stands_for_the_sum_of_the_operators(machine: str, shape: ModelShape) -> None:
    composed = compose_law(shape, operators(machine))
    assert composed.mean_error_ratio < 0.05
    assert composed.num_fit_steps > 30
    assert composed.num_validation_steps > 30
    assert min(composed.law.per_token_ps, composed.law.stream_ps, composed.law.fixed_ps) > 0
