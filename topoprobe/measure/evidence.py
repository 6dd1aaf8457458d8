"""What the conditions beside samples say: why one lies apart, and how two devices differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from topoprobe.measure.statistics import mad, median, outliers, steady_samples
from topoprobe.records.results import Conditions, Sample, Series
from topoprobe.units import format_hz

# Load beside a sample counts when it is above this share of the CPUs, and above the usual by as
# much; a clock when it is lower than the usual by more.
_LOAD_RATIO = 0.03
_STEAL_RATIO = 0.01
_CLOCK_RATIO = 0.02


@dataclass(frozen=True, slots=True)
class Outlier:
    """A sample far from the median of its series; it is kept and counts like the others.

    Attributes
    ----------
    index : int
        Among all samples of the series, warm-up included.
    value : float
        In the series' unit.
    distance_mads : float or None
        From the median, in median absolute deviations; None where those are zero.
    evidence : tuple of str
        What was unusual beside it; empty where nothing was seen.
    """

    index: int
    value: float
    distance_mads: float | None
    evidence: tuple[str, ...]

    def __str__(self) -> str:
        far = (
            "" if self.distance_mads is None else f", {self.distance_mads:.1f} MAD from the median"
        )
        return f"outlier{far}: {'; '.join(self.evidence) or 'no evidence why'}"


def find_outliers(series: Series) -> tuple[Outlier, ...]:
    """Return the samples after warm-up that lie more than 3.5 MADs from their median."""
    samples = steady_samples(series)
    if not samples:
        return ()
    values = [sample.value for sample in samples]
    center, deviation = median(values), mad(values)
    num_warmups = len(series.samples) - len(samples)
    return tuple(
        Outlier(
            index=num_warmups + index,
            value=sample.value,
            distance_mads=abs(sample.value - center) / deviation if deviation else None,
            evidence=evidence_beside(sample, samples),
        )
        for index, (sample, is_far) in enumerate(zip(samples, outliers(values), strict=True))
        if is_far
    )


def evidence_beside(sample: Sample, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Say what was unusual while a sample was taken, compared with all samples of its series."""
    own = sample.conditions
    if own is None:
        return ()
    told = [one.conditions for one in samples if one.conditions is not None]
    return tuple(
        clause
        for clause in (
            _throttle(own),
            _processes(own),
            _load(own, told),
            _steal(own, told),
            _clock("SM clock", own, told, lambda one: one.sm_clock_hz),
            _clock("memory clock", own, told, lambda one: one.memory_clock_hz),
            _clock("CPU clock", own, told, lambda one: one.cpu_clock_hz),
            _link(own, told),
            _replays(own, told),
        )
        if clause is not None
    )


def differing_conditions(
    own: Sequence[Conditions], others: Sequence[Conditions]
) -> tuple[str, ...]:
    """Say how a device's link, clocks and throttling differ from those of its peers."""
    clauses = []
    for name, read in _CLOCKS:
        here, there = typical(own, read), typical(others, read)
        if here is not None and there is not None and here < (1 - _CLOCK_RATIO) * there:
            clauses.append(f"{name} {format_hz(here)} where theirs is {format_hz(there)}")
    for name, read in _LINK:
        here, there = typical(own, read), typical(others, read)
        if here is not None and there is not None and here != there:
            clauses.append(f"link {name}{here:.0f} where theirs is {name}{there:.0f}")
    reasons = {reason for one in own for reason in one.throttle_reasons}
    if reasons:
        clauses.append(f"throttled: {', '.join(sorted(reasons))}")
    return tuple(clauses)


Read = Callable[[Conditions], float | None]

_CLOCKS: tuple[tuple[str, Read], ...] = (
    ("SM clock", lambda one: one.sm_clock_hz),
    ("memory clock", lambda one: one.memory_clock_hz),
)
_LINK: tuple[tuple[str, Read], ...] = (
    ("Gen", lambda one: one.pcie_generation),
    ("x", lambda one: one.pcie_num_lanes),
)


def typical(conditions: Sequence[Conditions], read: Read) -> float | None:
    """Return the median of one reading, None where nobody told it."""
    values = [value for one in conditions if (value := read(one)) is not None]
    return median(values) if values else None


def _throttle(own: Conditions) -> str | None:
    return f"throttled: {', '.join(own.throttle_reasons)}" if own.throttle_reasons else None


def _processes(own: Conditions) -> str | None:
    count = own.num_other_processes
    return f"{count} other process{'es' * (count > 1)} on the GPU" if count else None


def _load(own: Conditions, told: Sequence[Conditions]) -> str | None:
    usual = typical(told, lambda one: one.other_cpu_ratio)
    if own.other_cpu_ratio is None or usual is None or own.other_cpu_ratio <= usual + _LOAD_RATIO:
        return None
    return f"other processes took {own.other_cpu_ratio:.0%} of the CPUs, {usual:.0%} usually"


def _steal(own: Conditions, told: Sequence[Conditions]) -> str | None:
    usual = typical(told, lambda one: one.steal_ratio)
    if own.steal_ratio is None or usual is None or own.steal_ratio <= usual + _STEAL_RATIO:
        return None
    return f"the hypervisor took {own.steal_ratio:.0%} of the CPUs, {usual:.0%} usually"


def _clock(name: str, own: Conditions, told: Sequence[Conditions], read: Read) -> str | None:
    clock, usual = read(own), typical(told, read)
    if clock is None or usual is None or clock >= (1 - _CLOCK_RATIO) * usual:
        return None
    return f"{name} {format_hz(clock)}, {format_hz(usual)} usually"


def _link(own: Conditions, told: Sequence[Conditions]) -> str | None:
    pairs = [(name, read(own), typical(told, read)) for name, read in _LINK]
    lower = [
        f"{name}{here:.0f}, {name}{usual:.0f} usually"
        for name, here, usual in pairs
        if here is not None and usual is not None and here < usual
    ]
    return f"link {' and '.join(lower)}" if lower else None


def _replays(own: Conditions, told: Sequence[Conditions]) -> str | None:
    usual = typical(told, lambda one: one.num_pcie_replays) or 0.0
    if own.num_pcie_replays is None or own.num_pcie_replays <= usual:
        return None
    return f"the link sent {own.num_pcie_replays} packets again"
