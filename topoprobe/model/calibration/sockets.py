"""NUMA nodes and sockets: what each memory gives, what the ways between nodes carry, handovers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from topoprobe.machine.view import Machine
from topoprobe.model.calibration.readings import Reading, Readings, combined, fastest, measured
from topoprobe.records.base import Estimate
from topoprobe.records.calibration import Contention, Handover, LinkCalibration
from topoprobe.records.machine import Link, LinkKind, Numa

_KINDS: tuple[Literal["core", "node", "package", "machine"], ...] = (
    "core", "node", "package", "machine",
)  # fmt: skip


def node_memories(machine: Machine, readings: Readings) -> tuple[Contention, ...]:
    """Return what the memory of each NUMA node gives to the CPUs of its own node."""
    found = []
    for numa in _nodes(machine):
        best = _bandwidth(readings, numa, numa)
        if best is not None:
            found.append(
                Contention(resource=f"memory:{numa.id}", capacity_bytes_per_s=measured(best))
            )
    return tuple(found)


def node_ways(machine: Machine, readings: Readings) -> tuple[Contention, ...]:
    """Return what CPUs get of the memory of each other node, over ways that are no single link."""
    found = []
    for memory, cpus in _pairs(machine):
        best = _bandwidth(readings, cpus, memory)
        if best is not None and _link(machine, memory, cpus) is None:
            name = f"inter_socket:{memory.id}->{cpus.id}"
            found.append(Contention(resource=name, capacity_bytes_per_s=measured(best)))
    return tuple(found)


def socket_links(machine: Machine, readings: Readings) -> tuple[LinkCalibration, ...]:
    """Return the links between sockets: of all pairs of nodes that use one, what the best gets.

    Bytes go from the memory to the CPUs. What a direction gives to one node is a lower bound of
    what it carries for several.
    """
    rates: dict[tuple[str, bool], list[Reading]] = {}
    latencies: dict[str, list[Estimate]] = {}
    for memory, cpus in _pairs(machine):
        link = _link(machine, memory, cpus)
        if link is None:
            continue
        best = _bandwidth(readings, cpus, memory)
        if best is not None:
            package = machine.package(memory.id)
            forward = package is not None and link.a == package.id
            rates.setdefault((link.id, forward), []).append(best)
        beyond = _beyond(readings, cpus, memory)
        if beyond is not None:
            latencies.setdefault(link.id, []).append(beyond)

    def rate(link_id: str, *, forward: bool) -> Estimate | None:
        best = fastest(rates.get((link_id, forward), ()))
        return None if best is None else measured(best)

    def latency(link_id: str) -> Estimate | None:
        return min(latencies.get(link_id, ()), key=lambda one: one.value, default=None)

    return tuple(
        LinkCalibration(
            link=link_id,
            latency_s=latency(link_id),
            a_to_b_bytes_per_s=rate(link_id, forward=True),
            b_to_a_bytes_per_s=rate(link_id, forward=False),
        )
        for link_id in dict.fromkeys([*(name for name, _ in rates), *latencies])
    )


def handovers(readings: Readings, device: str) -> tuple[Handover, ...]:
    """Return how long a cache line takes between CPUs, by what they have in common."""
    import numpy as np

    found = []
    for shared in _KINDS:
        pairs = readings.select("core_to_core", device=device, shared=shared)
        if pairs:
            estimate = combined(
                lambda *times: np.asarray(
                    np.median(np.stack([np.median(one, axis=-1) for one in times]), axis=0)
                ),
                pairs,
                evidence=f"median over {len(pairs)} pairs of CPUs of the same {shared}",
            )
            found.append(Handover(shared=shared, num_pairs=len(pairs), latency_s=estimate))
    return tuple(found)


def _nodes(machine: Machine) -> list[Numa]:
    return [numa for numa in machine.all(Numa) if numa.memory_of is None]


def _pairs(machine: Machine) -> Iterator[tuple[Numa, Numa]]:
    nodes = _nodes(machine)
    return ((memory, cpus) for memory in nodes for cpus in nodes if memory.id != cpus.id)


def _link(machine: Machine, memory: Numa, cpus: Numa) -> Link | None:
    """Return the one link between the sockets of two nodes, None within one or without one."""
    packages = machine.package(memory.id), machine.package(cpus.id)
    if packages[0] is None or packages[1] is None or packages[0].id == packages[1].id:
        return None
    ends = {package.id for package in packages if package is not None}
    return next(
        (
            link
            for link in machine.document.links
            if link.kind is LinkKind.INTER_SOCKET and {link.a, link.b} == ends
        ),
        None,
    )


def _bandwidth(readings: Readings, cpus: Numa, memory: Numa) -> Reading | None:
    """Return what the CPUs of a node read of a node's memory: writes would count both ways."""
    return fastest(
        readings.select(
            "numa.bandwidth",
            cpu_node=cpus.os_index,
            memory_node=memory.os_index,
            kernel="read",
        )
    )


def _beyond(readings: Readings, cpus: Numa, memory: Numa) -> Estimate | None:
    """Return what a load from far memory takes beyond one from the CPUs' own."""
    import numpy as np

    far, near = (
        next(
            iter(
                readings.select("numa.latency", cpu_node=cpus.os_index, memory_node=node.os_index)
            ),
            None,
        )
        for node in (memory, cpus)
    )
    if far is None or near is None or far.median <= near.median:
        return None
    return combined(
        lambda one, other: np.asarray(np.median(one, axis=-1) - np.median(other, axis=-1)),
        [far, near],
        evidence=f"{far.evidence} less that of node {cpus.os_index}'s own memory",
    )
