"""Both directions of every link of a machine, with what they carry."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Literal

from topoprobe.machine.pcie import describe
from topoprobe.machine.view import Machine
from topoprobe.model.catalogue.devices import find_by_driver_name
from topoprobe.model.catalogue.processors import NominalProcessor, find_processor
from topoprobe.model.fabric.machines.described import Described
from topoprobe.model.fabric.machines.names import called
from topoprobe.model.fabric.machines.payloads import (
    LAST_FRAMED,
    NVLINK_HEADER_BYTES,
    NVLINK_PAYLOAD_BYTES,
    packets_on,
)
from topoprobe.model.fabric.packets import EFFICIENCY, FLIT_EFFICIENCY
from topoprobe.model.fabric.resource import BYTE_FAIR, PER_TRANSACTION, Resource
from topoprobe.records.machine import Gpu, Link, LinkKind, Numa, Package, PcieSwitch
from topoprobe.units import format_rate

HOP_S = 100e-9
"""One PCIe link with the port or switch at its end: the two crossings of a 64-byte read at a root
port, 546 ns, are taken to be 200 of it [pcie-bench]."""

SOCKET_HOP_S = 53.5e-9
"""One way between sockets: a read of far memory takes 107 ns more [pcie-bench]."""

XGMI_RATIO = 0.78
"""50 of 64 GB/s of an MI300X's link [scalarlm-mi300x]."""

C2C_RATIO_TO_GPU, C2C_RATIO_FROM_GPU = 0.946, 0.866
"""Copies of a GB300: 211.5 and 193.5 of 223.6 GB/s [oci-gb300]."""

# Copies by engine reached, of the nominal rate of a GPU's NVLinks, by compute capability.
_NVLINK_COPIES = {
    "6": (0.92, "18.3 of 20 GB/s [dell-v100]"),
    "7": (0.96, "47.9 of 50 GB/s [dell-v100]"),
    "8": (0.92, "276 of 300 GB/s [nvbandwidth-readme]"),
    "9": (0.83, "374 of 450 GB/s [nccl-1264]"),
    "10": (0.86, "776 of 900 GB/s [oci-gb300]"),
}
_OTHER_NVLINK = (
    0.87,
    "the mean of an A100's, an H100's and a GB300's, for nobody published this one's",
)

_NAMES = {
    LinkKind.NVLINK: "NVLink", LinkKind.XGMI: "xGMI link", LinkKind.C2C: "C2C link",
    LinkKind.XELINK: "Xe link",
}  # fmt: skip
_Direction = Literal["a_to_b", "b_to_a"]
_DIRECTIONS: tuple[_Direction, ...] = ("a_to_b", "b_to_a")


def wire_resources(machine: Machine) -> Iterator[Described]:
    """Describe both directions of every link, once where functions of a card share a wire."""
    wires = {link.wire: link for link in reversed(machine.document.links)}
    for link in reversed(wires.values()):
        for direction in _DIRECTIONS:
            if link.kind is LinkKind.PCIE:
                yield _pcie(machine, link, direction)
            elif link.kind in _NAMES:
                yield _direct(machine, link, direction)
            elif link.kind is LinkKind.INTER_SOCKET:
                yield _between_sockets(machine, link, direction)
    yield from _between_numas(machine)


def _pcie(machine: Machine, link: Link, direction: _Direction) -> Described:
    what = describe(link.nominal or link.current)
    way = "away from the CPU" if direction == "a_to_b" else "towards the CPU"
    kind = "uplink" if isinstance(machine.node(link.b), PcieSwitch) else "link"
    words = f"the {f'{what} ' if what else ''}{kind} of {called(machine, link.b)}, {way}"
    rate = _rate(link)
    if rate is None:
        return Described(f"{link.wire}:{direction}", words, None, "no source tells its rate")
    is_framed = packets_on(link).generation <= LAST_FRAMED
    left = EFFICIENCY if is_framed else FLIT_EFFICIENCY
    source = "[pcie-bench]" if is_framed else "[pcie-base]"
    evidence = f"{format_rate(rate)} after line encoding x {left:.3g} {source}"
    return _known(link, direction, words, rate * left, evidence)


def _direct(machine: Machine, link: Link, direction: _Direction) -> Described:
    ends = (link.a, link.b) if direction == "a_to_b" else (link.b, link.a)
    source, destination = (called(machine, end) for end in ends)
    words = f"{_name(link)} from {source} to {destination}"
    rate, told = _direct_rate(machine, link)
    if rate is None:
        return Described(f"{link.wire}:{direction}", words, None, "no source tells its rate")
    ratio, reason = _reached(machine, link, ends[1])
    evidence = f"{format_rate(rate)} nominal{told} x {ratio:.3f}: {reason}"
    return _known(link, direction, words, rate * ratio, evidence)


