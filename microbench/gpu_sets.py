"""Groups of concurrent sets over GPUs: the GPUs of a machine by nearness, and how sets are run."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from topoprobe.errors import EnvironmentMissing, MeasurementFailed
from topoprobe.machine.paths import path_class, pcie_class
from topoprobe.machine.view import Machine
from topoprobe.measure.benchmark import Budget, Context, GpuChoice, Outcome, Plan
from topoprobe.measure.devices.cuda.availability import cuda_gap, nvidia_gpus
from topoprobe.measure.devices.cuda.inventory import ALL_IDLE
from topoprobe.measure.devices.gpu_conditions import watched
from topoprobe.measure.flows import End, Executor, Flow, FlowSet
from topoprobe.measure.series import require_any
from topoprobe.records.base import Status
from topoprobe.records.machine import Gpu, MachineDocument
from topoprobe.records.results import Series

from .flow_sets import measure_sets, plan

CE = Executor("ce")
SM = Executor("sm")

# Nearest first: what two GPUs of a class have in common, and so contend for.
_PCIE_CLASSES = ("PIX", "PXB", "PHB", "NODE", "SYS")


@dataclass(frozen=True, slots=True)
class Group:
    """Sets that are measured in alternation, with all their memory held at once.

    Attributes
    ----------
    device : str
        Id of the node whose resource they share.
    sets : tuple of FlowSet
        With each flow alone as well.
    """

    device: str
    sets: tuple[FlowSet, ...]


def several_gpus_gap(machine: MachineDocument, at_least: int = 2) -> str | None:
    """Say what keeps several GPUs from being measured at once, or None."""
    gap = cuda_gap(machine)
    num_gpus = len(nvidia_gpus(machine))
    if gap is None and num_gpus < at_least:
        return f"it takes {at_least} GPUs, and this machine has {num_gpus}"
    return gap


class GroupsBenchmark(ABC):
    """A benchmark that is nothing but groups of sets, which are measured or planned."""

    __slots__ = ()

    @abstractmethod
    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run on a machine, or None."""

    @abstractmethod
    def groups(self, machine: MachineDocument, suite: str) -> Iterable[Group]:
        """Return what a suite measures on a machine, in order."""

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure group after group, of the chosen GPUs."""
        groups = self._groups_among(machine, context.gpus, context.budget.suite)
        return measure_groups(machine, context, groups)

    def plan(self, machine: MachineDocument, budget: Budget, gpus: GpuChoice = ALL_IDLE) -> Plan:
        """Return every flow alone, and the sets; a group gives back its memory before the next.

        Raises
        ------
        EnvironmentMissing
            If the chosen GPUs are too few.
        """
        groups = self._groups_among(machine, gpus, budget.suite)
        plans = [plan(machine, budget, group.sets, gpus) for group in groups]
        return Plan(
            tuple(one for each in plans for one in each.sets),
            max((each.memory_bytes for each in plans), default=0),
        )

    def _groups_among(
        self, machine: MachineDocument, gpus: GpuChoice, suite: str
    ) -> Iterable[Group]:
        chosen = _among(machine, gpus)
        gap = self.missing(chosen)
        if gap is not None:
            raise EnvironmentMissing(f"Of the GPUs that were chosen: {gap}.")
        return self.groups(chosen, suite)


def measure_groups(machine: MachineDocument, context: Context, groups: Iterable[Group]) -> Outcome:
    """Measure groups one after the other, with the state of their GPUs beside each sample.

    A group of which a transfer arrives wrong when it is tried is failed, and the others go on.

    Returns
    -------
    Outcome
        Skipped as a whole where every set is.

    Raises
    ------
    Interrupted
        If the person asked to stop.
    MeasurementFailed
        If sets were run and none gave a sample.
    """
    series: list[Series] = []
    for group in groups:
        with watched(context, *_addresses(machine, group)) as beside:
            try:
                series += measure_sets(machine, beside, group.sets, device=group.device)
            except MeasurementFailed as failure:
                series += _failed(group, str(failure))
    if all(one.status is Status.SKIPPED for one in series):
        reasons = dict.fromkeys(one.reason for one in series if one.reason)
        return Outcome(tuple(series), Status.SKIPPED, "; ".join(reasons))
    return Outcome(require_any(series))


def gpu_end(gpu: Gpu) -> End:
    """Return a GPU as the end of a flow, by its address."""
    return End("gpu", gpu.pci_address or gpu.id)


def lasting(flow_set: FlowSet, duration_s: float) -> FlowSet:
    """Return a set whose flows run for a time of their own instead of the suite's."""
    return FlowSet(tuple(replace(one, duration_s=duration_s) for one in flow_set.flows))


