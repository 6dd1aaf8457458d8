"""The laws of CPU flows as estimates, and what they foretell of every measured set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from topoprobe.machine.view import Machine
from topoprobe.measure.flows import FlowSet, Work
from topoprobe.model.calibration.contention import MeasuredFlow, measured_sets
from topoprobe.model.calibration.cpus import (
    MeasuredSet,
    can_be_fitted,
    fit_cpu_laws,
    held_out_slowdowns,
    stalled,
)
from topoprobe.model.calibration.readings import SEED, Reading, Readings
from topoprobe.model.fabric.cpus.laws import SLEEPING, CpuLaws
from topoprobe.model.fabric.cpus.seats import READ_BYTES, WRITTEN_BYTES, cpu_seats
from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import CpuWork
from topoprobe.records.machine import Numa

_NUM_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class CpuContention:
    """What the concurrent sets of CPU flows tell.

    Attributes
    ----------
    traffic_bytes_per_s : Estimate or None
        Most that the memory carried.
    works : tuple of CpuWork
        The law of each kind of work.
    predicted : dict
        Slowdowns of the flows of a set, by its text, from the sets of other kinds.
    """

    traffic_bytes_per_s: Estimate | None = None
    works: tuple[CpuWork, ...] = ()
    predicted: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def cpu_contention(
    readings: Readings, device: str, machine: Machine, bandwidth: Estimate | None
) -> CpuContention:
    """Fit the laws to all sets of CPU flows; nothing where there are none.

    Parameters
    ----------
    readings, device, machine : Readings, str, Machine
        What was measured, and whose memory the flows share.
    bandwidth : Estimate or None
        What all CPUs together get of all memories: few flows cannot draw as much.
    """
    found = [
        flows
        for flows in measured_sets(readings, device)
        if all(can_be_fitted(one.flow) for one in flows)
    ]
    drawn = _Drawn(machine, found)
    sets = drawn.sets(lambda reading: reading.median)
    if not any(seat.memories for one in sets for seat in one.seats):
        return CpuContention()
    num_nodes = sum(numa.memory_of is None for numa in machine.all(Numa)) or 1
    least = bandwidth.value / num_nodes if bandwidth else 0.0
    laws = fit_cpu_laws(sets, least)
    resampled = [fit_cpu_laws(drawn.resampled(number), least) for number in range(_NUM_RESAMPLES)]
    foretold = zip(drawn.texts, held_out_slowdowns(sets, least), strict=True)
    seen = f"most traffic of {len(sets)} concurrent sets and of their flows alone"
    if laws.memory_bytes_per_s == least and bandwidth:
        seen = f"{bandwidth.evidence}, on each of {num_nodes} NUMA nodes"
    return CpuContention(
        _estimate(laws, resampled, lambda one: one.memory_bytes_per_s, drawn.num_samples, seen),
        tuple(_work(work, laws, resampled, sets, drawn) for work in laws.works),
        {text: slowdowns for text, slowdowns in foretold if slowdowns is not None},
    )


class _Drawn:
    """Measured sets made of the readings' medians, or of those of resampled readings."""

    def __init__(self, machine: Machine, found: Sequence[Sequence[MeasuredFlow]]) -> None:
        self._found = found
        self._seats = [cpu_seats(machine, FlowSet(tuple(one.flow for one in flows)))
                       for flows in found]  # fmt: skip
        self.texts = [flows[0].shared.text("set") for flows in found]
        readings = {id(one): one for flows in found for each in flows
                    for one in (each.solo, each.shared)}  # fmt: skip
        self.num_samples = min((len(one.values) for one in readings.values()), default=0)
        self._medians = {key: _medians(one, number)
                         for number, (key, one) in enumerate(readings.items())}  # fmt: skip

    def sets(self, value: Callable[[Reading], float]) -> list[MeasuredSet]:
        """Return the sets with a rate for each reading."""
        return [
            MeasuredSet(
                seats,
                tuple(value(one.solo) for one in flows),
                tuple(value(one.shared) for one in flows),
            )
            for seats, flows in zip(self._seats, self._found, strict=True)
        ]

    def resampled(self, number: int) -> list[MeasuredSet]:
        """Return the sets of one resample."""
        return self.sets(lambda reading: self._medians[id(reading)][number])


def _medians(reading: Reading, number: int) -> list[float]:
    """Return medians of resamples of a reading, each reading drawn independently [efron1993]."""
    import numpy as np

    random = np.random.default_rng((SEED, number))
    drawn = random.choice(reading.values, (_NUM_RESAMPLES, len(reading.values)))
    medians: list[float] = np.median(drawn, axis=1).tolist()
    return medians


def _work(
    work: Work,
    laws: CpuLaws,
    resampled: Sequence[CpuLaws],
    sets: Sequence[MeasuredSet],
    drawn: _Drawn,
) -> CpuWork:
    def estimated(name: str, num_sets: int, evidence: str) -> Estimate | None:
        if not num_sets:
            return None
        return _estimate(
            laws, resampled, lambda one: float(getattr(one.works[work], name)), drawn.num_samples,
            f"{evidence} {num_sets} concurrent sets",
        )  # fmt: skip

    with_it = [one for one in sets if work in one.kinds]
    apart = len(stalled(work, sets, laws.memory_bytes_per_s))
    shares = _count(
        seat.flow.work is work and bool(one.busy_beside(index))
        for one in with_it
        for index, seat in enumerate(one.seats)
    )
    several = _count(one.kinds.count(work) > 1 for one in with_it)
    sleeps = work in SLEEPING
    solo = estimated("solo_per_s", len(with_it), "median over the CPUs of its rate alone in")
    assert solo is not None  # a law has sets
    return CpuWork(
        work=work,
        solo_per_s=solo,
        memory_bytes_per_unit=READ_BYTES.get(work, 0.0) + WRITTEN_BYTES.get(work, 0.0),
        stall_ratio=estimated("stall_ratio", apart, "least relative squares over flows of"),
        core_ratio=estimated("core_ratio", shares * sleeps, "median over"),
        wait_ratio=estimated("wait_ratio", shares * sleeps, "median over"),
        together_per_s=estimated("together_per_s", several * sleeps, "most of"),
    )


def _count(told: Iterable[bool]) -> int:
    return sum(told)


def _estimate(
    laws: CpuLaws,
    resampled: Sequence[CpuLaws],
    coefficient: Callable[[CpuLaws], float],
    num_samples: int,
    evidence: str,
) -> Estimate:
    import numpy as np

    value = coefficient(laws)
    low, high = np.quantile([coefficient(one) for one in resampled], (0.025, 0.975))
    return Estimate(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        source=Source.DERIVED,
        n=num_samples,
        evidence=evidence,
    )
