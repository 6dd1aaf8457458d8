"""Running benchmarks one after the other into a results document, whatever becomes of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from topoprobe.errors import EnvironmentMissing, TopoprobeError, UsageError
from topoprobe.measure.benchmark import Benchmark, Budget, Context, Interrupted, Outcome
from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Environment, Experiment, ResultsDocument, Series

SUITES = ("quick", "standard", "full")

_SAMPLES_AND_SECONDS = {"quick": (5, 1.5), "standard": (10, 6.0), "full": (20, 30.0)}


def budget(suite: str, memory_bytes: int) -> Budget:
    """Return the budget of a suite.

    Parameters
    ----------
    suite : str
        ``quick`` (a minute without GPUs), ``standard`` (five minutes) or ``full`` (as long as it
        takes).
    memory_bytes : int
        Most memory that may be held at once.

    Raises
    ------
    UsageError
        If there is no such suite.
    """
    if suite not in SUITES:
        raise UsageError(f"{suite!r} is not a suite; expected one of {', '.join(SUITES)}.")
    num_samples, max_series_s = _SAMPLES_AND_SECONDS[suite]
    return Budget(suite, num_samples, max_series_s, memory_bytes)


def expected_seconds(benchmark: Benchmark, budget: Budget) -> float:
    """Return about how long a benchmark takes in a suite.

    It says so itself for ``quick``; for a longer suite this is the time if every series used up
    what it may have, so an upper bound.
    """
    _, quick_series_s = _SAMPLES_AND_SECONDS["quick"]
    return benchmark.seconds * budget.max_series_s / quick_series_s


def select(benchmarks: Sequence[Benchmark], patterns: Sequence[str]) -> tuple[Benchmark, ...]:
    """Return the benchmarks whose name matches any pattern such as ``cpu.*``; all without one.

    Raises
    ------
    UsageError
        If a pattern matches nothing.
    """
    for pattern in patterns:
        if not any(fnmatchcase(benchmark.name, pattern) for benchmark in benchmarks):
            names = ", ".join(benchmark.name for benchmark in benchmarks)
            raise UsageError(f"{pattern!r} matches no benchmark; there are {names}.")
    if not patterns:
        return tuple(benchmarks)
    return tuple(
        benchmark
        for benchmark in benchmarks
        if any(fnmatchcase(benchmark.name, pattern) for pattern in patterns)
    )


def run(
    machine: MachineDocument,
    benchmarks: Sequence[Benchmark],
    context: Context,
    *,
    environment: Environment,
    tool: Tool,
    now: Callable[[], str],
    progress: Callable[[float, str], None],
) -> ResultsDocument:
    """Run benchmarks in order.

    One that cannot run is ``skipped``, one that raises is ``failed``, and the others go on. After
    an interruption the document is partial: what was measured is in it, and what was not begun is
    ``skipped``.

    Parameters
    ----------
    machine : MachineDocument
        Measured on, and stored in the document.
    benchmarks : sequence of Benchmark
        In this order.
    context : Context
        Given to each, except for `Context.progress` and `Context.keep`.
    environment, tool
        Stored in the document.
    now : callable
        The time of day, in ISO 8601.
    progress : callable
        Told the share that is done, by expected time, and what begins.

    Raises
    ------
    UsageError
        If a benchmark was given something that makes no sense.
    """
    started_at = now()
    total_s = sum(benchmark.seconds for benchmark in benchmarks) or 1.0
    before_s = 0.0
    experiments: list[Experiment] = []
    is_partial = False
    for benchmark in benchmarks:
        if is_partial or context.should_stop():
            is_partial = True
            reason = "stopped before it began"
            experiments.append(_experiment(benchmark, Status.SKIPPED, reason))
            continue
        tell = _teller(benchmark, before_s, total_s, context, progress)
        experiment, was_stopped = _run_one(benchmark, machine, context, tell, now)
        experiments.append(experiment)
        is_partial = was_stopped
        before_s += benchmark.seconds
    return ResultsDocument(
        tool=tool,
        machine=machine,
        environment=environment,
        suite=context.budget.suite,
        started_at=started_at,
        is_partial=is_partial,
        experiments=tuple(experiments),
    )


def has_samples(document: ResultsDocument) -> bool:
    """Tell whether anything was measured."""
    return any(one.samples for run_ in document.experiments for one in run_.series)


def has_failed(document: ResultsDocument) -> bool:
    """Tell whether all that was asked for failed: no series has a sample and something failed."""
    has_failure = any(run_.status is Status.FAILED for run_ in document.experiments)
    return has_failure and not has_samples(document)


def _run_one(
    benchmark: Benchmark,
    machine: MachineDocument,
    context: Context,
    tell: Callable[[str], None],
    now: Callable[[], str],
) -> tuple[Experiment, bool]:
    """Run one benchmark; also tell whether it was stopped."""
    started_at, begin_s = now(), context.clock()
    tell("")
    kept: list[Series] = []
    was_stopped = False
    try:
        missing = benchmark.missing(machine)
        if missing is not None:
            return _experiment(benchmark, Status.SKIPPED, missing), False
        outcome = _judged(
            benchmark.run(machine, dataclasses.replace(context, progress=tell, keep=kept.append))
        )
    except Interrupted:
        was_stopped = True
        reason = f"stopped; {len(kept)} series were begun or finished"
        outcome = Outcome(tuple(kept), Status.UNSTABLE if kept else Status.SKIPPED, reason)
    except UsageError:
        raise  # not the machine's fault: what the person asked for makes no sense
    except EnvironmentMissing as error:
        outcome = Outcome(tuple(kept), Status.SKIPPED, str(error))
    except (TopoprobeError, MemoryError, OSError) as error:
        outcome = Outcome(tuple(kept), Status.FAILED, str(error) or type(error).__name__)
    except Exception as error:  # a defect in one benchmark must not cost the results of the others
        outcome = Outcome(tuple(kept), Status.FAILED, f"{type(error).__name__}: {error}")
    experiment = _experiment(
        benchmark,
        outcome.status,
        outcome.reason,
        started_at=started_at,
        elapsed_s=context.clock() - begin_s,
        series=outcome.series,
    )
    return experiment, was_stopped


def _judged(outcome: Outcome) -> Outcome:
    """Return an outcome that is not ``ok`` where no series of it has a sample."""
    if outcome.status is not Status.OK or any(one.samples for one in outcome.series):
        return outcome
    for status in (Status.FAILED, Status.SKIPPED):
        reasons = [one.reason for one in outcome.series if one.status is status]
        if reasons:
            return Outcome(outcome.series, status, reasons[0])
    return Outcome(outcome.series, Status.SKIPPED, "there was nothing to measure")


def _experiment(
    benchmark: Benchmark,
    status: Status,
    reason: str | None,
    *,
    started_at: str | None = None,
    elapsed_s: float | None = None,
    series: tuple[Series, ...] = (),
) -> Experiment:
    return Experiment(
        benchmark=benchmark.name,
        revision=benchmark.revision,
        summary=benchmark.summary,
        status=status,
        reason=reason,
        started_at=started_at,
        elapsed_s=elapsed_s,
        series=series,
    )


def _teller(
    benchmark: Benchmark,
    before_s: float,
    total_s: float,
    context: Context,
    progress: Callable[[float, str], None],
) -> Callable[[str], None]:
    begin_s = context.clock()

    def tell(text: str) -> None:
        # A benchmark that takes longer than it said stays just short of its end.
        own_s = min(context.clock() - begin_s, 0.98 * benchmark.seconds)
        progress((before_s + own_s) / total_s, f"{benchmark.name} {text}".rstrip())

    return tell
