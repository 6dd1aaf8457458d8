"""Comparing two machine documents: each figure that both could tell, side by side.

Every document is read into named figures, and figures of one name are compared. A figure knows
what would be better: more bytes, a nearer path class, a device that is there. Where nothing is
better, as with a driver's version, a difference is only told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from topoprobe.machine.inventory import FABRIC
from topoprobe.machine.paths import CLASSES
from topoprobe.records.base import Change
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
    NicPort,
    Numa,
    Nvme,
    NvSwitch,
    Other,
    Package,
    Pair,
    Partition,
    PcieSwitch,
    PciNode,
)

Value = str | int | float

# Numbers within this share are one: sources round, and kernels reserve a little more or less.
_TOLERANCE_PERCENT = 1
# Performance states in which a GPU's link runs at full speed; deeper ones may rest it.
_AWAKE = {"P0", "P1", "P2"}
_PRESENT = "present"
_UP = {"active", "up", "linkup"}
_JOINED = {"completed", "success", "healthy"}

_DEVICES = (Gpu, Nic, Nvme, NvSwitch, CxlMemory)
_PLACES = (Package, Numa, PcieSwitch, Partition)
_COUNTED: tuple[tuple[type[AnyNode], str], ...] = (
    (Package, "CPU packages"),
    (Gpu, "GPUs"),
    (Nic, "NICs"),
    (Nvme, "drives"),
    (NvSwitch, "NVSwitches"),
)


class _Figure(NamedTuple):
    """One thing that a document tells.

    `better` is what would be an improvement: ``more`` (of a number), ``there`` or ``gone``, a
    higher `rank`, or nothing. `about` are the nodes that both documents must have; `device` is the
    node whose presence it is. `doubt` says why a difference would mean nothing. Where both have a
    `key`, it tells whether they are the same in place of words that differ from source to source.
    """

    value: Value
    better: Literal["more", "there", "gone", "rank"] | None = None
    unit: str | None = None
    about: tuple[str, ...] = ()
    rank: int = 0
    doubt: str | None = None
    key: str | None = None
    device: AnyNode | None = None


_Named = tuple[str, _Figure]


def compare(before: MachineDocument, after: MachineDocument) -> tuple[Change, ...]:
    """Compare all figures of two machines, those that are the same included.

    Parameters
    ----------
    before, after : MachineDocument
        Of one machine at two times, or of two machines.
    """
    old, new = dict(_figures(before)), dict(_figures(after))
    known = {node.id for node in before.nodes} & {node.id for node in after.nodes}
    names = dict.fromkeys((*old, *new))
    pairs = ((name, _heard(old.get(name), after), _heard(new.get(name), before)) for name in names)
    return tuple(
        _change(name, one, other)
        for name, one, other in pairs
        if known.issuperset({*(one or _NOTHING).about, *(other or _NOTHING).about})
    )


def have_common_device(before: MachineDocument, after: MachineDocument) -> bool:
    """Tell whether any GPU stands in both, or any device where not both have GPUs.

    True if there is nothing to tell by: one has no device, or only numbers what the other gives
    addresses.
    """
    for kinds in ((Gpu,), _DEVICES):
        one, other = (
            {node.id for node in document.nodes if isinstance(node, kinds)}
            for document in (before, after)
        )
        if {_is_address(node_id) for node_id in one} & {_is_address(node_id) for node_id in other}:
            return bool(one & other)
    return True


_NOTHING = _Figure("")


def _heard(figure: _Figure | None, other: MachineDocument) -> _Figure | None:
    """Make the presence of a device no better and no worse where `other` tells of none like it."""
    if figure is None or figure.device is None or _lists_like(other, figure.device):
        return figure
    return figure._replace(better=None)


def _lists_like(document: MachineDocument, device: AnyNode) -> bool:
    """Tell whether a document lists such devices, by address or by number as this one is."""
    if isinstance(device, NvSwitch) and any(node.id == FABRIC for node in document.nodes):
        return False
    is_address = _is_address(device.id)
    return (is_address and _shows_bus(document)) or any(
        type(node) is type(device) and _is_address(node.id) is is_address for node in document.nodes
    )


def _shows_bus(document: MachineDocument) -> bool:
    """Tell whether all of the PCI bus is in it, so that what it does not list is not there."""
    return document.origin == "synthetic" or any(
        isinstance(node, Other) or (isinstance(node, HostBridge) and node.pci_address is not None)
        for node in document.nodes
    )


def _is_address(node_id: str) -> bool:
    return "@" in node_id


def _change(name: str, old: _Figure | None, new: _Figure | None) -> Change:
    before, after = (old.value if old else None), (new.value if new else None)
    verdict, reason = _judge(old, new)
    return Change(
        name=name,
        before=before,
        after=after,
        ratio=_ratio(before, after) if (old or new or _NOTHING).better == "more" else None,
        verdict=verdict,
        unit=(old or new or _NOTHING).unit,
        reason=reason,
    )


def _judge(
    old: _Figure | None, new: _Figure | None
) -> tuple[Literal["same", "better", "worse", "incomparable"], str | None]:
    if old is None or new is None:
        better = (old or new or _NOTHING).better
        if better not in {"there", "gone"}:
            return "incomparable", f"It is not known {'before' if old is None else 'after'}."
        return ("better" if (new is not None) is (better == "there") else "worse"), None
    if _is_same(old, new):
        return "same", None
    doubt = old.doubt or new.doubt
    if old.better is None or new.better is None or doubt:
        return "incomparable", doubt
    one, other = (old.rank, new.rank) if old.better == "rank" else (old.value, new.value)
    if one == other or isinstance(one, str) or isinstance(other, str):
        return "incomparable", None
    return ("better" if other > one else "worse"), None


def _is_same(old: _Figure, new: _Figure) -> bool:
    if old.key is not None and new.key is not None:
        return old.key == new.key
    if old.unit is None or isinstance(old.value, str) or isinstance(new.value, str):
        return old.value == new.value  # a count is exact
    return _is_close(old.value, new.value)


def _is_close(one: float, other: float) -> bool:
    return abs(one - other) * 100 <= _TOLERANCE_PERCENT * max(abs(one), abs(other))


def _ratio(before: Value | None, after: Value | None) -> float | None:
    if not isinstance(before, int | float) or not isinstance(after, int | float) or before <= 0:
        return None
    try:
        return after / before
    except OverflowError:
        return None  # nobody has that many bytes


def _figures(document: MachineDocument) -> Iterator[_Named]:
    yield from _counts(document)
    nodes = {node.id: node for node in document.nodes}
    for node in document.nodes:
        if isinstance(node, _DEVICES) and node.id != FABRIC:
            yield node.id, _Figure(_PRESENT, "there", device=node)
        elif isinstance(node, _PLACES):
            yield node.id, _Figure(_PRESENT)
        yield from _node_figures(node)
    for link in document.links:
        yield from _link_figures(link, nodes.get(link.b))
    for pair in document.pairs:
        yield from _pair_figures(pair)
    for found in document.contradictions:
        about = tuple(word for word in found.subject.split() if word in nodes)
        name = f"contradiction: {found.fact} of {found.subject}"
        yield name, _Figure(_PRESENT, "gone", about=about)


def _counts(document: MachineDocument) -> Iterator[_Named]:
    """Yield the counts that a document tells; none of a kind may be a kind that it cannot see."""
    for kind, words in _COUNTED:
        found = [node for node in document.nodes if isinstance(node, kind)]
        is_hidden = any(node.id == FABRIC for node in found)  # which stands for several
        if not is_hidden and (found or (kind is not Package and _shows_bus(document))):
            yield f"count of {words}", _Figure(len(found), "more")
    numas = sum(isinstance(n, Numa) and n.memory_of is None for n in document.nodes)
    if numas:
        yield "count of NUMA nodes", _Figure(numas)
    links: Counter[LinkKind] = Counter()
    for link in document.links:
        links[link.kind] += link.count
    gpus = [node for node in document.nodes if isinstance(node, Gpu)]
    if links[LinkKind.NVLINK] or _tells_nvlinks(document, gpus):
        yield "count of NVLinks", _Figure(links[LinkKind.NVLINK], "more")
    # Only sources that see xGMI tell AMD's architectures.
    if links[LinkKind.XGMI] or any(gpu.architecture for gpu in gpus):
        yield "count of xGMI links", _Figure(links[LinkKind.XGMI], "more")


def _tells_nvlinks(document: MachineDocument, gpus: Sequence[Gpu]) -> bool:
    """Tell whether a document without NVLinks says that there are none."""
    are_ends_told = all(missing.fact != "nvlink peers" for missing in document.unknown)
    are_counted = all(gpu.num_nvlinks is not None for gpu in gpus)
    return are_ends_told and are_counted and bool(gpus or _shows_bus(document))


def _node_figures(node: AnyNode) -> Iterator[_Named]:
    """Yield what is told of a node; what is None is left out."""
    for words, figure in _told(node):
        if figure.value not in {None, ""}:
            yield f"{node.id} {words}", figure._replace(about=(node.id,))


def _told(node: AnyNode) -> Iterator[tuple[str, _Figure]]:
    if isinstance(node, Host):
        yield "memory", _size(node.memory_bytes)
        yield "operating system", _fact(node.operating_system)
        yield "product", _fact(node.product)
        yield "virtualization", _fact(node.virtualization)
        yield "IOMMU mode", _fact(node.iommu)
        yield "kernel options", _fact(" ".join(node.kernel_options))
    elif isinstance(node, Package):
        yield "processor", _fact(node.name)
        yield "cores", _Figure(node.num_cores or "", "more")
        yield "threads", _Figure(node.num_threads or "", "more")
    elif isinstance(node, Numa):
        yield "memory", _size(node.memory_bytes)
    if isinstance(node, PciNode):
        yield from _told_on_bus(node)
    if isinstance(node, Gpu):
        yield from _told_of_gpu(node)
    elif isinstance(node, Nic):
        yield "driver", _fact(node.driver)
        for port in node.ports:
            yield from _told_of_port(port)
    elif isinstance(node, Nvme):
        yield "size", _size(node.size_bytes)
    elif isinstance(node, CxlMemory):
        yield "memory", _size(node.memory_bytes)
    elif isinstance(node, HostBridge | PcieSwitch):
        for bridge_port in node.ports:
            if bridge_port.access_control is not None:
                controls = " ".join(bridge_port.access_control) or "off"
                yield f"port {bridge_port.address} ACS", _fact(controls)


def _told_on_bus(node: PciNode) -> Iterator[tuple[str, _Figure]]:
    ids = f"{node.pci_vendor}:{node.pci_device}" if node.pci_vendor and node.pci_device else None
    yield "model", _fact(node.model)._replace(key=ids)
    yield "NUMA node", _Figure("" if node.numa_index is None else node.numa_index)
    yield "largest payload", _Figure(node.max_payload_bytes or "", "more", "bytes")
    yield "largest read request", _Figure(node.max_read_request_bytes or "", "more", "bytes")


def _told_of_gpu(gpu: Gpu) -> Iterator[tuple[str, _Figure]]:
    yield "memory", _size(gpu.memory_bytes)
    yield "BAR1", _size(gpu.bar1_bytes)
    yield "NVLinks", _Figure("" if gpu.num_nvlinks is None else gpu.num_nvlinks, "more")
    yield "driver", _fact(gpu.driver)
    yield "UUID", _fact(gpu.uuid)
    if gpu.is_mig_enabled is not None:
        yield "MIG", _fact("on" if gpu.is_mig_enabled else "off")
    yield "partition mode", _fact(gpu.partition_mode)
    yield "virtualization", _fact(gpu.virtualization)
    yield "PCIe replays", _Figure("" if gpu.num_pcie_replays is None else gpu.num_pcie_replays)
    if gpu.fabric is not None:
        yield "fabric state", _joining(gpu.fabric.state)
        yield "fabric status", _joining(gpu.fabric.status)
        yield "fabric health", _joining(gpu.fabric.health)
        yield "fabric clique", _Figure("" if gpu.fabric.clique_id is None else gpu.fabric.clique_id)


def _told_of_port(port: NicPort) -> Iterator[tuple[str, _Figure]]:
    if port.state is not None:
        is_up = port.state.rpartition(" ")[2].lower() in _UP
        yield f"port {port.name} state", _Figure(port.state, "rank", rank=int(is_up))
    rate = "" if port.rate_bits_per_s is None else port.rate_bits_per_s
    yield f"port {port.name} rate", _Figure(rate, "more", "bits_per_s")


def _link_figures(link: Link, below: AnyNode | None) -> Iterator[_Named]:
    if link.kind is not LinkKind.PCIE:
        a, b = sorted((link.a, link.b))
        yield f"{a} {b} {link.kind} links", _Figure(link.count, "more", about=(a, b))
        return
    nominal = link.nominal.bandwidth_bytes_per_s if link.nominal else None
    current = link.current.bandwidth_bytes_per_s if link.current else None
    about, unit = (link.b,), "bytes_per_s"
    if nominal is not None:
        yield f"{link.b} nominal link bandwidth", _Figure(nominal, "more", unit, about)
    if current is not None:
        is_full = nominal is not None and _is_close(current, nominal)
        doubt = None if is_full or not isinstance(below, Gpu) else _why_resting(below)
        figure = _Figure(current, "more", unit, about, doubt=doubt)
        yield f"{link.b} current link bandwidth", figure


def _why_resting(gpu: Gpu) -> str | None:
    state = gpu.performance_state
    if state in _AWAKE:
        return None
    if state is None:
        return "Its performance state is not known, and an idle GPU rests its link."
    return f"It was read in performance state {state}, in which a GPU rests its link."


def _pair_figures(pair: Pair) -> Iterator[_Named]:
    a, b = sorted((pair.a, pair.b))
    if pair.path_class is not None:
        rank = _rank(pair.path_class)
        better: Literal["rank"] | None = None if rank is None else "rank"
        yield f"class {a} {b}", _Figure(pair.path_class, better, about=(a, b), rank=rank or 0)
    if pair.peer_status is not None:
        is_ok = int(pair.peer_status == "OK")
        yield f"peer access {a} {b}", _Figure(pair.peer_status, "rank", about=(a, b), rank=is_ok)


def _rank(path_class: str) -> int | None:
    """Order classes: nearer is higher, and among NVLinks more are; None for an unknown class."""
    num_nvlinks = path_class.removeprefix("NV")
    if num_nvlinks != path_class and num_nvlinks.isdecimal():
        return int(num_nvlinks)
    return -CLASSES.index(path_class) if path_class in CLASSES else None


def _fact(value: str | None) -> _Figure:
    return _Figure(value or "")


def _joining(word: str | None) -> _Figure:
    """Rank a word for how a GPU joined its fabric: all is well, or anything else."""
    return _Figure(word or "", "rank", rank=int((word or "").lower() in _JOINED))


def _size(num_bytes: int | None) -> _Figure:
    return _Figure("" if num_bytes is None else num_bytes, "more", "bytes")
