"""What `topoprobe bench` would do: which benchmarks and sets, for how long, on what memory."""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Sequence

from topoprobe.errors import EnvironmentMissing
from topoprobe.measure.benchmark import Benchmark, Budget, GpuChoice, PlannedSet, RunsSets
from topoprobe.measure.flows import parse_flow_set
from topoprobe.measure.suite import expected_seconds
from topoprobe.records.machine import MachineDocument
from topoprobe.units import format_bytes, format_seconds

_WIDTH = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Planned:
    """What a benchmark would do.

    Attributes
    ----------
    name : str
        Of the benchmark.
    seconds : float
        About how long it takes, 0 where it is missing.
    missing : str or None
        Why it cannot run here.
    memory_bytes : int or None
        Host memory that it holds at once; None where only the limit is known.
    sets : tuple of PlannedSet
        Of a benchmark that can say which concurrent sets it runs.
    """

    name: str
    seconds: float
    missing: str | None
    memory_bytes: int | None = None
    sets: tuple[PlannedSet, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class BenchPlan:
    """A whole run of `bench`, in order.

    Attributes
    ----------
    budget : Budget
        Suite, and the most memory.
    limit_s : float or None
        Of ``--max-time``.
    benchmarks : tuple of Planned
        Those that cannot run here among them.
    """

    budget: Budget
    limit_s: float | None
    benchmarks: tuple[Planned, ...]

    @property
    def runnable(self) -> tuple[Planned, ...]:
        """Those that can run here."""
        return tuple(one for one in self.benchmarks if one.missing is None)

    @property
    def seconds(self) -> float:
        """About how long all takes that can run here, without the limit."""
        return sum(one.seconds for one in self.runnable)

    @property
    def memory_bytes(self) -> int | None:
        """Most memory held at once; None where a benchmark tells its limit only."""
        needs = [one.memory_bytes for one in self.runnable]
        known = [need for need in needs if need is not None]
        return max(known) if known and len(known) == len(needs) else None

    @property
    def cut(self) -> tuple[str, ...]:
        """Names of those that the limit cuts short or leaves out."""
        if self.limit_s is None:
            return ()
        ends = itertools.accumulate(one.seconds for one in self.runnable)
        return tuple(
            one.name for one, end_s in zip(self.runnable, ends, strict=True) if end_s > self.limit_s
        )

    @property
    def about(self) -> str:
        """How well the time is known: a longer suite ends a series that is steady before it."""
        return "about" if self.budget.suite == "quick" else "at most about"

    def check(self) -> None:
        """Check that anything can run.

        Raises
        ------
        EnvironmentMissing
            If nothing can, with the reason of the first.
        """
        if not self.runnable:
            raise EnvironmentMissing(f"Nothing could be measured: {self.benchmarks[0].missing}")


def plan_bench(
    benchmarks: Sequence[Benchmark],
    machine: MachineDocument,
    budget: Budget,
    gpus: GpuChoice,
    limit_s: float | None,
) -> BenchPlan:
    """Find out what would run; nothing is measured and little allocated.

    Raises
    ------
    UsageError
        If flows make no sense here, or need more memory than the budget has.
    """
    planned = tuple(_planned(one, machine, budget, gpus) for one in benchmarks)
    return BenchPlan(budget, limit_s, planned)


def plan_record(plan: BenchPlan) -> dict[str, object]:
    """Return a plan as ``--dry-run --json`` prints it."""
    return {
        "suite": plan.budget.suite,
        "memory_bytes": plan.memory_bytes,
        "memory_limit_bytes": plan.budget.memory_bytes,
        "seconds": _limited_s(plan),
        "max_time_seconds": plan.limit_s,
        "benchmarks": [dataclasses.asdict(one) for one in plan.benchmarks],
    }


def plan_lines(plan: BenchPlan, offered: Sequence[str]) -> list[str]:
    """Write a plan for people; `offered` are the names of all benchmarks that there are."""
    about = "at most about" if plan.cut else plan.about
    lines = [
        f"Would run {_what(plan, offered)} for {about} {_duration(_limited_s(plan))} "
        f"({plan.budget.suite} suite), {_memory(plan)}."
    ]
    by_gap: dict[str, list[str]] = {}
    for one in plan.benchmarks:
        if one.missing and not one.sets:
            by_gap.setdefault(one.missing, []).append(one.name)
            continue
        how = f"skipped: {one.missing}" if one.missing else _time(plan, one)
        lines.append(f"  {one.name}: {how}")
        lines += [
            f"    {each.flows}: {each.missing or _need(each)}" for each in _together(one.sets)
        ]
    for gap, names in by_gap.items():
        lines += ["", f"Not here, {gap.removesuffix('.')}:"]
        lines += textwrap.wrap(
            ", ".join(names), _WIDTH, initial_indent="  ", subsequent_indent="  "
        )
    return lines


def shortage(plan: BenchPlan) -> str | None:
    """Say what ``--max-time`` leaves no time for, or None where all fits."""
    if not plan.cut:
        return None
    names = ", ".join(plan.cut[:3]) + (f" and {len(plan.cut) - 3} more" if plan.cut[3:] else "")
    return (
        f"--max-time allows {_duration(plan.limit_s or 0.0)} and all of it takes {plan.about} "
        f"{_duration(plan.seconds)}: {names} may be cut short or left out; what is measured until "
        "then is kept"
    )


def _planned(
    benchmark: Benchmark, machine: MachineDocument, budget: Budget, gpus: GpuChoice
) -> Planned:
    missing = benchmark.missing(machine)
    if missing is not None:
        return Planned(benchmark.name, 0.0, missing)
    if not isinstance(benchmark, RunsSets):
        return Planned(benchmark.name, expected_seconds(benchmark, budget), None)
    try:
        plan = benchmark.plan(machine, budget, gpus)
    except EnvironmentMissing as gap:
        return Planned(benchmark.name, 0.0, str(gap))
    runnable = [one for one in plan.sets if one.missing is None]
    if plan.sets and not runnable:
        return Planned(benchmark.name, 0.0, plan.sets[0].missing, 0, plan.sets)
    # To open what the sets need takes its time too, of which the quick suite's knows.
    seconds = max(benchmark.seconds, sum(one.seconds for one in runnable))
    return Planned(benchmark.name, seconds, None, plan.memory_bytes, plan.sets)


def _need(one: PlannedSet) -> str:
    text = f"{format_bytes(one.memory_bytes)}, {_duration(one.seconds)}"
    if one.scratch_folders:
        text += f", scratch files in {', '.join(one.scratch_folders)} (removed afterwards)"
    return text


def _limited_s(plan: BenchPlan) -> float:
    return plan.seconds if plan.limit_s is None else min(plan.seconds, plan.limit_s)


def _time(plan: BenchPlan, one: Planned) -> str:
    text = f"{plan.about} {_duration(one.seconds)}"
    return f"{text}, cut short or left out by --max-time" if one.name in plan.cut else text


def _memory(plan: BenchPlan) -> str:
    if plan.memory_bytes is not None:
        return f"with {format_bytes(plan.memory_bytes)} of memory"
    limit = format_bytes(plan.budget.memory_bytes)
    return f"in at most {limit} of memory, half of what is free"


def _together(sets: Sequence[PlannedSet]) -> Sequence[PlannedSet]:
    """Return the sets of several flows, which imply each flow alone; the last if none has."""
    return [one for one in sets if len(parse_flow_set(one.flows).flows) > 1] or sets[-1:]


def _what(plan: BenchPlan, offered: Sequence[str]) -> str:
    if not set(offered) >= {one.name for one in plan.benchmarks}:
        return "the given flows"
    return f"{len(plan.runnable)} of {len(offered)} benchmarks"


def _duration(seconds: float) -> str:
    """Write a planned time, which is not known better than so."""
    if seconds < 1:
        return format_seconds(seconds)
    return f"{seconds:.0f} s" if seconds < 300 else f"{seconds / 60:.0f} min"
