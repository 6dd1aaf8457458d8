"""The machine folded to nested boxes: who is drawn inside whom, and what each box says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from topoprobe.records.calibration import DeviceCalibration
from topoprobe.records.machine import (
    AnyNode,
    CxlMemory,
    Gpu,
    Host,
    HostBridge,
    Link,
    LinkKind,
    MachineDocument,
    Nic,
    Numa,
    Nvme,
    NvSwitch,
    Package,
    Partition,
    PcieSwitch,
)
from topoprobe.units import format_bytes, format_hz, format_rate, format_seconds

from .drawing.layout import Box
from .links import LinkBook
from .nodes import kind_of, model_of, tip_of, title_of, without_vendor
from .quantity import tip

_CONTAINERS = (Host, Package, Numa, HostBridge, PcieSwitch)
_MAX_LISTED = 24


@dataclass(slots=True)
class BoxTree:
    """A machine with the rates measured on it, ready to become boxes.

    Attributes
    ----------
    machine : MachineDocument
        What is drawn. A node stands in the node at the other end of its PCIe link, and otherwise
        in its parent.
    devices : mapping
        Node id to calibration.
    book : LinkBook
        What is known about links.
    """

    machine: MachineDocument
    devices: Mapping[str, DeviceCalibration]
    book: LinkBook
    _uplinks: dict[str, Link] = field(init=False)
    _children: dict[str | None, list[AnyNode]] = field(init=False)

    def __post_init__(self) -> None:
        self._uplinks = {}
        for link in self.machine.links:
            if link.kind is LinkKind.PCIE:
                self._uplinks.setdefault(link.b, link)
        holders = self._holders()
        self._children = {}
        for node in self.machine.nodes:
            self._children.setdefault(holders[node.id], []).append(node)

    def boxes(self) -> tuple[Box, ...]:
        """Return the outermost boxes; the host is the page itself and not drawn."""
        roots = self._children.get(None, [])
        hosts = [node for node in roots if isinstance(node, Host)]
        boxes = [box for host in hosts for box in self._inside(host)]
        strays = [self._box(node) for node in roots if not isinstance(node, Host | NvSwitch)]
        return (*boxes, *_folded(strays))

    def host_rates(self) -> tuple[str, ...]:
        """Return what was measured for all CPUs together, where no single box can show it."""
        return () if self._has_one_memory() else _rates(self._host_device())

    def _holders(self) -> dict[str, str | None]:
        """Return the id of the node that each node is drawn in, None for the outermost.

        A document may be broken: holders that do not exist or go in circles count as none, and
        what hangs on a card stands beside it.
        """
        nodes = {node.id: node for node in self.machine.nodes}
        above = {node.id: node.parent for node in self.machine.nodes}
        for link in self._uplinks.values():
            if link.a in nodes and link.b in nodes:
                above[link.b] = link.a
        return {node_id: self._holder(node_id, nodes, above) for node_id in nodes}

    @staticmethod
    def _holder(
        node_id: str, nodes: Mapping[str, AnyNode], above: Mapping[str, str | None]
    ) -> str | None:
        if _is_circular(node_id, above):
            return None
        holder = above[node_id]
        if isinstance(nodes[node_id], Partition):
            return holder if holder in nodes else None
        while holder is not None and holder in nodes:
            if isinstance(nodes[holder], _CONTAINERS):
                return holder
            holder = above[holder]
        return None

    def _inside(self, node: AnyNode) -> list[Box]:
        children = self._children.get(node.id, [])
        boxes = _folded(
            [self._box(child) for child in children if not isinstance(child, NvSwitch | Partition)]
        )
        # The fabric is drawn by itself; here only the place of its switches on PCIe is shown.
        switches = [self._box(child) for child in children if isinstance(child, NvSwitch)]
        if switches and not isinstance(node, Host):
            boxes.append(replace(_listed(switches, "NVSwitch", "NVSwitches"), kind="nvswitch"))
        return boxes

    def _box(self, node: AnyNode) -> Box:
        link = self._uplinks.get(node.id)
        box = Box(
            id=node.id,
            kind=kind_of(node),
            title=title_of(node),
            lines=self._lines(node),
            tip=tip_of(node),
            wire=None if link is None else self.book.wire(link),
        )
        if not isinstance(node, _CONTAINERS):
            return box
        children = (*self._own_cards(node), *self._inside(node))
        return _unwrapped(_merged(replace(box, children=children, is_container=True)))

    def _lines(self, node: AnyNode) -> tuple[str, ...]:
        """Return what is written below the title of a box."""
        if isinstance(node, Package):
            clock = f" · {format_hz(node.base_clock_hz)}" if node.base_clock_hz else ""
            rates = " · ".join(_rates(self.devices.get(node.id)))
            return (f"{node.name}{clock}", *([rates] if rates else []))
        if isinstance(node, Gpu):
            return (*_gpu_lines(node, self.devices.get(node.id)), *self._partitions(node))
        if isinstance(node, Nic):
            return (*_nic_lines(node), *self._partitions(node))
        if isinstance(node, Nvme):
            size = [format_bytes(node.size_bytes)] if node.size_bytes else []
            return (*_model_line(node), *size)
        if isinstance(node, CxlMemory) and node.memory_bytes:
            return (format_bytes(node.memory_bytes),)
        return ()

    def _partitions(self, node: AnyNode) -> tuple[str, ...]:
        found = [one for one in self._children.get(node.id, []) if isinstance(one, Partition)]
        kinds = Counter(one.partition_kind or "partition" for one in found)
        return tuple(f"{number} × {kind.replace('_', ' ')}" for kind, number in kinds.items())

    def _own_cards(self, node: AnyNode) -> list[Box]:
        """Return the cards of what is no node of its own: cores and memory."""
        if isinstance(node, Package) and node.num_cores:
            return [_cores_card(node, node.num_cores)]
        if isinstance(node, Numa) and node.memory_bytes:
            own = self.devices.get(node.id)
            return [_memory_card(node, self._host_device() if self._has_one_memory() else own)]
        return []

    def _host_device(self) -> DeviceCalibration | None:
        host = next((node.id for node in self.machine.nodes if isinstance(node, Host)), "host")
        return self.devices.get(host)

    def _has_one_memory(self) -> bool:
        """Tell whether the memory of all CPUs is one box."""
        nodes = [node for node in self.machine.nodes if isinstance(node, Numa)]
        return sum(bool(node.memory_bytes) for node in nodes) == 1


def _is_circular(node_id: str, above: Mapping[str, str | None]) -> bool:
    seen: set[str] = set()
    at: str | None = node_id
    while at is not None and at in above:
        if at in seen:
            return True
        seen.add(at)
        at = above[at]
    return False


def _cores_card(node: Package, num_cores: int) -> Box:
    caches = [
        f"L{cache.level} {format_bytes(cache.size_bytes)}"
        + (f" × {cache.num_instances}" if cache.num_instances > 1 else "")
        for cache in sorted(node.caches, key=lambda cache: -cache.level)
        if cache.type != "instruction"
    ]
    title = f"{num_cores} core{'' if num_cores == 1 else 's'}"
    threads = [f"{node.num_threads} threads"] if node.num_threads else []
    lines = (*threads, *caches)
    about = "\n".join([title, *lines, " ".join(node.instruction_sets)])
    return Box(f"{node.id}/cores", "cores", title, lines, about, num_cores=num_cores)


def _memory_card(node: Numa, device: DeviceCalibration | None) -> Box:
    size = format_bytes(node.memory_bytes or 0)
    about = [f"Memory of NUMA node {node.os_index}: {size}"]
    if device is not None and device.memory_bandwidth_bytes_per_s is not None:
        about.append(f"bandwidth (triad) {tip(device.memory_bandwidth_bytes_per_s, 'bytes_per_s')}")
    if device is not None and device.memory_latency_s is not None:
        about.append(f"idle latency {tip(device.memory_latency_s, 's')}")
    lines = (size, *_rates(device))
    return Box(f"{node.id}/memory", "memory", "Memory", lines, "\n".join(about))


def _rates(device: DeviceCalibration | None) -> tuple[str, ...]:
    if device is None:
        return ()
    bandwidth, latency = device.memory_bandwidth_bytes_per_s, device.memory_latency_s
    rates = [f"{format_rate(bandwidth.value)} triad"] if bandwidth is not None else []
    rates += [f"{format_seconds(latency.value)} idle latency"] if latency is not None else []
    return tuple(rates)


def _gpu_lines(node: Gpu, device: DeviceCalibration | None) -> tuple[str, ...]:
    lines = list(_model_line(node))
    rate = device.memory_bandwidth_bytes_per_s if device is not None else None
    memory = [format_bytes(node.memory_bytes)] if node.memory_bytes else []
    memory += [format_rate(rate.value)] if rate is not None else []
    lines += memory
    lines += ["MIG enabled"] if node.is_mig_enabled else []
    return tuple(lines)


def _model_line(node: Gpu | Nic | Nvme) -> tuple[str, ...]:
    """Return the product's name as a line, unless the title says it already."""
    name = without_vendor(model_of(node))
    says_nothing = name in (without_vendor(title_of(node)), kind_of(node).upper())
    return () if says_nothing else (name,)


