"""The times between which a set's flows come and go, and what each gets in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from topoprobe.measure.flows import Flow, FlowSet
from topoprobe.model.fabric.demand import Allocation

ENDLESS = float("inf")
# Ends that differ by less are one.
_TOLERANCE_RATIO = 1e-9
# Bytes are a mean rate times a difference of times: less exact than the ends themselves.
_MOVED_TOLERANCE_RATIO = 1e-6

Rates = Callable[[tuple[int, ...]], Mapping[int, Allocation]]


@dataclass(frozen=True, slots=True)
class Episode:
    """A time in which the same flows run.

    Attributes
    ----------
    start_s, end_s : float
        From the start of the set; the last one may have no end.
    allocations : mapping of int to Allocation
        What each flow that runs gets, by its place in the set.
    """

    start_s: float
    end_s: float
    allocations: Mapping[int, Allocation]

    @property
    def duration_s(self) -> float:
        """How long it is."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Life:
    """What one flow gets while it runs.

    Attributes
    ----------
    index : int
        Its place in the set.
    start_s : float
        When it comes.
    end_s : float or None
        When it goes; None where it stays.
    rate_per_s : float
        Mean over its life where it ends. Of one that stays, over the time in which others run
        beside it, or what it gets at last where others stay too.
    slowest : Episode
        In which it gets least.
    """

    index: int
    start_s: float
    end_s: float | None
    rate_per_s: float
    slowest: Episode

    def moves(self, size_bytes: float) -> bool:
        """Tell whether it goes with that many bytes moved."""
        if self.end_s is None:
            return False
        moved_bytes = self.rate_per_s * (self.end_s - self.start_s)
        return moved_bytes >= size_bytes * (1 - _MOVED_TOLERANCE_RATIO)


def is_timed(flow: Flow) -> bool:
    """Tell whether a flow comes later than the set or ends by itself."""
    return has_size(flow) or flow.duration_s is not None or flow.delay_s is not None


def has_size(flow: Flow) -> bool:
    """Tell whether a flow is done once it has moved its size; that of a CPU flow is of buffers."""
    return flow.size_bytes is not None and flow.executor.kind != "cpu"


def episodes(flow_set: FlowSet, rates: Rates) -> tuple[Episode, ...]:
    """Follow flows as they come, move their bytes and go.

    A flow comes after its delay and goes once it has moved its size or its duration is over,
    whichever is first; one with neither stays. Sizes of CPU flows are of buffers that they go
    through over and over. No time but that of bytes counts: nothing takes a start-up.

    Parameters
    ----------
    flow_set : FlowSet
    rates : callable
        From the flows that run to what each gets.
    """
    coming = sorted(range(len(flow_set.flows)), key=lambda index: _start_s(flow_set, index))
    left: dict[int, float] = {}
    found: list[Episode] = []
    now_s = 0.0
    while coming or left:
        while coming and _start_s(flow_set, coming[0]) <= now_s:
            index = coming.pop(0)
            left[index] = _size(flow_set.flows[index])
        next_s = _start_s(flow_set, coming[0]) if coming else ENDLESS
        allocations = rates(tuple(sorted(left))) if left else {}
        ends = {index: _end_s(flow_set, index, now_s, left[index], allocations) for index in left}
        end_s = min((next_s, *ends.values()))
        if left:
            found.append(Episode(now_s, end_s, allocations))
        if end_s == ENDLESS:
            break
        gone = {index for index, s in ends.items() if s <= end_s * (1 + _TOLERANCE_RATIO)}
        left = {
            index: size - allocations[index].rate_bytes_per_s * (end_s - now_s)
            for index, size in left.items() if index not in gone
        }  # fmt: skip
        now_s = end_s
    return tuple(found)


def lives(flow_set: FlowSet, found: Sequence[Episode]) -> tuple[Life, ...]:
    """Sum up for each flow what it gets in the episodes of its set."""
    return tuple(
        _life(index, [one for one in found if index in one.allocations])
        for index in range(len(flow_set.flows))
    )


def _life(index: int, own: Sequence[Episode]) -> Life:
    slowest = min(own, key=lambda one: one.allocations[index].rate_bytes_per_s)
    start_s, end_s = own[0].start_s, own[-1].end_s
    if end_s < ENDLESS:
        return Life(index, start_s, end_s, _mean_per_s(index, own), slowest)
    if len(own[-1].allocations) > 1:
        return Life(index, start_s, None, own[-1].allocations[index].rate_bytes_per_s, own[-1])
    beside = [one for one in own if len(one.allocations) > 1]
    return Life(index, start_s, None, _mean_per_s(index, beside or own), slowest)


def _mean_per_s(index: int, own: Iterable[Episode]) -> float:
    finite = [one for one in own if one.end_s < ENDLESS]
    if not finite:
        return next(iter(own)).allocations[index].rate_bytes_per_s
    moved = sum(one.allocations[index].rate_bytes_per_s * one.duration_s for one in finite)
    return moved / sum(one.duration_s for one in finite)


def _start_s(flow_set: FlowSet, index: int) -> float:
    return flow_set.flows[index].delay_s or 0.0


def _end_s(
    flow_set: FlowSet,
    index: int,
    now_s: float,
    left_bytes: float,
    allocations: Mapping[int, Allocation],
) -> float:
    flow = flow_set.flows[index]
    moved_s = ENDLESS
    if left_bytes < ENDLESS:
        moved_s = now_s + left_bytes / allocations[index].rate_bytes_per_s
    if flow.duration_s is None:
        return moved_s
    return min(moved_s, (flow.delay_s or 0.0) + flow.duration_s)


def _size(flow: Flow) -> float:
    return float(flow.size_bytes or ENDLESS) if has_size(flow) else ENDLESS
