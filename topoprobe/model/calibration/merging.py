"""Several runs of the suite as one: samples pooled, contradictions found and told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import msgspec

from topoprobe.errors import InputError
from topoprobe.machine.sameness import difference
from topoprobe.measure.stability import TOLERANCE_RATIO
from topoprobe.measure.statistics import estimate, steady_samples, steady_values
from topoprobe.model.calibration.readings import series_name
from topoprobe.records.base import Estimate, Status, Verdict
from topoprobe.records.results import Experiment, Factor, ResultsDocument, Series

_Key = tuple[str, str, tuple[tuple[str, Factor], ...]]
_MEASURED = (Status.OK, Status.UNSTABLE)


@dataclass(frozen=True, slots=True)
class NamedRun:
    """One results document and what messages call it, usually its file's name."""

    name: str
    results: ResultsDocument

    def __str__(self) -> str:
        return f"{self.name} ({self.results.suite} suite, {self.results.started_at})"


@dataclass(frozen=True, slots=True)
class Merged:
    """What several runs tell together.

    Attributes
    ----------
    runs : tuple of NamedRun
        From the oldest to the newest.
    results : ResultsDocument
        The newest run, with the samples of the others.
    verdicts : tuple of Verdict
        Where runs contradict each other, and which was kept.
    """

    runs: tuple[NamedRun, ...]
    results: ResultsDocument
    verdicts: tuple[Verdict, ...] = ()


def refuse_unknown_revisions(run: NamedRun, known: Mapping[str, int]) -> None:
    """Refuse results of benchmarks, or revisions of them, that nobody here can read.

    Parameters
    ----------
    run : NamedRun
        The results.
    known : mapping of str to int
        Newest known revision of each benchmark.

    Raises
    ------
    InputError
        If there are any.
    """
    for experiment in run.results.experiments:
        name, revision = experiment.benchmark, experiment.revision
        if name not in known:
            raise InputError(
                f"{run.name} holds results of the benchmark {name}, which this version does not "
                f"know; it knows {', '.join(sorted(known))}: update topoprobe."
            )
        if revision > known[name]:
            raise InputError(
                f"{run.name} holds {name} in revision {revision}; this version knows revisions up "
                f"to {known[name]}: update topoprobe."
            )


def merge(runs: Sequence[NamedRun]) -> Merged:
    """Pool the samples of several runs on one machine.

    Samples of one quantity are pooled where it was measured by one revision of a benchmark under
    equal factors. Two runs *conflict* in a quantity if the 95 % intervals of their medians do not
    overlap and the medians differ by more than the tolerance of either; then the run in which it
    was stable is kept, and of two such the newer one. Of different revisions of a benchmark the
    newest counts.

    Parameters
    ----------
    runs : sequence of NamedRun
        At least one, in any order.

    Raises
    ------
    InputError
        If two are of different machines, or the same run.
    """
    ordered = tuple(sorted(runs, key=lambda run: run.results.started_at))
    newest = ordered[-1]
    if len(ordered) == 1:
        return Merged(ordered, newest.results)
    for run in ordered[:-1]:
        why = difference(run.results.machine, newest.results.machine)
        if why is not None:
            raise InputError(
                f"{run.name} and {newest.name} are results of different machines: {why}; "
                "calibrate each machine by itself."
            )
    _require_unlike(ordered)
    pools = _Pools()
    for run in ordered:
        pools.add(run)
    results = msgspec.structs.replace(
        newest.results,
        suite=" + ".join(dict.fromkeys(run.results.suite for run in ordered)),
        is_partial=all(run.results.is_partial for run in ordered),
        experiments=pools.experiments(),
    )
    return Merged(ordered, results, pools.verdicts())


def _require_unlike(runs: Sequence[NamedRun]) -> None:
    """Refuse a run that is given twice, whose samples would count as twice as many."""
    for one, other in combinations(runs, 2):
        if one.results == other.results:
            raise InputError(
                f"{one.name} and {other.name} hold one and the same run; give each run once."
            )


@dataclass(slots=True)
class _Pool:
    """One quantity: its samples so far, and the runs they are from."""

    series: Series
    runs: tuple[NamedRun, ...]


@dataclass(frozen=True, slots=True)
class _Conflict:
    """Two runs that give different figures for one quantity."""

    benchmark: str
    quantity: str
    older: str
    newer: str
    kept: str
    apart_ratio: float
    figures: str


