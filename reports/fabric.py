"""What joins GPUs and sockets beside PCIe: NVLink or xGMI, through switches or as a mesh."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from topoprobe.records.machine import Gpu, Link, LinkKind, MachineDocument
from topoprobe.units import format_rate

from .drawing.fabric import Fabric, Joint
from .links import LinkBook

_NAMES = {LinkKind.NVLINK: "NVLink", LinkKind.XGMI: "xGMI"}


def socket_joints(machine: MachineDocument, book: LinkBook) -> tuple[Joint, ...]:
    """Return the links between sockets or NUMA nodes."""
    return tuple(
        Joint(link.a, link.b, book.tip(link), link.count, book.health(link))
        for link in machine.links
        if link.kind is LinkKind.INTER_SOCKET
    )


def gpu_fabric(machine: MachineDocument, book: LinkBook) -> Fabric | None:
    """Return what joins the GPUs, or None where only PCIe does."""
    gpus = {node.id for node in machine.nodes if isinstance(node, Gpu)}
    links = [link for link in machine.links if link.kind in _NAMES and gpus & {link.a, link.b}]
    if not links:
        return None
    members = tuple(
        node.id
        for node in machine.nodes
        if node.id in gpus and any(node.id in (link.a, link.b) for link in links)
    )
    names = tuple(book.names[member] for member in members)
    direct = [link for link in links if {link.a, link.b} <= gpus]
    if not direct:
        return _switched(links, members, names, book)
    joints = tuple(Joint(link.a, link.b, book.tip(link), link.count) for link in direct)
    title = f"{_NAMES[direct[0].kind]} between {len(members)} GPUs"
    return Fabric(title, "", title, members, names, joints)


def _switched(
    links: Sequence[Link], members: tuple[str, ...], names: tuple[str, ...], book: LinkBook
) -> Fabric:
    name = _NAMES[links[0].kind]
    switches = {end for link in links for end in (link.a, link.b)} - set(members)
    lanes: Counter[str] = Counter()
    for link in links:
        lanes.update({end: link.count for end in (link.a, link.b) if end in members})
    least, most = min(lanes.values()), max(lanes.values())
    per_gpu = f"{least}" if least == most else f"{least} to {most}"
    plural = "" if len(switches) == 1 else "es"
    title = f"{len(switches)} {name} switch{plural} · {per_gpu} links per GPU"
    details = [f"{len(members)} GPUs"]
    measured = [rate.value for link in links if (rate := book.rate(link)) is not None]
    if measured:
        details.append(f"{format_rate(min(measured))} measured on the slowest link")
    return Fabric(title, " · ".join(details), f"{title}\n{', '.join(names)}", members, names)
