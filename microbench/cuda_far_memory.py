"""Copies between GPUs and the host memory of the other sockets, beside those to their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from topoprobe.machine.view import Machine
from topoprobe.measure.devices.cuda.availability import cuda_gap, nvidia_gpus
from topoprobe.measure.flows import End, Flow, FlowSet
from topoprobe.records.machine import Gpu, MachineDocument, Numa

from .gpu_sets import Group, GroupsBenchmark, from_gpu, to_gpu


@dataclass(frozen=True, slots=True)
class CudaFarMemoryBenchmark(GroupsBenchmark):
    """What buffers on the wrong NUMA node cost: alone, and when all GPUs have them there.

    Near and far buffers are measured in alternation. The quick suite takes one GPU of each node.
    """

    name: str = "cuda.far_memory"
    summary: str = "Copy between GPUs and host memory of other NUMA nodes, and of their own."
    revision: int = 1
    seconds: float = 9.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        gap = cuda_gap(machine)
        if gap is None and len(_nodes(machine)) < 2:
            return "all host memory of this machine is one NUMA node"
        return gap

    def groups(self, machine: MachineDocument, suite: str) -> Iterator[Group]:
        """Yield copies to the GPUs, and copies from them."""
        gpus = chosen_gpus(machine, suite)
        for make in (to_gpu, from_gpu):
            yield Group("host", near_and_far(machine, [make(machine, gpu) for gpu in gpus]))


def chosen_gpus(machine: MachineDocument, suite: str) -> tuple[Gpu, ...]:
    """Return all GPUs, or in the quick suite the first of each NUMA node."""
    gpus = nvidia_gpus(machine)
    if suite != "quick":
        return gpus
    view = Machine(machine)
    by_node = {view.numa(gpu.id): gpu for gpu in reversed(gpus)}
    return tuple(gpu for gpu in gpus if gpu in by_node.values())


def near_and_far(machine: MachineDocument, flows: Sequence[Flow]) -> tuple[FlowSet, ...]:
    """Return the flows as they are, together, and with their host memory on the next node."""
    nodes = _nodes(machine)
    return (
        FlowSet(tuple(flows)),
        FlowSet(tuple(_moved(flow, nodes) for flow in flows)),
    )


def _moved(flow: Flow, nodes: Sequence[int]) -> Flow:
    host = flow.source if flow.source.kind == "host" else flow.destination
    place = nodes.index(int(host.name)) if int(host.name) in nodes else 0
    far = End("host", str(nodes[(place + 1) % len(nodes)]))
    return replace(flow, source=far) if host is flow.source else replace(flow, destination=far)


def _nodes(machine: MachineDocument) -> list[int]:
    """Return the NUMA nodes with memory that is no GPU's.

    Where no source tells the size of a node's memory, it counts as having some.
    """
    return sorted(
        node.os_index
        for node in machine.nodes
        if isinstance(node, Numa) and node.memory_of is None and node.memory_bytes != 0
    )