class _Pools:
    """Quantities by benchmark, as runs are added from the oldest to the newest."""

    def __init__(self) -> None:
        self._newest: dict[str, Experiment] = {}
        self._pools: dict[str, dict[_Key, _Pool]] = {}
        self._conflicts: list[_Conflict] = []

    def add(self, run: NamedRun) -> None:
        """Take in the samples of a run."""
        for experiment in run.results.experiments:
            self._add(run, experiment)

    def experiments(self) -> tuple[Experiment, ...]:
        """Return an experiment per benchmark, with the pooled series."""
        return tuple(
            self._experiment(last, [pool.series for pool in self._pools[name].values()])
            for name, last in self._newest.items()
        )

    def verdicts(self) -> tuple[Verdict, ...]:
        """Return a verdict for each benchmark and pair of runs that contradict each other."""
        groups: dict[tuple[str, str, str], list[_Conflict]] = {}
        for one in self._conflicts:
            groups.setdefault((one.benchmark, one.older, one.newer), []).append(one)
        return tuple(map(_verdict, groups.values()))

    def _add(self, run: NamedRun, experiment: Experiment) -> None:
        name = experiment.benchmark
        last = self._newest.get(name)
        if last is None or experiment.revision > last.revision:
            self._pools[name] = {}
        elif experiment.revision < last.revision:
            return
        self._newest[name] = experiment
        pools = self._pools[name]
        for series in experiment.series:
            key = _key(series)
            before = pools.pop(key, None)
            # Newer factors come later: of equals that differ in sizes alone the last one counts.
            pools[key] = self._pooled(name, before, _Pool(series, (run,)))

    def _pooled(self, benchmark: str, before: _Pool | None, new: _Pool) -> _Pool:
        if before is None or not _is_measured(before.series):
            return new
        if not _is_measured(new.series):
            return before
        conflict = _conflict(benchmark, before, new)
        if conflict is not None:
            self._conflicts.append(conflict)
            return new if _is_better(new.series, before.series) else before
        return _Pool(_joined(before.series, new.series), before.runs + new.runs)

    def _experiment(self, last: Experiment, series: Sequence[Series]) -> Experiment:
        if last.status in _MEASURED or not any(map(_is_measured, series)):
            return msgspec.structs.replace(last, series=tuple(series))
        return msgspec.structs.replace(last, series=tuple(series), status=Status.OK, reason=None)


def _key(series: Series) -> _Key:
    return series.name, series.unit, tuple(sorted(series.factors.items()))


def _is_measured(series: Series) -> bool:
    return series.status in _MEASURED and bool(steady_samples(series))


def _is_better(new: Series, old: Series) -> bool:
    """Tell whether the newer one is kept: it is, unless only the older one was stable."""
    return new.status is Status.OK or old.status is not Status.OK


def _joined(old: Series, new: Series) -> Series:
    """Return the newer series with the steady samples of the older one before its own."""
    steady = steady_samples(new)
    warmups = tuple(sample for sample in new.samples if sample not in steady)
    status = Status.OK if Status.OK in (old.status, new.status) else Status.UNSTABLE
    return msgspec.structs.replace(
        new,
        status=status,
        reason=None if status is Status.OK else new.reason or old.reason,
        samples=(*warmups, *steady_samples(old), *steady),
    )


def _conflict(benchmark: str, before: _Pool, new: _Pool) -> _Conflict | None:
    old, late = (estimate(steady_values(pool.series), "") for pool in (before, new))
    tolerance = max(
        (one.tolerance_ratio for one in (before.series, new.series) if one.tolerance_ratio),
        default=TOLERANCE_RATIO,
    )
    apart_ratio = abs(late.value - old.value) / max(abs(old.value), abs(late.value), 1e-300)
    if apart_ratio <= tolerance or (old.low <= late.high and late.low <= old.high):
        return None
    is_newer = _is_better(new.series, before.series)
    older, newer = (" and ".join(map(str, pool.runs)) for pool in (before, new))
    return _Conflict(
        benchmark=benchmark,
        quantity=series_name(new.series),
        older=older,
        newer=newer,
        kept=_kept(is_newer, new.series, before.series),
        apart_ratio=apart_ratio,
        figures=f"{_figure(old)} against {_figure(late)} {new.series.unit}",
    )


def _kept(is_newer: bool, new: Series, old: Series) -> str:
    if not is_newer:
        return "the older, for only there it was stable"
    if old.status is not Status.OK and new.status is Status.OK:
        return "the newer, for only there it was stable"
    return "the newer"


def _figure(one: Estimate) -> str:
    return f"{one.value:.4g} ({one.low:.4g} to {one.high:.4g})"


def _verdict(conflicts: Sequence[_Conflict]) -> Verdict:
    worst = max(conflicts, key=lambda one: one.apart_ratio)
    others = f", and {len(conflicts) - 1} more of its quantities" if len(conflicts) > 1 else ""
    return Verdict(
        level="WARN",
        check="conflict",
        subject=worst.benchmark,
        evidence=f"{worst.older} and {worst.newer} contradict each other in {worst.quantity}: "
        f"{worst.figures}, {worst.apart_ratio:.0%} apart{others}; kept is {worst.kept}",
        fix="Leave out the run that was disturbed, or measure again.",
    )
