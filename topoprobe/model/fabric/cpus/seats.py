"""Where flows of CPUs run, and what they move of which memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from topoprobe.errors import ModelError
from topoprobe.machine.view import Machine
from topoprobe.measure.flows import Flow, FlowSet, Work
from topoprobe.records.machine import Numa

READ_BYTES: Mapping[Work, float] = {
    Work.MEMCPY: 1.0,
    Work.STREAM: 2 / 3,
    Work.CHASE: 64.0,
    Work.GEMV: 1.0,
}
"""What a unit of work reads from memory: bytes per byte, per hop of a chase (a cache line)."""

WRITTEN_BYTES: Mapping[Work, float] = {Work.MEMCPY: 1.0, Work.STREAM: 1 / 3, Work.DISK: 1.0}
"""What it writes. Large copies and the triad write past the caches, so nothing is read for it."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A flow and where it runs.

    Attributes
    ----------
    flow : Flow
        By the executor ``cpu``.
    cpus : tuple of int
        One per thread.
    memories : dict of str to float
        Bytes that a unit of its work moves from or to each memory, by the memory's resource.
    home : str
        The memory near its CPUs, whose load stalls it where it moves nothing itself.
    """

    flow: Flow
    cpus: tuple[int, ...]
    memories: dict[str, float]
    home: str

    def part_at(self, memory: str) -> float:
        """Return the share of its traffic that goes to a memory."""
        total = sum(self.memories.values())
        return self.memories.get(memory, 0.0) / total if total else float(memory == self.home)


def cpu_seats(machine: Machine, flow_set: FlowSet) -> tuple[Seat, ...]:
    """Say where the flows of a set run: where their ends bind them, else on CPUs in turn.

    Raises
    ------
    ModelError
        If a flow is not by CPUs.
    """
    nodes = [numa for numa in machine.all(Numa) if numa.memory_of is None]
    return tuple(_seat(nodes, flow, index) for index, flow in enumerate(flow_set.flows))


def _seat(nodes: Sequence[Numa], flow: Flow, index: int) -> Seat:
    if flow.executor.kind != "cpu":
        raise ModelError(f"{flow}: the laws of CPUs tell nothing of flows via {flow.executor}.")
    cpus = _cpus(nodes, flow, index)
    home = _memory_near(nodes, cpus[0])
    memories: dict[str, float] = {}
    for end, bytes_of in ((flow.source, READ_BYTES), (flow.destination, WRITTEN_BYTES)):
        num_bytes = bytes_of.get(flow.work, 0.0)
        if num_bytes:
            memory = _memory(nodes, end.index) if end.kind == "host" else home
            memories[memory] = memories.get(memory, 0.0) + num_bytes
    return Seat(flow, cpus, memories, home)


def _cpus(nodes: Sequence[Numa], flow: Flow, index: int) -> tuple[int, ...]:
    """Return the CPUs of a flow, as the executor of `topoprobe.measure` chooses them."""
    count = flow.executor.count or 1
    core = next((end.index for end in (flow.destination, flow.source) if end.kind == "core"), None)
    if core is not None:
        return (core,) * count
    node = next((one for one in nodes if one.os_index == flow.destination.index), None)
    cpus = (
        node.cpus if node is not None and node.cpus else range(node.num_cpus or 1) if node else ()
    )
    return tuple((cpus[(index + n) % len(cpus)] if cpus else index + n) for n in range(count))


def _memory_near(nodes: Sequence[Numa], cpu: int) -> str:
    near = next((one for one in nodes if cpu in one.cpus), None)
    return _memory(nodes, near.os_index if near else 0)


def _memory(nodes: Sequence[Numa], index: int | None) -> str:
    node = next((one for one in nodes if one.os_index == index), None)
    return f"memory:{node.id}" if node else f"memory:host:{index}"
