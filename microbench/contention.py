"""Contention: what CPU flows do to each other, each pair and all four kinds at once."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from topoprobe.errors import EnvironmentMissing, UsageError
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.concurrent import run_together
from topoprobe.measure.devices.cpu.device import CpuDevice, available_cpus
from topoprobe.measure.devices.cpu.executors import (
    DEFAULT_SIZE_BYTES,
    UNITS,
    CpuFlows,
    OpenFlow,
    check,
    memory_bytes,
)
from topoprobe.measure.devices.cpu.libraries import library_threads, numba_gap
from topoprobe.measure.flows import End, Executor, Flow, FlowSet, Work
from topoprobe.measure.series import Quantity, Trial, collect, require_any
from topoprobe.records.machine import MachineDocument
from topoprobe.units import format_bytes

_WINDOW_S = {"quick": 0.15, "standard": 0.5}
_LONG_WINDOW_S = 1.0
# Chunks of a few milliseconds, a window of tens of them, and a scheduler that may interrupt any.
_STEADY_RATIO = 0.05
# Samples that a set may lose to warm-up before its time is over; there are many sets.
_NUM_SPARE = 2
# With those spare.
_NUM_QUICK_SAMPLES = 7
# Below this a flow would run in the caches.
_MIN_SIZE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class ContentionBenchmark:
    """Every pair of {stream, chase, gemm, memcpy} on two CPUs, and all four together.

    With fewer than four CPUs the four flows share CPUs, not only memory: the factor ``num_cpus``
    of a series tells on how many CPUs its set ran.
    """

    name: str = "cpu.contention"
    summary: str = "Run pairs and a set of four flows together and compare with each alone."
    revision: int = 1
    seconds: float = 28.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Ask for numba, which the chase needs."""
        return numba_gap()

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure all sets and every flow of theirs alone, in alternation."""
        return measure_sets(machine, context, sets_of(context.cpus))


@dataclass(frozen=True, slots=True)
class GivenFlows:
    """A concurrent set that the user wrote, each of its flows alone, and all together."""

    flows: FlowSet
    name: str = "flows"
    summary: str = "Run the given flows alone and together."
    revision: int = 1

    @property
    def seconds(self) -> float:
        """The time of all windows: of the set and of every flow alone, one per sample."""
        window_s = _window_s(self.flows, "quick")
        return (len(self.flows.flows) + 1) * _NUM_QUICK_SAMPLES * window_s

    def missing(self, machine: MachineDocument) -> str | None:
        """Say which flow is not one of the CPU.

        Raises
        ------
        UsageError
            If a flow makes no sense here, as one from a NUMA node that there is not.
        """
        device = CpuDevice.of(machine, available_cpus())
        try:
            for flow in self.flows.flows:
                check(flow)
                for end in (flow.source, flow.destination):
                    device.check_place(str(end))
        except EnvironmentMissing as error:
            return str(error)
        return None

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure the set and every flow alone, in alternation."""
        return measure_sets(machine, context, (self.flows,))


def sets_of(cpus: tuple[int, ...]) -> tuple[FlowSet, ...]:
    """Return the sets for these CPUs: ten pairs, and all four kinds."""
    first, second = cpus[0], cpus[1 % len(cpus)]
    pairs = [
        FlowSet((_flow(one, first), _flow(other, second)))
        for one, other in itertools.combinations_with_replacement(Work, 2)
    ]
    together = FlowSet(
        tuple(_flow(work, cpus[number % len(cpus)]) for number, work in enumerate(Work))
    )
    return (*pairs, together)


def measure_sets(machine: MachineDocument, context: Context, sets: Sequence[FlowSet]) -> Outcome:
    """Measure concurrent sets, and each of their flows alone, in alternation.

    Raises
    ------
    UsageError
        If a flow is not one of the CPU, or the sets need more memory than the budget has.
    EnvironmentMissing
        If a flow needs a package that is not installed.
    """
    for flow_set in sets:
        for flow in flow_set.flows:
            check(flow)
    device = CpuDevice.of(machine, context.cpus)
    size_bytes = _size_bytes(sets, context)
    with closing(CpuFlows(device, size_bytes)) as cpu_flows, library_threads(1):
        opened: dict[_Place, OpenFlow] = {}
        for flow_set in sets:
            for index, (flow, place) in enumerate(
                zip(flow_set.flows, _places(flow_set), strict=True)
            ):
                if place not in opened:
                    context.progress(f"preparing {flow}")
                    opened[place] = cpu_flows.open(flow, index)
        solo = {flow: FlowSet((flow,)) for flow_set in sets for flow in flow_set.flows}
        trials = [
            *(_trial("contention.solo", one, opened, size_bytes, context) for one in solo.values()),
            *(_trial("contention.shared", one, opened, size_bytes, context) for one in sets),
        ]
        longest_s = max(_window_s(flow_set, context.budget.suite) for flow_set in sets)
        series = collect(
            context,
            trials,
            tolerance_ratio=_STEADY_RATIO,
            max_series_s=(context.budget.num_samples + _NUM_SPARE) * longest_s,
        )
    return Outcome(require_any(series))


@dataclass(frozen=True, slots=True)
class _Place:
    """Which streams a flow runs on: equal flows of one set get their own, other sets reuse them."""

    flow: Flow
    occurrence: int


def _flow(work: Work, cpu: int) -> Flow:
    core = End("core", str(cpu))
    source = core if work is Work.GEMM else End("host", "0")
    return Flow(source, core, Executor("cpu"), work)


def _places(flow_set: FlowSet) -> tuple[_Place, ...]:
    flows = flow_set.flows
    return tuple(_Place(flow, flows[:index].count(flow)) for index, flow in enumerate(flows))


def _size_bytes(sets: Sequence[FlowSet], context: Context) -> int:
    """Return the size of buffers that no flow names: as large as the budget's memory allows."""
    places = {place for flow_set in sets for place in _places(flow_set)}
    size_bytes = DEFAULT_SIZE_BYTES
    while True:
        total = sum(memory_bytes(place.flow, size_bytes) for place in places)
        if total <= context.budget.memory_bytes:
            return size_bytes
        if size_bytes <= _MIN_SIZE_BYTES:
            raise UsageError(
                f"The flows need {format_bytes(total)} of memory and "
                f"{format_bytes(context.budget.memory_bytes)} may be used; give smaller sizes."
            )
        size_bytes //= 2


def _window_s(flow_set: FlowSet, suite: str) -> float:
    durations = [flow.duration_s for flow in flow_set.flows if flow.duration_s is not None]
    return max(durations, default=_WINDOW_S.get(suite, _LONG_WINDOW_S))


def _trial(
    name: str,
    flow_set: FlowSet,
    opened: Mapping[_Place, OpenFlow],
    size_bytes: int,
    context: Context,
) -> Trial:
    members = [opened[place] for place in _places(flow_set)]
    duration_s = _window_s(flow_set, context.budget.suite)
    lanes = [member.lanes for member in members]
    num_cpus = len({cpu for member in members for cpu in member.cpus})
    quantities = tuple(
        Quantity(
            name,
            UNITS[flow.work],
            {
                "device": "host",
                "set": str(flow_set),
                "flow": str(flow),
                "index": index,
                "num_cpus": num_cpus,
                "size_bytes": flow.size_bytes or size_bytes,
            },
        )
        for index, flow in enumerate(flow_set.flows)
    )

    def measure() -> tuple[float, ...]:
        return run_together(lanes, duration_s, clock=time.monotonic, pause=time.sleep)

    return Trial(quantities, measure)