def _nic_lines(node: Nic) -> tuple[str, ...]:
    rates = Counter(port.rate_bits_per_s for port in node.ports if port.rate_bits_per_s)
    speeds = (
        f"{f'{number} × ' if number > 1 else ''}{format_hz(rate).removesuffix('Hz')}bit/s"
        for rate, number in rates.items()
    )
    return (*_model_line(node), *speeds)


def _folded(boxes: Sequence[Box]) -> list[Box]:
    """Fold functions of no interest into one card, and roots that hold only these into another."""
    plain = [box for box in boxes if box.kind == "other"]
    hollow = [box for box in boxes if _is_hollow(box)]
    kept = [box for box in boxes if box not in plain and box not in hollow]
    if plain:
        kept.append(_listed(plain, "other PCI function", "other PCI functions"))
    if hollow:
        word = "bridge" if all(box.kind == "pcie_switch" for box in hollow) else "root"
        kept.append(_listed(hollow, f"{word} without devices", f"{word}s without devices"))
    return kept


def _is_hollow(box: Box) -> bool:
    is_pci = box.kind in ("host_bridge", "pcie_switch")
    return is_pci and all(child.kind == "other" for child in box.children)


def _listed(boxes: Sequence[Box], singular: str, plural: str) -> Box:
    count = f"{len(boxes)} {singular if len(boxes) == 1 else plural}"
    names = [f"{box.title} ({box.id})" for box in boxes[:_MAX_LISTED]]
    more = ["…"] if len(boxes) > _MAX_LISTED else []
    return Box(f"{boxes[0].id}/others", "other", count, tip="\n".join([count, *names, *more]))


def _merged(box: Box) -> Box:
    """Draw a socket with a single NUMA node, or the reverse, as one box."""
    inner = [child for child in box.children if child.is_container]
    if len(inner) != 1 or {box.kind, inner[0].kind} != {"package", "numa"}:
        return box
    (other,) = inner
    return replace(
        box,
        title=f"{box.title} · {other.title}",
        lines=(*box.lines, *other.lines),
        tip=f"{box.tip}\n{other.tip}",
        children=(*(child for child in box.children if child is not other), *other.children),
    )


def _unwrapped(box: Box) -> Box:
    """Draw what is alone in a bridge, or a switch that is alone on its root, without the frame."""
    if len(box.children) != 1 or box.children[0].kind == "other":
        return box
    (inner,) = box.children
    if box.kind == "host_bridge" and inner.kind == "pcie_switch":
        about = f"on {box.title[:1].lower()}{box.title[1:]}"
    elif box.kind == "pcie_switch":
        about = "behind a PCIe bridge"
    else:
        return box
    lines = inner.lines if about in inner.lines else (*inner.lines, about)
    return replace(inner, lines=lines, tip=f"{inner.tip}\n{about}: {box.title}")
