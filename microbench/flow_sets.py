"""Measuring concurrent sets: every flow alone and all together, in alternation."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec

from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.measure.benchmark import Budget, Context, GpuChoice, Plan, PlannedSet
from topoprobe.measure.concurrent import Lane
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.measure.devices.cpu.libraries import library_threads
from topoprobe.measure.devices.cuda.inventory import ALL_IDLE
from topoprobe.measure.devices.flows import OpenFlow, Place
from topoprobe.measure.devices.openers import Openers, gap, openers_of
from topoprobe.measure.devices.session import scratch_parent
from topoprobe.measure.flows import Flow, FlowSet
from topoprobe.measure.series import Quantity, collect, skipped
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor, Series
from topoprobe.units import format_bytes

from .flow_run import FlowRun

_WINDOW_S = {"quick": 0.05, "standard": 0.15}
_LONG_WINDOW_S = 1.0
# Of a single set, which leaves time for more chunks.
_SINGLE_WINDOW_S = {"quick": 0.2, "standard": 0.5}
# Chunks of a few milliseconds, a window of tens of them, and a scheduler that may interrupt any.
_STEADY_RATIO = 0.05
# Samples that a set may lose to warm-up before its time is over; there are many sets.
_NUM_SPARE = 1
# To begin and end a run takes milliseconds, beside which a shorter one must not run out of time.
_LEAST_RUN_S = 0.02
_DEFAULT_SIZE_BYTES = 128 << 20
# Below this a flow would run in the caches.
_MIN_SIZE_BYTES = 16 << 20

_Seat = tuple[Flow, int]
"""Which streams a flow runs on: equal flows of one set get their own, other sets reuse them."""


def measure_sets(
    machine: MachineDocument,
    context: Context,
    sets: Sequence[FlowSet],
    *,
    device: str = "host",
) -> tuple[Series, ...]:
    """Measure concurrent sets, and each of their flows alone, in alternation.

    Parameters
    ----------
    machine, context
        As given to a benchmark.
    sets : sequence of FlowSet
        On any executors; a set of which a flow cannot run here is skipped, with the reason.
    device : str
        Id of the node whose resource they share: the factor ``device`` of the series.

    Raises
    ------
    Interrupted
        If the person asked to stop.
    UsageError
        If a flow makes no sense here, or the sets need more memory than the budget has.
    """
    flows = _flows_of(sets)
    place = Place(machine, context.cpus, Path(context.scratch), context.gpus)
    with openers_of(flows, place) as openers, library_threads(1):
        gaps = {flow: reason for flow in flows if (reason := gap(flow, openers)) is not None}
        stage = _Stage(openers, device, context, _usual_s(sets, context.budget.suite))
        gaps |= stage.open(_without(gaps, sets))
        runnable = _without(gaps, sets)
        measured = stage.measure(runnable)
    missed = [one for one in sets if one not in runnable]
    return (*measured, *(one for each in missed for one in _skipped(each, gaps, device)))


def plan(
    machine: MachineDocument, budget: Budget, sets: Sequence[FlowSet], gpus: GpuChoice = ALL_IDLE
) -> Plan:
    """Return what `measure_sets` would run: each flow alone, and the sets.

    Raises
    ------
    UsageError
        As `measure_sets`.
    """
    place = Place(machine, available_cpus(), scratch_parent(), gpus)
    flows, usual_s = _flows_of(sets), _usual_s(sets, budget.suite)
    num_runs = budget.num_samples + _NUM_SPARE
    with openers_of(flows, place) as openers:
        gaps = {flow: reason for flow in flows if (reason := gap(flow, openers)) is not None}
        runnable = _without(gaps, sets)
        seats = dict.fromkeys(seat for one in runnable for seat in _seats(one))
        size_bytes = _fitting_bytes(openers, seats, budget.memory_bytes)

        def needed(flow: Flow) -> int:
            return openers[flow.executor.kind].memory_bytes(flow, size_bytes)

        def planned_set(one: FlowSet) -> PlannedSet:
            set_s = num_runs * _window_s(one, usual_s)
            reason = next((gaps[flow] for flow in one.flows if flow in gaps), None)
            if reason is not None:
                return PlannedSet(str(one), 0, set_s, reason)
            folders = _scratch_folders(openers, one.flows)
            return PlannedSet(str(one), sum(map(needed, one.flows)), set_s, None, folders)

        undelayed = [dataclasses.replace(flow, delay_s=None) for flow in _flows_of(runnable)]
        alone = [FlowSet((flow,)) for flow in undelayed]
        planned = tuple(planned_set(one) for one in (*alone, *sets))
        return Plan(planned, sum(needed(flow) for flow, _ in seats))


def seconds(sets: Sequence[FlowSet], num_samples: int, suite: str) -> float:
    """Return about how long `measure_sets` runs: all windows of the sets and of each flow alone."""
    usual_s = _usual_s(sets, suite)
    windows = [_window_s(one, usual_s) for one in sets]
    alone = [_alone_s(flow, usual_s) for flow in _flows_of(sets)]
    return (num_samples + _NUM_SPARE) * (sum(windows) + sum(alone))


class _Stage:
    """Sets with all that they need open.

    Parameters
    ----------
    openers : mapping
        Of the executors that the sets name.
    device : str
        Factor of all series.
    context : Context
        As given to a benchmark.
    usual_s : float
        How long a flow runs that names no duration.
    """

    def __init__(self, openers: Openers, device: str, context: Context, usual_s: float) -> None:
        self._openers = openers
        self._device = device
        self._context = context
        self._usual_s = usual_s
        self._opened: dict[_Seat, OpenFlow] = {}
        self._size_bytes = _DEFAULT_SIZE_BYTES

    def open(self, sets: Sequence[FlowSet]) -> dict[Flow, str]:
        """Open each seat once; return the flows that the machine refuses, with the reason.

        Raises
        ------
        UsageError
            If they need more memory than the budget has.
        """
        seats = {seat: index for one in sets for index, seat in enumerate(_seats(one))}
        room_bytes = self._context.budget.memory_bytes
        self._size_bytes = _fitting_bytes(self._openers, seats, room_bytes)
        refused: dict[Flow, str] = {}
        for (flow, occurrence), index in seats.items():
            if flow in refused:
                continue
            folders = _scratch_folders(self._openers, (flow,))
            files = "".join(f", with files in {folder}" for folder in folders)
            self._context.progress(f"preparing {flow}{files}")
            try:
                self._opened[flow, occurrence] = self._openers[flow.executor.kind].open(
                    flow, index, self._size_bytes
                )
            except EnvironmentMissing as refusal:
                refused[flow] = str(refusal)
        return refused

    def measure(self, sets: Sequence[FlowSet]) -> tuple[Series, ...]:
        """Measure every flow alone, and the sets, in alternation.

        Raises
        ------
        Interrupted
            If the person asked to stop; what was measured has been kept.
        """
        alone = [self._alone(flow) for flow in _flows_of(sets)]
        together = [self._together(one) for one in sets]
        longest_s = max((run.duration_s for run in (*alone, *together)), default=0.0)
        # Real-time threads do not take turns on a CPU.
        burst = nullcontext if self._share_cpus(sets) else self._context.burst
        kept: list[Series] = []
        try:
            collect(
                dataclasses.replace(self._context, keep=kept.append, burst=burst),
                [run.trial() for run in (*alone, *together)],
                tolerance_ratio=_STEADY_RATIO,
                max_series_s=(self._context.budget.num_samples + _NUM_SPARE)
                * max(longest_s, _LEAST_RUN_S),
            )
        finally:  # also when interrupted
            kept += [one for run in together for one in run.told(kept)]
            verified = self._verified(kept)
            for one in verified:
                self._context.keep(one)
        return verified

    def _share_cpus(self, sets: Sequence[FlowSet]) -> bool:
        """Tell whether threads of a set run on one CPU."""
        cpus_of = [[cpu for seat in _seats(one) for cpu in self._opened[seat].cpus] for one in sets]
        return any(len(set(cpus)) < len(cpus) for cpus in cpus_of)

    def _verified(self, series: Sequence[Series]) -> tuple[Series, ...]:
        """Return the series, failed those of flows whose bytes have not arrived."""
        wrong: dict[Factor, str] = {}
        for (flow, _), member in self._opened.items():
            try:
                member.check()
            except MeasurementFailed as failure:
                wrong[str(flow)] = str(failure)
        return tuple(
            msgspec.structs.replace(one, status=Status.FAILED, reason=wrong[one.factors["flow"]])
            if one.factors["flow"] in wrong
            else one
            for one in series
        )

    def _alone(self, flow: Flow) -> FlowRun:
        member = self._opened[flow, 0]
        quantity = self._quantity("contention.solo", FlowSet((flow,)), 0, [member])
        duration_s = max(_alone_s(flow, self._usual_s), member.least_s)
        return FlowRun((quantity,), (_limited(flow, member),), duration_s, self._context)

    def _together(self, flow_set: FlowSet) -> FlowRun:
        members = [self._opened[seat] for seat in _seats(flow_set)]
        quantities = tuple(
            self._quantity("contention.shared", flow_set, index, members)
            for index in range(len(members))
        )
        lanes = tuple(
            tuple(dataclasses.replace(lane, delay_s=flow.delay_s or 0.0) for lane in limited)
            for flow, member in zip(flow_set.flows, members, strict=True)
            for limited in [_limited(flow, member)]
        )
        least_s = max(member.least_s for member in members)
        duration_s = max(_window_s(flow_set, self._usual_s), least_s)
        return FlowRun(quantities, lanes, duration_s, self._context)

    def _quantity(
        self, name: str, flow_set: FlowSet, index: int, members: Sequence[OpenFlow]
    ) -> Quantity:
        flow = flow_set.flows[index]
        return Quantity(
            name,
            self._openers[flow.executor.kind].unit(flow),
            {
                "device": self._device,
                "set": str(flow_set),
                "flow": str(flow),
                "index": index,
                "num_cpus": len({cpu for member in members for cpu in member.cpus}),
                "size_bytes": flow.size_bytes or self._size_bytes,
                **members[index].factors,
            },
        )


def _fitting_bytes(openers: Openers, seats: Collection[_Seat], room_bytes: int) -> int:
    """Return the size of buffers that no flow names: as large as the budget's memory allows.

    Raises
    ------
    UsageError
        If none is.
    """
    size_bytes = _DEFAULT_SIZE_BYTES
    while True:
        total = sum(openers[flow.executor.kind].memory_bytes(flow, size_bytes) for flow, _ in seats)
        if total <= room_bytes:
            return size_bytes
        if size_bytes <= _MIN_SIZE_BYTES:
            raise UsageError(
                f"The flows need {format_bytes(total)} of memory and "
                f"{format_bytes(room_bytes)} may be used; give smaller sizes."
            )
        size_bytes //= 2


def _scratch_folders(openers: Openers, flows: Sequence[Flow]) -> tuple[str, ...]:
    """Return where flows write files, each folder once."""
    folders = [openers[flow.executor.kind].scratch_folder(flow) for flow in flows]
    return tuple(dict.fromkeys(str(folder) for folder in folders if folder is not None))


def _limited(flow: Flow, member: OpenFlow) -> tuple[Lane, ...]:
    """Return the lanes of an open flow with its rate limit and duration."""
    cap_per_s = flow.cap_bytes_per_s and flow.cap_bytes_per_s / len(member.lanes)
    return tuple(
        dataclasses.replace(lane, cap_per_s=cap_per_s, duration_s=flow.duration_s)
        for lane in member.lanes
    )


def _flows_of(sets: Sequence[FlowSet]) -> tuple[Flow, ...]:
    return tuple(dict.fromkeys(flow for flow_set in sets for flow in flow_set.flows))


def _seats(flow_set: FlowSet) -> tuple[_Seat, ...]:
    flows = flow_set.flows
    return tuple((flow, flows[:index].count(flow)) for index, flow in enumerate(flows))


def _without(gaps: dict[Flow, str], sets: Sequence[FlowSet]) -> list[FlowSet]:
    return [one for one in sets if not any(flow in gaps for flow in one.flows)]


def _skipped(flow_set: FlowSet, gaps: dict[Flow, str], device: str) -> tuple[Series, ...]:
    """Return the series of a set that cannot run, with the first reason."""
    reason = next(gaps[flow] for flow in flow_set.flows if flow in gaps)
    return tuple(
        skipped(
            Quantity(
                "contention.shared",
                "bytes_per_s",
                {"device": device, "set": str(flow_set), "flow": str(flow), "index": index},
            ),
            reason,
        )
        for index, flow in enumerate(flow_set.flows)
    )


def _usual_s(sets: Sequence[FlowSet], suite: str) -> float:
    """Return how long a flow runs that names no duration."""
    usual_s = _SINGLE_WINDOW_S if len(sets) == 1 else _WINDOW_S
    return usual_s.get(suite, _LONG_WINDOW_S)


def _alone_s(flow: Flow, usual_s: float) -> float:
    return flow.duration_s or usual_s


def _window_s(flow_set: FlowSet, usual_s: float) -> float:
    """Return how long a set runs, from its start to the end of its last flow."""
    return max((flow.delay_s or 0.0) + _alone_s(flow, usual_s) for flow in flow_set.flows)
