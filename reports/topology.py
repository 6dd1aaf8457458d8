"""The topology section: the drawing of the machine, its links in a table, and what is unknown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from topoprobe.records.base import Missing
from topoprobe.records.machine import Contradiction, MachineDocument

from .boxes import BoxTree
from .drawing.svg import Svg
from .drawing.topology import draw_topology
from .fabric import gpu_fabric, socket_joints
from .links import LinkBook, LinkRow
from .nodes import kind_of, title_of
from .section import NEEDS_MACHINE, Absent, Documents


@dataclass(frozen=True, slots=True)
class Topology:
    """The drawing and what stands below it."""

    drawing: Svg
    caption: str
    links: tuple[LinkRow, ...]
    has_measured_links: bool
    unknown: tuple[Missing, ...]
    contradictions: tuple[Contradiction, ...]


def topology(documents: Documents) -> Topology | Absent:
    """Prepare the drawing of the machine."""
    machine, calibration = documents.machine, documents.calibration
    if machine is None:
        return NEEDS_MACHINE
    book = LinkBook(
        names={node.id: title_of(node) for node in machine.nodes},
        measured={} if calibration is None else {link.link: link for link in calibration.links},
    )
    devices = {} if calibration is None else {one.device: one for one in calibration.devices}
    tree = BoxTree(machine, devices, book)
    boxes = tree.boxes()
    if not boxes:
        return Absent("The machine document holds nothing but the host, so there is no drawing.")
    rows = tuple(book.row(link) for link in machine.links)
    rates = tree.host_rates()
    return Topology(
        drawing=draw_topology(
            _label(machine), boxes, socket_joints(machine, book), gpu_fabric(machine, book)
        ),
        caption=f"All CPUs together: {', '.join(rates)}." if rates else "",
        links=rows,
        has_measured_links=any(row.measured for row in rows),
        unknown=machine.unknown,
        contradictions=machine.contradictions,
    )


def _label(machine: MachineDocument) -> str:
    """Describe the drawing for people who cannot see it."""
    counts = Counter(kind_of(node).replace("_", " ") for node in machine.nodes)
    return f"Topology: {', '.join(f'{number} {kind}' for kind, number in counts.items())}."
