"""The laws of flows on CPUs, fitted to concurrent sets; what they say of sets they have not seen.

`topoprobe.model.fabric.cpus` states the law. Its coefficients come out one after the other: how
much a work is stalled from sets in which every flow has CPUs of its own, what a sleeping work takes
of a CPU and how it waits from sets in which it shares one, and what a device gives from sets in
which several flows use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from topoprobe.errors import ModelError
from topoprobe.machine.view import Machine
from topoprobe.measure.flows import Flow, FlowSet, Work
from topoprobe.measure.statistics import median
from topoprobe.model.fabric.cpus.laws import (
    SLEEPING,
    CpuLaws,
    WorkLaw,
    loads_bytes_per_s,
    slowdowns,
)
from topoprobe.model.fabric.cpus.seats import Seat, cpu_seats

# Below this the noise of two rates would be taken for a stall, many times over at full load.
_LEAST_LOAD_RATIO = 0.03


@dataclass(frozen=True, slots=True)
class MeasuredSet:
    """A concurrent set of CPU flows and its rates, each the median of its samples.

    Attributes
    ----------
    seats : tuple of Seat
        The flows and where they ran.
    solo_per_s, shared_per_s : tuple of float
        Of each flow alone, and of all together.
    """

    seats: tuple[Seat, ...]
    solo_per_s: tuple[float, ...]
    shared_per_s: tuple[float, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """What its flows do, in alphabetical order: equal for sets of one kind."""
        return tuple(sorted(seat.flow.work for seat in self.seats))

    @property
    def slowdowns(self) -> tuple[float, ...]:
        """How many times slower than alone each flow ran."""
        pairs = zip(self.solo_per_s, self.shared_per_s, strict=True)
        return tuple(solo / shared for solo, shared in pairs)

    @property
    def shares_no_cpu(self) -> bool:
        """Whether every thread had a CPU of its own."""
        cpus = [cpu for seat in self.seats for cpu in seat.cpus]
        return len(set(cpus)) == len(cpus)

    def busy_beside(self, index: int) -> list[int]:
        """Return the flows that are busy on a flow's first CPU."""
        cpu = self.seats[index].cpus[0]
        return [
            place
            for place, seat in enumerate(self.seats)
            if place != index and seat.flow.work not in SLEEPING and cpu in seat.cpus
        ]


def can_be_fitted(flow: Flow) -> bool:
    """Tell whether a flow is as the law supposes: by CPUs, on large buffers, as fast as it can."""
    is_plain = flow.cap_bytes_per_s is None and flow.delay_s is None and flow.size_bytes is None
    return flow.executor.kind == "cpu" and is_plain


def measured_set(
    machine: Machine, flow_set: FlowSet, solo_per_s: Sequence[float], shared_per_s: Sequence[float]
) -> MeasuredSet:
    """Return a set with the places where its flows ran."""
    return MeasuredSet(cpu_seats(machine, flow_set), tuple(solo_per_s), tuple(shared_per_s))


def fit_cpu_laws(sets: Sequence[MeasuredSet], least_bytes_per_s: float = 0.0) -> CpuLaws:
    """Fit the laws of all works that occur.

    Parameters
    ----------
    sets : sequence of MeasuredSet
        At least one.
    least_bytes_per_s : float
        What the memory is known to carry; sets that together moved more raise it.

    Raises
    ------
    ModelError
        If there is no set, or none moves bytes of memory.
    """
    solos: dict[Work, dict[str, float]] = {}
    for one in sets:
        for seat, solo in zip(one.seats, one.solo_per_s, strict=True):
            solos.setdefault(seat.flow.work, {})[str(seat.flow)] = solo / len(seat.cpus)
    traffic = [_most_traffic(one.seats, one.shared_per_s) for one in sets]
    alone = [
        _most_traffic([seat], [solo])
        for one in sets
        for seat, solo in zip(one.seats, one.solo_per_s, strict=True)
    ]
    memory_bytes_per_s = max([least_bytes_per_s, *traffic, *alone], default=0.0)
    if not memory_bytes_per_s > 0.0:
        raise ModelError("No concurrent set moves bytes of memory, so nothing tells what it gives.")
    laws = CpuLaws(
        memory_bytes_per_s,
        {
            work: WorkLaw(
                median(list(rates.values())),
                stall_ratio=_stall_ratio(work, sets, memory_bytes_per_s),
                core_ratio=0.0 if work in SLEEPING else 1.0,
                together_per_s=_together_per_s(work, sets),
            )
            for work, rates in solos.items()
        },
    )
    sleeping = {work: _sleeping(law, work, sets, laws) for work, law in laws.works.items()}
    return replace(laws, works=sleeping)