def near_host(machine: MachineDocument, gpu: Gpu) -> End:
    """Return the host memory nearest to a GPU, as an end; that of node 0 where nobody knows."""
    numa = Machine(machine).numa(gpu.id)
    return End("host", str(numa.os_index if numa is not None else 0))


def to_gpu(
    machine: MachineDocument, gpu: Gpu, executor: Executor = CE, txn_bytes: int | None = None
) -> Flow:
    """Return the flow from the nearest host memory to a GPU."""
    return Flow(near_host(machine, gpu), gpu_end(gpu), executor, txn_bytes=txn_bytes)


def from_gpu(
    machine: MachineDocument, gpu: Gpu, executor: Executor = CE, txn_bytes: int | None = None
) -> Flow:
    """Return the flow from a GPU to the nearest host memory."""
    return Flow(gpu_end(gpu), near_host(machine, gpu), executor, txn_bytes=txn_bytes)


def between(source: Gpu, target: Gpu, executor: Executor = CE) -> Flow:
    """Return the flow from one GPU to another, or within one."""
    return Flow(gpu_end(source), gpu_end(target), executor)


def pairs_by_class(machine: MachineDocument) -> dict[str, list[tuple[Gpu, Gpu]]]:
    """Return the pairs of GPUs by the class of the best path between them, such as ``NV18``."""
    view = Machine(machine)
    found: dict[str, list[tuple[Gpu, Gpu]]] = {}
    for one, other in itertools.combinations(nvidia_gpus(machine), 2):
        name = path_class(view, one.id, other.id).name or "unknown"
        found.setdefault(name, []).append((one, other))
    return found


def nearest_pair(machine: MachineDocument) -> tuple[Gpu, Gpu]:
    """Return the two GPUs that have most of their way to the host in common."""
    view = Machine(machine)

    def distance(pair: tuple[Gpu, Gpu]) -> int:
        name = pcie_class(view, pair[0].id, pair[1].id).name
        return _PCIE_CLASSES.index(name) if name in _PCIE_CLASSES else len(_PCIE_CLASSES)

    return min(itertools.combinations(nvidia_gpus(machine), 2), key=distance)


def shared_node(machine: MachineDocument, gpus: Sequence[Gpu]) -> str:
    """Return the id of the nearest switch or host bridge above all of some GPUs, or the host's."""
    view = Machine(machine)
    for bridge in view.bridges_above(gpus[0].id):
        if all(bridge in view.bridges_above(gpu.id) for gpu in gpus[1:]):
            return bridge.id
    return "host"


def _among(machine: MachineDocument, choice: GpuChoice) -> MachineDocument:
    """Return a machine without the NVIDIA GPUs that were not chosen."""
    if choice.indices is None:
        return machine
    gpus = nvidia_gpus(machine)
    left_out = {gpu.id for index, gpu in enumerate(gpus) if index not in choice.indices}
    return msgspec.structs.replace(
        machine,
        nodes=tuple(node for node in machine.nodes if node.id not in left_out),
        links=tuple(one for one in machine.links if left_out.isdisjoint((one.a, one.b))),
        pairs=tuple(one for one in machine.pairs if left_out.isdisjoint((one.a, one.b))),
    )


def _addresses(machine: MachineDocument, group: Group) -> list[str]:
    flows = [each for one in group.sets for each in one.flows]
    named = {end for each in flows for end in (each.source, each.destination)}
    return [
        gpu.pci_address
        for gpu in nvidia_gpus(machine)
        if gpu.pci_address is not None and gpu_end(gpu) in named
    ]


def _failed(group: Group, reason: str) -> Iterator[Series]:
    for one in group.sets:
        for index, each in enumerate(one.flows):
            yield Series(
                name="contention.shared",
                unit="bytes_per_s",
                factors={
                    "device": group.device, "set": str(one), "flow": str(each), "index": index,
                },
                is_better_higher=True,
                status=Status.FAILED,
                reason=reason,
            )  # fmt: skip
