"""Contention: what CPU flows do to each other, each pair and all kinds at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from topoprobe.machine.view import Machine
from topoprobe.measure.benchmark import Budget, Context, GpuChoice, Outcome, Plan
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.measure.devices.cpu.libraries import numba_gap
from topoprobe.measure.devices.cuda.inventory import ALL_IDLE
from topoprobe.measure.devices.flows import Place
from topoprobe.measure.devices.openers import gap, openers_of
from topoprobe.measure.devices.session import scratch_parent
from topoprobe.measure.ends import addressed
from topoprobe.measure.flows import End, Executor, Flow, FlowSet, Work
from topoprobe.measure.series import require_any
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Series

from . import flow_sets
from .flow_sets import measure_sets

# The samples that the quick suite wants of a set.
_NUM_QUICK_SAMPLES = 5
# A gemv reads memory as the triad does; it is for KV swaps and GPUs.
_KINDS = (Work.MEMCPY, Work.STREAM, Work.CHASE, Work.GEMM, Work.DISK)


@dataclass(frozen=True, slots=True)
class ContentionBenchmark:
    """Every pair of {memcpy, stream, chase, gemm, disk} on two CPUs, and all five together.

    With fewer than five CPUs the five flows share CPUs, not only memory: the factor ``num_cpus``
    of a series tells on how many CPUs its set ran.
    """

    name: str = "cpu.contention"
    summary: str = "Run pairs and a set of five flows together and compare with each alone."
    revision: int = 2
    seconds: float = 12.5

    def missing(self, machine: MachineDocument) -> str | None:
        """Ask for numba, which the chase needs."""
        return numba_gap()

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure all sets and every flow of theirs alone, in alternation."""
        return _outcome(measure_sets(machine, context, sets_of(context.cpus)))

    def plan(self, machine: MachineDocument, budget: Budget, gpus: GpuChoice = ALL_IDLE) -> Plan:
        """Return the sets, which take no GPU."""
        return flow_sets.plan(machine, budget, sets_of(available_cpus()))


@dataclass(frozen=True, slots=True)
class GivenFlows:
    """A concurrent set that the user wrote, each of its flows alone, and all together."""

    flows: FlowSet
    gpus: GpuChoice = ALL_IDLE
    name: str = "flows"
    summary: str = "Run the given flows alone and together."
    revision: int = 3

    @property
    def seconds(self) -> float:
        """The time of all windows: of the set and of every flow alone, one per sample."""
        return flow_sets.seconds((self.flows,), _NUM_QUICK_SAMPLES, "quick")

    def missing(self, machine: MachineDocument) -> str | None:
        """Say which flow cannot run here, and why.

        Raises
        ------
        UsageError
            If a flow makes no sense here, as one from a NUMA node that there is not.
        """
        place = Place(machine, available_cpus(), scratch_parent(), self.gpus)
        with openers_of(self.flows.flows, place) as openers:
            for flow in self._addressed(machine).flows:
                reason = gap(flow, openers)
                if reason is not None:
                    return f"{flow}: {reason}"
        return None

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure the set and every flow alone, in alternation."""
        return _outcome(measure_sets(machine, context, (self._addressed(machine),)))

    def plan(self, machine: MachineDocument, budget: Budget, gpus: GpuChoice = ALL_IDLE) -> Plan:
        """Return each flow alone, and the set."""
        return flow_sets.plan(machine, budget, (self._addressed(machine),), gpus)

    def _addressed(self, machine: MachineDocument) -> FlowSet:
        return addressed(Machine(machine), self.flows)


def sets_of(cpus: tuple[int, ...]) -> tuple[FlowSet, ...]:
    """Return the sets for these CPUs: all pairs of kinds, and all kinds."""
    first, second = cpus[0], cpus[1 % len(cpus)]
    pairs = [
        FlowSet((_flow(one, first), _flow(other, second)))
        for one, other in itertools.combinations_with_replacement(_KINDS, 2)
    ]
    together = FlowSet(
        tuple(_flow(work, cpus[number % len(cpus)]) for number, work in enumerate(_KINDS))
    )
    return (*pairs, together)


def _outcome(series: Sequence[Series]) -> Outcome:
    """Return the outcome of sets: skipped as a whole where every one is."""
    if all(one.status is Status.SKIPPED for one in series):
        return Outcome(tuple(series), Status.SKIPPED, series[0].reason)
    return Outcome(require_any(series))


def _flow(work: Work, cpu: int) -> Flow:
    core, memory = End("core", str(cpu)), End("host", "0")
    ends = {Work.GEMM: (core, core), Work.DISK: (core, memory)}.get(work, (memory, core))
    return Flow(*ends, Executor("cpu"), work)
