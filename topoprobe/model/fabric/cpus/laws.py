"""Flows that CPUs run: the turns they take on a CPU, the memory they draw, how others stall them.

A flow that computes or copies is busy on its CPU all the time, also while it waits for memory. So
CPUs are divided by turns of equal time, and a flow that the memory's load stalls takes more time
for the same work. Alone a unit of work takes ``1 / solo``; while other CPUs draw ``load`` bytes per
second of a memory that gives ``memory_bytes_per_s`` it takes

    ``(1 + stall_ratio * load / memory_bytes_per_s) / solo``.

Loads follow from rates and rates from loads, which settle together. One that sleeps between its
requests, as a reader of a disk does, takes ``core_ratio`` of a CPU, and waits for its turn at every
wake-up: ``wait_ratio`` longer for each busy flow beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from topoprobe.errors import ModelError
from topoprobe.measure.flows import Work
from topoprobe.model.fabric.cpus.seats import Seat
from topoprobe.model.fabric.demand import Allocation, Demand, Use
from topoprobe.model.fabric.fluid import solve
from topoprobe.model.fabric.resource import BYTE_FAIR, Resource
from topoprobe.records.base import Source
from topoprobe.records.calibration import CalibrationDocument, CpuWork

SLEEPING = (Work.DISK,)
"""Works that wait for a device, off the CPU; they share that device among themselves."""

_TOLERANCE_RATIO = 1e-7
_MAX_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class WorkLaw:
    """What one kind of work takes of a CPU and a memory, and what it suffers from others.

    Attributes
    ----------
    solo_per_s : float
        Rate of one thread alone: bytes, flop or hops per second.
    stall_ratio : float
        How much longer it takes while others draw all that the memory gives.
    core_ratio : float
        Share of a CPU that it takes when alone.
    wait_ratio : float
        How much longer it takes for each busy flow on its CPU, where it sleeps between requests.
    together_per_s : float
        What its device gives to all of its kind, infinite where they share none.
    """

    solo_per_s: float
    stall_ratio: float = 0.0
    core_ratio: float = 1.0
    wait_ratio: float = 0.0
    together_per_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class CpuLaws:
    """The laws of a machine's CPUs.

    Attributes
    ----------
    memory_bytes_per_s : float
        Most traffic that the memory of a NUMA node carries.
    works : mapping of Work to WorkLaw
        Of the kinds that were measured.
    """

    memory_bytes_per_s: float
    works: Mapping[Work, WorkLaw]


def cpu_laws(calibration: CalibrationDocument) -> CpuLaws | None:
    """Read the laws of a calibration; None where it has none.

    What was not seen is taken to be harmless: a work that was never beside another is not stalled,
    one that sleeps and never shared a CPU takes none, and two readers of one device get what one
    gets.
    """
    for contention in calibration.contention:
        if contention.traffic_bytes_per_s is not None and contention.cpu_works:
            return CpuLaws(
                contention.traffic_bytes_per_s.value,
                {Work(one.work): _law(one) for one in contention.cpu_works},
            )
    return None


def _law(one: CpuWork) -> WorkLaw:
    sleeps = Work(one.work) in SLEEPING
    together = one.together_per_s or (one.solo_per_s if sleeps else None)
    return WorkLaw(
        one.solo_per_s.value,
        stall_ratio=one.stall_ratio.value if one.stall_ratio else 0.0,
        core_ratio=one.core_ratio.value if one.core_ratio else float(not sleeps),
        wait_ratio=one.wait_ratio.value if one.wait_ratio else 0.0,
        together_per_s=together.value if together else float("inf"),
    )


def cpu_resources(laws: CpuLaws, seats: Sequence[Seat]) -> tuple[Resource, ...]:
    """Return what the flows of these seats share: CPUs, memories and devices."""
    cpus = sorted({cpu for seat in seats for cpu in seat.cpus})
    memories = sorted({memory for seat in seats for memory in seat.memories})
    shared = [
        Resource(f"device:{work}", "storage", laws.works[work].together_per_s, BYTE_FAIR,
                 Source.MEASURED, f"what several {work} flows move together")
        for work in SLEEPING
        if work in laws.works and laws.works[work].together_per_s < float("inf")
    ]  # fmt: skip
    return (
        *(Resource(f"core:{cpu}", "core", 1.0, BYTE_FAIR, evidence="turns of equal time")
          for cpu in cpus),
        *(Resource(memory, "memory", laws.memory_bytes_per_s, BYTE_FAIR, Source.MEASURED,
                   "the most traffic that was measured") for memory in memories),
        *shared,
    )  # fmt: skip


def cpu_demands(
    laws: CpuLaws, seats: Sequence[Seat], longer: Sequence[float] | None = None
) -> tuple[Demand, ...]:
    """Return what each flow asks for, by its place in the set: ``0``, ``1`` and so on.

    Parameters
    ----------
    laws : CpuLaws
        Of the machine.
    seats : sequence of Seat
        The flows.
    longer : sequence of float, optional
        How many times longer than alone each takes for a unit of work, 1 for all by default.

    Raises
    ------
    ModelError
        If a kind of work has no law.
    """
    longer = longer or [1.0] * len(seats)
    return tuple(_demand(laws, seats, index, stall) for index, stall in enumerate(longer))


def loads_bytes_per_s(seats: Sequence[Seat], rates_per_s: Sequence[float]) -> list[float]:
    """Return what the other CPUs draw of the memory that each flow works on.

    What runs on the same CPU does not count: it never runs at the same time.
    """
    drawn: dict[tuple[str, int], float] = {}
    for seat, rate_per_s in zip(seats, rates_per_s, strict=True):
        for memory, num_bytes in seat.memories.items():
            for cpu in seat.cpus:
                key = memory, cpu
                drawn[key] = drawn.get(key, 0.0) + rate_per_s * num_bytes / len(seat.cpus)
    return [
        sum(
            traffic * seat.part_at(memory) * sum(cpu != own for own in seat.cpus) / len(seat.cpus)
            for (memory, cpu), traffic in drawn.items()
        )
        for seat in seats
    ]


def stalls(laws: CpuLaws, seats: Sequence[Seat], rates_per_s: Sequence[float]) -> list[float]:
    """Return how many times longer than alone a unit of each flow's work takes beside the others.

    Raises
    ------
    ModelError
        If a kind of work has no law.
    """
    return [
        1.0 + law_of(laws, seat).stall_ratio * load / laws.memory_bytes_per_s
        for seat, load in zip(seats, loads_bytes_per_s(seats, rates_per_s), strict=True)
    ]


def settle(laws: CpuLaws, seats: Sequence[Seat]) -> tuple[Allocation, ...]:
    """Return the rate of every flow, in order, when all run together.

    Raises
    ------
    ModelError
        If a kind of work has no law.
    """
    resources = cpu_resources(laws, seats)
    longer = [1.0] * len(seats)
    for _ in range(_MAX_ROUNDS):
        found = solve(resources, cpu_demands(laws, seats, longer))
        rates = [found[str(index)].rate_bytes_per_s for index in range(len(seats))]
        wanted = stalls(laws, seats, rates)
        change = max(abs(new / old - 1.0) for new, old in zip(wanted, longer, strict=True))
        if change < _TOLERANCE_RATIO:
            break
        # Rates fall as stalls grow: half-way there never overshoots.
        longer = [(new + old) / 2 for new, old in zip(wanted, longer, strict=True)]
    return tuple(found[str(index)] for index in range(len(seats)))


def slowdowns(laws: CpuLaws, seats: Sequence[Seat]) -> tuple[float, ...]:
    """Return how many times slower than alone each flow of a set runs.

    Raises
    ------
    ModelError
        If a kind of work has no law.
    """
    together = settle(laws, seats)
    alone = [settle(laws, [seat])[0] for seat in seats]
    return tuple(
        one.rate_bytes_per_s / other.rate_bytes_per_s
        for one, other in zip(alone, together, strict=True)
    )


def law_of(laws: CpuLaws, seat: Seat) -> WorkLaw:
    """Return the law of what a flow does.

    Raises
    ------
    ModelError
        If it has none.
    """
    law = laws.works.get(seat.flow.work)
    if law is None:
        known = ", ".join(laws.works) or "none"
        raise ModelError(
            f"{seat.flow}: no law of {seat.flow.work} was fitted, only of {known}; measure it "
            f"beside another flow, as `topoprobe bench --flows '{seat.flow} | host:0 -> core:0 via "
            "cpu' -o more.json`, and calibrate with more.json too."
        )
    return law


def _demand(laws: CpuLaws, seats: Sequence[Seat], index: int, stall: float) -> Demand:
    seat = seats[index]
    law, num_threads = law_of(laws, seat), len(seat.cpus)
    solo_per_s = law.solo_per_s * num_threads
    cap_per_s = solo_per_s / (stall * (1.0 + law.wait_ratio * num_busy_beside(seats, index)))
    if seat.flow.cap_bytes_per_s is not None:
        cap_per_s = min(cap_per_s, seat.flow.cap_bytes_per_s)
    beside = [Use(memory, num_bytes) for memory, num_bytes in seat.memories.items()]
    core_s = law.core_ratio * stall / solo_per_s
    if core_s:
        per_cpu = {cpu: seat.cpus.count(cpu) * core_s for cpu in seat.cpus}
        beside += [Use(f"core:{cpu}", seconds) for cpu, seconds in per_cpu.items()]
    if law.together_per_s < float("inf"):
        beside.append(Use(f"device:{seat.flow.work}", 1.0))
    return Demand(str(index), (), tuple(beside), cap_bytes_per_s=cap_per_s)


def num_busy_beside(seats: Sequence[Seat], index: int) -> int:
    """Count the other flows that are busy on a flow's first CPU."""
    cpu = seats[index].cpus[0]
    return sum(
        seat.flow.work not in SLEEPING and cpu in seat.cpus
        for place, seat in enumerate(seats)
        if place != index
    )
