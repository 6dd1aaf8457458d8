"""Running benchmarks into a document, on a fake clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from tests.measure.support import Bench
from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.measure import suite
from topoprobe.measure.benchmark import Context, Interrupted, Outcome
from topoprobe.measure.series import Quantity, Trial, collect, skipped
from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Environment, ResultsDocument, Series

TOOL = Tool(tool_version="0")
MACHINE = MachineDocument(tool=TOOL, origin="synthetic", sources=(), nodes=())


@dataclass(frozen=True)
class Fake:
    name: str
    act: Callable[[Context], Outcome]
    reason: str | None = None
    summary: str = "Pretend."
    revision: int = 3
    seconds: float = 10.0

    def missing(self, machine: MachineDocument) -> str | None:
        return self.reason

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        return self.act(context)


def measure_two(bench: Bench) -> Callable[[Context], Outcome]:
    def act(context: Context) -> Outcome:
        def sample() -> float:
            bench.clock.now_s += 1.0
            return 5.0

        series: list[Series] = []
        for name in ("first", "second"):
            series += collect(context, [Trial.of(Quantity(name, "s", {}), sample)])
        return Outcome(tuple(series))

    return act


def fail(error: Exception) -> Callable[[Context], Outcome]:
    def act(context: Context) -> Outcome:
        raise error

    return act


def run(
    bench: Bench,
    benchmarks: Sequence[Fake],
    *,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[float, str], None] = lambda done_ratio, text: None,
) -> ResultsDocument:
    return suite.run(
        MACHINE,
        benchmarks,
        bench.context(should_stop=should_stop),
        environment=Environment(python="3.11"),
        tool=TOOL,
        now=lambda: "2025-01-01T00:00:00+00:00",
        progress=progress,
    )


def test_suite_one_that_raises_fails_and_the_others_go_on() -> None:
    bench = Bench()
    document = run(
        bench,
        [
            Fake("a", fail(MeasurementFailed("no wire"))),
            Fake("b", fail(ZeroDivisionError("division by zero"))),
            Fake("c", measure_two(bench)),
        ],
    )
    assert [(one.status, one.reason) for one in document.experiments] == [
        (Status.FAILED, "no wire"),
        (Status.FAILED, "ZeroDivisionError: division by zero"),
        (Status.OK, None),
    ]
    assert document.experiments[2].elapsed_s == 12.0
    assert not document.is_partial
    assert not suite.has_failed(document)


def test_suite_missing_ones_are_skipped_with_the_reason() -> None:
    bench = Bench()
    document = run(
        bench,
        [
            Fake("a", fail(AssertionError()), reason="no GPU"),
            Fake("b", fail(EnvironmentMissing("no numba"))),
        ],
    )
    assert [(one.status, one.reason) for one in document.experiments] == [
        (Status.SKIPPED, "no GPU"),
        (Status.SKIPPED, "no numba"),
    ]
    assert not suite.has_failed(document)


def test_suite_outcome_without_samples_is_not_ok() -> None:
    wire, gpu = Quantity("wire", "s", {}), Quantity("gpu", "s", {})

    def act(context: Context) -> Outcome:
        def cut() -> float:
            raise MeasurementFailed("the wire is cut")

        return Outcome((skipped(gpu, "no GPU"), *collect(context, [Trial.of(wire, cut)])))

    document = run(
        Bench(), [Fake("a", act), Fake("b", lambda context: Outcome((skipped(gpu, "no GPU"),)))]
    )
    assert [(one.status, one.reason) for one in document.experiments] == [
        (Status.FAILED, "the wire is cut"),
        (Status.SKIPPED, "no GPU"),
    ]


def test_suite_of_failures_only_has_failed() -> None:
    assert suite.has_failed(run(Bench(), [Fake("a", fail(MemoryError()))]))


def test_suite_stopped_keeps_what_was_measured_and_skips_the_rest() -> None:
    bench = Bench()
    document = run(
        bench,
        [Fake("a", measure_two(bench)), Fake("b", measure_two(bench))],
        should_stop=lambda: bench.clock.now_s >= 8.0,
    )
    first, second = document.experiments
    assert document.is_partial
    assert (first.status, first.reason) == (
        Status.UNSTABLE,
        "stopped; 2 series were begun or finished",
    )
    assert [(one.name, one.status, len(one.samples)) for one in first.series] == [
        ("first", Status.OK, 6),
        ("second", Status.UNSTABLE, 2),
    ]
    assert (second.status, second.reason) == (Status.SKIPPED, "stopped before it began")


def test_suite_stopped_in_the_last_benchmark_is_partial() -> None:
    document = run(Bench(), [Fake("a", fail(Interrupted()))])
    assert document.is_partial
    assert document.experiments[0].status is Status.SKIPPED


def test_suite_lets_nonsense_requests_through() -> None:
    with pytest.raises(UsageError, match="core:9"):
        run(Bench(), [Fake("a", fail(UsageError("core:9 is no CPU")))])


def test_suite_progress_follows_the_expected_time_and_never_falls() -> None:
    bench, told = Bench(), []

    def slow(context: Context) -> Outcome:
        for _ in range(3):
            bench.clock.now_s += 8.0  # longer than it said
            context.progress("still here")
        return Outcome(())

    run(
        bench,
        [Fake("a", slow), Fake("b", slow)],
        progress=lambda done_ratio, text: told.append((done_ratio, text)),
    )
    ratios = [ratio for ratio, _ in told]
    assert ratios == sorted(ratios)
    assert ratios[:3] == [0.0, pytest.approx(0.4), pytest.approx(0.49)]
    assert told[1][1] == "a still here"


def test_select_patterns_keep_the_order_of_the_suite() -> None:
    fakes = [Fake(name, fail(AssertionError())) for name in ("cpu.a", "gpu.b", "cpu.c")]
    chosen = suite.select(fakes, ["cpu.c", "cpu.*"])
    assert [one.name for one in chosen] == ["cpu.a", "cpu.c"]
    assert suite.select(fakes, []) == tuple(fakes)


def test_select_pattern_without_match_names_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"'gpu\.\*' matches no benchmark; there are cpu\.a\."):
        suite.select([Fake("cpu.a", fail(AssertionError()))], ["gpu.*"])


def test_budget_unknown_suite_is_refused() -> None:
    with pytest.raises(UsageError, match="quick, standard, full"):
        suite.budget("slow", 1)
