"""Links that give more or less than the law of their packets says, and the likely cause."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.pcie import capability_of_generation, generation_of
from topoprobe.machine.view import Machine
from topoprobe.measure.evidence import typical
from topoprobe.model.calibration.links import COPIES, Direction, copies
from topoprobe.model.calibration.readings import Reading, Readings, fastest
from topoprobe.model.fabric import packets
from topoprobe.model.fabric.machines.payloads import pcie_payload_bytes, request_bytes
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, Link, LinkKind, MachineDocument
from topoprobe.units import format_bytes, format_rate

MOST_RESIDUAL_RATIO = 0.05
"""Copies of sound links differ from the law by less (docs/model.md)."""

_WORDS: dict[Direction, str] = {"a_to_b": "from the host", "b_to_a": "to the host"}


def residual_verdicts(machine: MachineDocument, readings: Readings) -> tuple[Verdict, ...]:
    """Judge the largest copies of every GPU by what its link's packets should give."""
    view = Machine(machine)
    gpus = {node.id: node for node in machine.nodes if isinstance(node, Gpu)}
    return tuple(
        verdict
        for link in machine.links
        if link.kind is LinkKind.PCIE and link.b in gpus
        for verdict in _link(view, link, gpus[link.b], readings)
    )


def _link(machine: Machine, link: Link, gpu: Gpu, readings: Readings) -> Iterator[Verdict]:
    found = {way: sizes[-1] for way in COPIES if (sizes := copies(readings, gpu.id, way))}
    packet = _packets(machine, link, gpu, found)
    if packet is None:
        return
    payload = packet.max_payload_bytes
    expected: dict[Direction, float] = {
        "a_to_b": packet.read_bytes_per_s(packet.max_read_bytes),
        "b_to_a": packet.write_bytes_per_s(payload),
    }
    off = {way: copy.median / expected[way] - 1.0 for way, copy in found.items()}
    for way, copy in found.items():
        if abs(off[way]) <= MOST_RESIDUAL_RATIO:
            continue
        side = "more" if off[way] > 0 else "less"
        cause, fix = _cause(copy, way, off, packet, gpu, readings)
        yield Verdict(
            level="WARN",
            check="link law",
            subject=link.id,
            evidence=f"copies {_WORDS[way]} reach {format_rate(copy.median)}, "
            f"{abs(off[way]):.0%} {side} than the {format_rate(expected[way])} of packets of "
            f"{payload} bytes on Gen{packet.generation} x{packet.num_lanes}; probably {cause}",
            fix=fix,
        )


def _packets(
    machine: Machine, link: Link, gpu: Gpu, found: dict[Direction, Reading]
) -> packets.Link | None:
    """Return the link as it can be: what both ends could negotiate, else what ran under load."""
    told = [one for copy in found.values() for one in copy.told]
    nominal = link.nominal
    generation = generation_of(nominal.transfers_per_s) if nominal is not None else None
    number = generation.number if generation else typical(told, lambda one: one.pcie_generation)
    num_lanes = nominal.num_lanes if nominal is not None else None
    num_lanes = num_lanes or _whole(typical(told, lambda one: one.pcie_num_lanes))
    if number is None or num_lanes is None:
        return None
    payload = pcie_payload_bytes(machine, [link.id], gpu)
    return packets.Link(int(number), num_lanes, payload, request_bytes(gpu))


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _cause(
    copy: Reading,
    way: Direction,
    off: dict[Direction, float],
    packet: packets.Link,
    gpu: Gpu,
    readings: Readings,
) -> tuple[str, str]:
    """Return the likeliest cause of a residual, and what to do."""
    if off[way] > 0:
        return _cause_of_more(copy)
    narrowed = _narrowed(copy, packet)
    if narrowed is not None:
        return narrowed, "Reseat the card and its riser, and see `topoprobe doctor`."
    reasons = sorted({reason for one in copy.told for reason in one.throttle_reasons})
    if reasons:
        return (
            f"throttling ({', '.join(reasons)})",
            "See to its cooling and its power limit, and measure again.",
        )
    if gpu.numa_index is None or _far_is_faster(readings, gpu, way):
        return (
            "the host's buffer lies on another NUMA node than the GPU",
            "Bind memory to the GPU's node, and let the firmware tell which that is.",
        )
    other: Direction = "b_to_a" if way == "a_to_b" else "a_to_b"
    if way == "b_to_a" and abs(off.get(other, 1.0)) <= MOST_RESIDUAL_RATIO:
        return (
            "writes wait for each other, for relaxed ordering is off",
            "Allow relaxed ordering in the firmware and for the device (lspci: RlxdOrd+).",
        )
    return (
        "the host's side of the link: its memory, a switch above or the IOMMU",
        "See `topoprobe doctor` for the IOMMU and access control on the way.",
    )


def _cause_of_more(copy: Reading) -> tuple[str, str]:
    num_bytes = copy.number("num_bytes")
    if num_bytes < packets.PAGE_BYTES << 12:  # 16 MiB: caches of GPUs and hosts are as large
        return (
            f"a cache that holds the buffer of {format_bytes(num_bytes)}, on the GPU or the host",
            "Measure larger copies: run a longer suite, or with more memory free.",
        )
    return (
        "larger packets than were told, or a link that was read while it rested",
        "Scan as root while the GPU is busy, so that its link and packets are read.",
    )


def _narrowed(copy: Reading, packet: packets.Link) -> str | None:
    """Say what the link ran at under load where that was less than both ends can."""
    number = _whole(typical(copy.told, lambda one: one.pcie_generation))
    num_lanes = _whole(typical(copy.told, lambda one: one.pcie_num_lanes))
    if number is None or num_lanes is None:
        return None
    if number >= packet.generation and num_lanes >= packet.num_lanes:
        return None
    carried = capability_of_generation(number, num_lanes)
    rate = carried.bandwidth_bytes_per_s if carried is not None else None
    left = "" if rate is None else f", which carries {format_rate(rate)}"
    return f"its width: it ran at Gen{number} x{num_lanes} under load{left}"


def _far_is_faster(readings: Readings, gpu: Gpu, way: Direction) -> bool:
    """Tell whether far memory is the faster one: then neither is where it was thought to be."""
    name = COPIES[way].replace("copy", "host_memory")
    near, far = (
        fastest(readings.select(name, device=gpu.id, memory="pinned", distance=distance))
        for distance in ("near", "far")
    )
    return near is not None and far is not None and near.median < far.median * 0.95