def held_out_slowdowns(
    sets: Sequence[MeasuredSet], least_bytes_per_s: float = 0.0
) -> tuple[tuple[float, ...] | None, ...]:
    """Predict the slowdowns of each set from laws fitted to the sets of other kinds.

    None where the others do not tell of one of its works.
    """
    by_kinds: dict[tuple[str, ...], CpuLaws | None] = {}
    for kinds in dict.fromkeys(one.kinds for one in sets):
        others = [one for one in sets if one.kinds != kinds]
        try:
            by_kinds[kinds] = fit_cpu_laws(others, least_bytes_per_s)
        except ModelError:
            by_kinds[kinds] = None
    return tuple(_predicted(by_kinds[one.kinds], one) for one in sets)


def _predicted(laws: CpuLaws | None, one: MeasuredSet) -> tuple[float, ...] | None:
    if laws is None or any(seat.flow.work not in laws.works for seat in one.seats):
        return None
    return slowdowns(laws, one.seats)


def _most_traffic(seats: Sequence[Seat], rates_per_s: Sequence[float]) -> float:
    """Return the traffic of the memory that carries most."""
    traffic: dict[str, float] = {}
    for seat, rate_per_s in zip(seats, rates_per_s, strict=True):
        for memory, num_bytes in seat.memories.items():
            traffic[memory] = traffic.get(memory, 0.0) + num_bytes * rate_per_s
    return max(traffic.values(), default=0.0)


def stalled(
    work: Work, sets: Sequence[MeasuredSet], memory_bytes_per_s: float
) -> list[tuple[float, float]]:
    """Return load over what the memory gives, and slowdown, of each flow of a work that tells.

    It has a CPU of its own, as have all of its set, waits for no device that others use, and the
    others draw enough for its slowdown to be theirs.
    """
    found = []
    for one in sets:
        kinds = [seat.flow.work for seat in one.seats]
        waits = work in SLEEPING and kinds.count(work) > 1
        if not one.shares_no_cpu or waits:
            continue
        loads = loads_bytes_per_s(one.seats, one.shared_per_s)
        for kind, load, slowdown in zip(kinds, loads, one.slowdowns, strict=True):
            if kind is work and load >= _LEAST_LOAD_RATIO * memory_bytes_per_s:
                found.append((load / memory_bytes_per_s, slowdown))
    return found


def _stall_ratio(work: Work, sets: Sequence[MeasuredSet], memory_bytes_per_s: float) -> float:
    """Fit ``slowdown = 1 + ratio * load / memory`` with the least squares of relative errors.

    0 where no flow tells.
    """
    told = stalled(work, sets, memory_bytes_per_s)
    down = sum((part / slowdown) ** 2 for part, slowdown in told)
    up = sum(part * (slowdown - 1.0) / slowdown**2 for part, slowdown in told)
    return max(up / down, 0.0) if down else 0.0


def _together_per_s(work: Work, sets: Sequence[MeasuredSet]) -> float:
    """Return what a device gives to all of its kind: at least what one of them gets alone."""
    if work not in SLEEPING:
        return float("inf")
    rates = [
        sum(rate for seat, rate in zip(one.seats, one.shared_per_s, strict=True)
            if seat.flow.work is work)
        for one in sets
    ]  # fmt: skip
    rates += [
        solo
        for one in sets
        for seat, solo in zip(one.seats, one.solo_per_s, strict=True)
        if seat.flow.work is work
    ]
    return max(rates)


def _sleeping(law: WorkLaw, work: Work, sets: Sequence[MeasuredSet], laws: CpuLaws) -> WorkLaw:
    """Fit what a sleeping work takes of a CPU that it shares, and how much longer it waits."""
    if work not in SLEEPING:
        return law
    taken, waits = [], []
    for one in sets:
        loads = loads_bytes_per_s(one.seats, one.shared_per_s)
        kept = [
            (1.0 + laws.works[seat.flow.work].stall_ratio * load / laws.memory_bytes_per_s) / slow
            for seat, load, slow in zip(one.seats, loads, one.slowdowns, strict=True)
        ]  # of the time that a flow's work takes in this company, the share that it had
        for index, seat in enumerate(one.seats):
            busy = one.busy_beside(index)
            if seat.flow.work is work and busy:
                taken.append(max((1.0 - sum(kept[other] for other in busy)) / kept[index], 0.0))
                waits.append(max((1.0 / kept[index] - 1.0) / len(busy), 0.0))
    if not taken:
        return law
    return replace(law, core_ratio=min(median(taken), 1.0), wait_ratio=median(waits))