def _direct_rate(machine: Machine, link: Link) -> tuple[float | None, str]:
    """Return a direct link's nominal rate, of its product where no source tells, and whose."""
    rate = _rate(link)
    if rate is not None or link.kind not in (LinkKind.NVLINK, LinkKind.XGMI):
        return rate, ""
    gpus = (node for end in (link.a, link.b) if isinstance(node := machine.node(end), Gpu))
    device = next((d for gpu in gpus if (d := find_by_driver_name(gpu.model or gpu.name))), None)
    if device is None or device.peer_links is None:
        return None, ""
    return link.count * device.peer_links.bytes_per_s.value, f" of {device.title}"


def _reached(machine: Machine, link: Link, destination: str) -> tuple[float, str]:
    """Return what is reached of a direct link's nominal rate, with its packets' headers."""
    if link.kind is LinkKind.NVLINK:
        gpu = next(
            (node for end in (link.a, link.b) if isinstance(node := machine.node(end), Gpu)), None
        )
        major = (gpu.compute_capability or "").partition(".")[0] if gpu is not None else ""
        copies, reason = _NVLINK_COPIES.get(major, _OTHER_NVLINK)
        header = NVLINK_HEADER_BYTES / NVLINK_PAYLOAD_BYTES
        return copies * (1 + header), f"copies reach {reason}, and {header:.1%} of headers more"
    if link.kind is LinkKind.C2C:
        is_into = isinstance(machine.node(destination), Gpu)
        return (C2C_RATIO_TO_GPU if is_into else C2C_RATIO_FROM_GPU), "a GB300 [oci-gb300]"
    return XGMI_RATIO, "an MI300X, 50 of 64 GB/s [scalarlm-mi300x]"


def _between_sockets(machine: Machine, link: Link, direction: _Direction) -> Described:
    ends = (link.a, link.b) if direction == "a_to_b" else (link.b, link.a)
    words = f"the link from {called(machine, ends[0])} to {called(machine, ends[1])}"
    rate = _rate(link)
    if rate is not None:
        return _known(link, direction, words, rate, f"{format_rate(rate)} as told")
    return _of_processor(f"{link.wire}:{direction}", words, _processor(machine, link.a))


def _between_numas(machine: Machine) -> Iterator[Described]:
    """Describe ways between NUMA nodes over which no link of the document leads."""
    nodes = [numa for numa in machine.all(Numa) if numa.memory_of is None]
    for one, other in permutations(nodes, 2):
        name = f"inter_socket:{one.id}->{other.id}"
        words = f"the way from NUMA node {one.os_index} to {other.os_index}"
        sockets = machine.package(one.id), machine.package(other.id)
        if sockets[0] is not None and sockets[0] == sockets[1]:
            yield Described(name, words, None, "nobody publishes what a socket carries inside")
        else:
            yield _of_processor(name, words, _processor(machine, one.id))


def _of_processor(name: str, words: str, processor: NominalProcessor | None) -> Described:
    if processor is None:
        return Described(name, words, None, "its rate is told by no source and no catalogue")
    if processor.inter_socket_bytes_per_s is None:
        return Described(name, words, None, processor.inter_socket_evidence)
    resource = Resource(
        id=name,
        kind=LinkKind.INTER_SOCKET,
        capacity_per_s=processor.inter_socket_bytes_per_s,
        sharing=BYTE_FAIR,
        evidence=processor.inter_socket_evidence,
        latency_s=SOCKET_HOP_S,
    )
    return Described(name, words, resource)


def _known(
    link: Link, direction: _Direction, words: str, capacity_per_s: float, evidence: str
) -> Described:
    name = f"{link.wire}:{direction}"
    resource = Resource(
        id=name,
        kind=link.kind,
        capacity_per_s=capacity_per_s,
        sharing=PER_TRANSACTION,
        evidence=evidence,
        latency_s=HOP_S,
    )
    return Described(name, words, resource)


def _rate(link: Link) -> float | None:
    known = [c.bandwidth_bytes_per_s for c in (link.nominal, link.current) if c is not None]
    return next((rate for rate in known if rate is not None), None)


def _name(link: Link) -> str:
    kind = _NAMES[link.kind]
    return f"{link.count} {kind}s" if link.count > 1 else f"the {kind}"


def _processor(machine: Machine, node_id: str) -> NominalProcessor | None:
    node = machine.node(node_id)
    package = node if isinstance(node, Package) else machine.package(node_id)
    return None if package is None else find_processor(package.name)
