"""What a device's transfer between two nodes takes of what it crosses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from topoprobe.machine.view import Machine
from topoprobe.machine.view import Resource as Crossed
from topoprobe.model.fabric import packets
from topoprobe.model.fabric.demand import Use
from topoprobe.model.fabric.machines.capacities import Capacities
from topoprobe.model.fabric.machines.payloads import NVLINK_HEADER_BYTES, packets_on
from topoprobe.model.fabric.machines.places import MEMORY_S
from topoprobe.model.fabric.machines.wires import HOP_S, SOCKET_HOP_S
from topoprobe.records.machine import Gpu, LinkKind, Nic, Numa, Nvme

_DIRECTIONS = {"a_to_b": "b_to_a", "b_to_a": "a_to_b"}


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bytes that go from one node to another in packets.

    Attributes
    ----------
    source, destination : str
        Node ids.
    is_read : bool
        Whether who moves them asks for them at the destination's end; else the source sends them.
    payload_bytes : int
        Of a PCIe packet.
    request_bytes : int
        What one PCIe read request asks for.
    nvlink_payload_bytes : int
        Of an NVLink packet.
    """

    source: str
    destination: str
    is_read: bool
    payload_bytes: int
    request_bytes: int
    nvlink_payload_bytes: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """What a transfer takes, and how long its packets are on the way.

    Attributes
    ----------
    along, beside : tuple of Use
        As in `Demand`, of resources whose capacity is known.
    unknown : tuple of str
        Resources that it crosses and that limit nothing, for nobody tells their capacity.
    round_trip_s : float
        From a request to its answer.
    """

    along: tuple[Use, ...]
    beside: tuple[Use, ...] = ()
    unknown: tuple[str, ...] = field(default=())
    round_trip_s: float = 0.0


def cross(machine: Machine, capacities: Capacities, transfer: Transfer) -> Crossing:
    """Return what a transfer takes of a machine's resources.

    Raises
    ------
    ModelError
        If nothing is known of the way between its ends.
    """
    crossed = [
        _end(machine, transfer.source, is_source=True),
        *_between(machine, transfer.source, transfer.destination),
        _end(machine, transfer.destination, is_source=False),
    ]
    links = {link.id: link for link in machine.document.links}
    pcie = {
        one.id: packets_on(links[one.link], transfer.payload_bytes, transfer.request_bytes)
        for one in crossed
        if one.kind is LinkKind.PCIE and one.link is not None
    }
    along = list(_along(capacities, transfer, crossed, pcie))
    beside = list(_requests(transfer, crossed, pcie)) if transfer.is_read else []
    known = capacities.resources
    return Crossing(
        along=tuple(use for use in along if use.resource in known),
        beside=tuple(use for use in beside if use.resource in known),
        unknown=tuple(use.resource for use in along if use.resource not in known),
        round_trip_s=sum(map(_round_trip_s, crossed)),
    )


def links_between(machine: Machine, source: str, destination: str) -> tuple[str, ...]:
    """Return the PCIe links of the document that a transfer crosses."""
    crossed = _between(machine, source, destination)
    return tuple(one.link for one in crossed if one.kind is LinkKind.PCIE and one.link is not None)


def _between(machine: Machine, source: str, destination: str) -> list[Crossed]:
    """List the wires between two nodes; a copy within one node crosses none."""
    if source == destination:
        return []
    stop = _c2c_stop(machine, source, destination)
    if stop is not None:
        return [*_between(machine, source, stop), *_between(machine, stop, destination)]
    crossed = machine.resources_between(source, destination)
    return [one for one in crossed if one.kind != "memory"]


def _c2c_stop(machine: Machine, source: str, destination: str) -> str | None:
    """Return the CPU through which a far host reaches a GPU that chip-to-chip links join to it."""
    nodes = {machine.node(end).id: machine.node(end) for end in (source, destination)}
    gpu = next((name for name, node in nodes.items() if isinstance(node, Gpu)), None)
    if gpu is None or not any(isinstance(node, Numa) for node in nodes.values()):
        return None
    links = (link for link in machine.document.links if link.kind is LinkKind.C2C)
    near = {end for link in links for end in (link.a, link.b) if gpu in (link.a, link.b)} - {gpu}
    return None if not near or near & nodes.keys() else min(near)


def _end(machine: Machine, node_id: str, *, is_source: bool) -> Crossed:
    """Return what a transfer takes at one of its ends: a memory, a network port, a drive."""
    node = machine.node(node_id)
    if isinstance(node, Nic):
        return Crossed(f"port:{node_id}:{'in' if is_source else 'out'}", "memory", None, None)
    kind = "storage" if isinstance(node, Nvme) else "memory"
    return Crossed(f"{kind}:{node_id}", "memory", None, None)


def _along(
    capacities: Capacities,
    transfer: Transfer,
    crossed: list[Crossed],
    pcie: Mapping[str, packets.Link],
) -> Iterator[Use]:
    """Yield the uses of the payload, in order; only the memory at the end is written."""
    last = len(crossed) - 1
    for place, one in enumerate(crossed):
        per_byte = one.share
        if one.id in pcie and transfer.is_read:
            per_byte *= pcie[one.id].per_byte_read(transfer.request_bytes)
        elif one.id in pcie:
            per_byte *= pcie[one.id].per_byte_written(transfer.payload_bytes)
        elif one.kind is LinkKind.NVLINK:
            payload = transfer.nvlink_payload_bytes
            per_byte *= (payload + NVLINK_HEADER_BYTES) / payload
        elif one.kind == "memory" and place == last:
            per_byte *= capacities.write_cost.get(one.id, 1.0)
        yield Use(one.id, per_byte)


def _requests(
    transfer: Transfer, crossed: list[Crossed], pcie: Mapping[str, packets.Link]
) -> Iterator[Use]:
    """Yield what read requests take of the PCIe links, the other way round."""
    for one in reversed(crossed):
        if one.id in pcie:
            wire, _, direction = one.id.rpartition(":")
            per_byte = one.share * pcie[one.id].per_byte_requested(transfer.request_bytes)
            yield Use(f"{wire}:{_DIRECTIONS[direction]}", per_byte)


def _round_trip_s(one: Crossed) -> float:
    if one.kind == "memory":
        return MEMORY_S if one.id.startswith("memory:numa") else 0.0
    return 2 * (SOCKET_HOP_S if one.kind is LinkKind.INTER_SOCKET else HOP_S)
