"""Timing single steps of the bundled model."""

from __future__ import annotations

import importlib.util
import time

import pytest

from topoprobe.measure.benchmark import Budget, Context, Interrupted
from topoprobe.microbench.model_steps import (
    STEP_SHAPES,
    ModelStepsBenchmark,
    StepShape,
    shapes_of,
)
from topoprobe.model.calibration.readings import Readings
from topoprobe.model.calibration.steps import fit_models
from topoprobe.model.cost import prefill_pairs
from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Environment, Experiment, ResultsDocument, Series

MACHINE = MachineDocument(tool=Tool(tool_version="0"), origin="live", sources=(), nodes=())
BENCHMARK = ModelStepsBenchmark()
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed (extra topoprobe[torch])",
)


def context(memory_bytes: int = 1 << 30, **changes) -> Context:
    """Return a context with time for one sample of each series."""
    return Context(
        budget=Budget("quick", num_samples=1, max_series_s=1e-6, memory_bytes=memory_bytes),
        clock=time.perf_counter,
        conditions=lambda: None,
        cpus=(0, 1),
        scratch="",
        **changes,
    )


@pytest.fixture(scope="module")
def series() -> tuple[Series, ...]:
    return BENCHMARK.run(MACHINE, context()).series


def test_contexts_of_a_shape_spread_around_their_mean() -> None:
    shape = StepShape("fit", 5, 200)
    assert shape.contexts == (100, 150, 200, 250, 300)
    assert StepShape("fit", 1, 77).contexts == (77,)


def test_shapes_that_check_are_not_those_that_are_fitted() -> None:
    composition = {
        role: {(each.num_decodes, each.mean_context, each.chunks)
               for each in STEP_SHAPES if each.role == role}
        for role in ("fit", "validate")
    }  # fmt: skip
    assert len(composition["fit"]) + len(composition["validate"]) == len(STEP_SHAPES)
    assert not composition["fit"] & composition["validate"]


@pytest.mark.parametrize("role", ["fit", "validate"])
def test_shapes_of_the_quick_suite_are_half_of_each_kind(role: str) -> None:
    def kinds(shapes: tuple[StepShape, ...]) -> list[tuple[bool, bool]]:
        chosen = [each for each in shapes if each.role == role]
        return [(each.num_decodes > 0, bool(each.chunks)) for each in chosen]

    quick, full = kinds(shapes_of("quick")), kinds(shapes_of("full"))
    assert set(quick) == set(full) == {(True, False), (False, True), (True, True)}
    assert all(abs(2 * quick.count(kind) - full.count(kind)) <= 2 for kind in set(full))


@needs_torch
def test_each_shape_gives_a_series_with_what_its_mean_step_contains(
    series: tuple[Series, ...],
) -> None:
    assert len(series) == len(shapes_of("quick"))
    for shape, one in zip(shapes_of("quick"), series, strict=True):
        factors = one.factors
        assert (one.name, one.unit, factors["device"]) == ("model.step", "s", "host")
        assert factors["role"] == shape.role
        assert factors["threads"] == 1
        assert factors["num_sequences"] == shape.num_decodes + len(shape.chunks)
        assert factors["num_tokens"] == shape.num_decodes + sum(q for q, _ in shape.chunks)
        assert factors["num_prefill_pairs"] == sum(prefill_pairs(*each) for each in shape.chunks)
        grown = 0 if shape.chunks else shape.num_decodes  # the middle one of three steps
        assert factors["num_context_tokens"] == sum(shape.contexts) + grown
        assert all(sample.value > 0 for sample in one.samples)


@needs_torch
def test_series_can_be_fitted(series: tuple[Series, ...]) -> None:
    results = ResultsDocument(
        tool=Tool(tool_version="0"),
        machine=MACHINE,
        environment=Environment(python="3"),
        suite="quick",
        started_at="2026-01-01T00:00:00Z",
        experiments=(
            Experiment(
                benchmark="model.steps", revision=1, summary="", status=Status.OK, series=series
            ),
        ),
    )
    (cost,) = fit_models(Readings(results))
    assert cost.model.name == "tiny-llama"
    assert cost.num_threads == 1
    assert cost.mean_error_ratio is not None


@needs_torch
def test_cache_beyond_the_budget_is_skipped_with_the_sizes() -> None:
    outcome = BENCHMARK.run(MACHINE, context(memory_bytes=1 << 20))
    assert outcome.status is Status.SKIPPED
    assert "1.00 MiB" in str(outcome.reason)


@needs_torch
def test_benchmark_stops_when_asked() -> None:
    with pytest.raises(Interrupted):
        BENCHMARK.run(MACHINE, context(should_stop=lambda: True))


def test_benchmark_without_torch_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "topoprobe[torch]" in str(BENCHMARK.missing(MACHINE))
