"""The matrix of path classes between GPUs, NICs and drives, as `nvidia-smi topo -m` made it known.

GPUs stand in the rows; what does not fit the terminal beside them continues below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from string import ascii_letters, digits
from textwrap import wrap

from topoprobe.machine.addresses import format_cpu_list
from topoprobe.machine.nearness import nearest_nics
from topoprobe.machine.numbering import endpoint_names
from topoprobe.machine.paths import CLASSES
from topoprobe.machine.table import Column, clip, draw_table, side_by_side
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import listed
from topoprobe.records.machine import Gpu, LinkKind, Nic, Nvme, PciNode
from topoprobe.units import format_bytes

_MEANINGS = {
    "X": "itself",
    "NV#": "# NVLinks, directly or through NVSwitches",
    "C2C": "a chip-to-chip link",
    "PIX": "one PCIe switch",
    "PXB": "several PCIe switches, but no CPU",
    "PHB": "a host bridge (CPU)",
    "NODE": "two host bridges of one NUMA node",
    "SYS": "the link between NUMA nodes",
    "XGMI": "a direct xGMI link",
    "?": "unknown; the reason is below",
}
_ORDER = (*CLASSES[:3], "XGMI", *CLASSES[3:], "?")
_MOST_NAMES = 3
# How the node ids of a kind begin.
_PREFIXES = {"GPUs": "gpu", "NICs": "nic", "drives": "nvme"}


def draw_matrix(machine: Machine, width: int) -> str:
    """Draw GPUs against GPUs, NICs and drives, and the nearest NIC, NUMA node and CPUs of each.

    One line says of what no class is known at all. Empty without GPUs.
    """
    gpus = machine.all(Gpu)
    if not gpus:
        return ""
    cells = _cells(machine)
    names = {node_id: name.replace(" ", "") for node_id, name in endpoint_names(machine).items()}
    others: dict[str, Sequence[PciNode]] = {
        "GPUs": gpus, "NICs": machine.all(Nic), "drives": machine.all(Nvme)
    }  # fmt: skip
    unknown = [kind for kind, ends in others.items() if _is_unknown(gpus, ends, cells)]
    known = {kind: ends for kind, ends in others.items() if kind not in unknown}
    groups = {
        kind: [
            Column(names[end.id], tuple(cells.get((gpu.id, end.id), "?") for gpu in gpus))
            for end in ends
        ]
        for kind, ends in known.items()
    }
    groups["drives"] = list(_merged(groups.get("drives", ())))
    columns = [*groups.values(), _places(machine, "NICs" in known, names)]
    blocks = [
        _unknown_classes(machine, unknown, width),
        draw_table([names[gpu.id] for gpu in gpus], columns, width) if any(columns) else [],
        [clip(line, width) for line in _legend(groups)],
        side_by_side(list(_devices(known, names)), width),
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def _cells(machine: Machine) -> dict[tuple[str, str], str]:
    cells = {(gpu.id, gpu.id): "X" for gpu in machine.all(Gpu)}
    for pair in machine.document.pairs:
        text = pair.path_class or "?"
        links = machine.links_between(pair.a, pair.b)
        if any(link.kind is LinkKind.XGMI for link in links):
            text = "XGMI"
        cells[pair.a, pair.b] = cells[pair.b, pair.a] = text
    return cells


def _is_unknown(
    gpus: Sequence[Gpu], ends: Sequence[PciNode], cells: dict[tuple[str, str], str]
) -> bool:
    """Tell whether there are pairs with such ends, and no class of any is known."""
    pairs = [(gpu.id, end.id) for gpu in gpus for end in ends if gpu.id != end.id]
    return bool(pairs) and all(cells.get(pair, "?") == "?" for pair in pairs)


def _unknown_classes(machine: Machine, kinds: Sequence[str], width: int) -> list[str]:
    """Say between what no class is known, and why."""
    if not kinds:
        return []
    prefixes = tuple(_PREFIXES[kind] for kind in kinds)
    reasons = dict.fromkeys(
        missing.reason
        for missing in machine.document.unknown
        if missing.fact == "class" and missing.subject.partition(" ")[2].startswith(prefixes)
    )
    text = " ".join((f"No path class of GPUs to {listed(kinds)} is known.", *reasons))
    return wrap(text, width, subsequent_indent="  ")


def _merged(columns: Sequence[Column]) -> Iterator[Column]:
    """Make one column of neighbours that are alike: a server may have two dozen drives."""
    for (_, cells), alike in groupby(columns, key=lambda c: (c.header.rstrip(digits), c.cells)):
        names = [column.header for column in alike]
        last = f"-{names[-1].lstrip(ascii_letters)}" if len(names) > 1 else ""
        yield Column(names[0] + last, cells)


def _places(machine: Machine, has_nics: bool, names: dict[str, str]) -> list[Column]:
    """Say where each GPU is, and what is near it."""
    gpus, nics = machine.all(Gpu), machine.all(Nic)
    numas = ["-" if gpu.numa_index is None else f"{gpu.numa_index}" for gpu in gpus]
    near = [_nearest(machine, gpu, nics, names) for gpu in gpus] if has_nics and nics else []
    cpus = [format_cpu_list(gpu.cpus) or "-" for gpu in gpus]
    named = (("NUMA", numas), ("nearest NIC", near), ("CPUs", cpus))
    # A blank more between columns, because there are blanks in the cells.
    return [
        Column(f"{name} ", tuple(f"{cell} " for cell in column))
        for name, column in named
        if set(column) - {"-"}
    ]


def _nearest(machine: Machine, gpu: Gpu, nics: Sequence[Nic], names: dict[str, str]) -> str:
    path_class, ids = nearest_nics(machine, gpu.id, nics)
    if path_class is None:
        return "?"
    if path_class == "SYS":
        return "none near"
    found = [names[nic_id] for nic_id in ids]
    if len(found) > _MOST_NAMES:
        numbers = tuple(int(name.removeprefix("NIC")) for name in found)
        found = [f"NIC{format_cpu_list(numbers)}"]
    return f"{','.join(found)} {path_class}"


def _legend(groups: Mapping[str, Sequence[Column]]) -> list[str]:
    shown = {text for columns in groups.values() for column in columns for text in column.cells}
    used = {"NV#" if text.startswith("NV") else text for text in shown}
    return [f"{name:<5} {_MEANINGS[name]}" for name in _ORDER if name in used]


def _devices(known: Mapping[str, Sequence[PciNode]], names: dict[str, str]) -> Iterator[str]:
    """Say what stands behind the names of columns, where more is known than the name."""
    devices = [node for kind in ("NICs", "drives") for node in known.get(kind, ())]
    size = max((len(names[node.id]) for node in devices), default=0)
    for node in devices:
        told = [text for text in (_what(node), node.pci_address) if text]
        if told:
            yield "  ".join((names[node.id].ljust(size), *told))


def _what(node: PciNode) -> str:
    match node:
        case Nic():
            return _ports(node) or node.model or ""
        case Nvme():
            size = format_bytes(node.size_bytes) if node.size_bytes else ""
            return "  ".join(filter(None, (", ".join(node.block_devices), size)))
        case _:
            return ""


def _ports(nic: Nic) -> str:
    return ", ".join(
        f"{p.name} ({p.net_interface})" if p.net_interface and p.net_interface != p.name else p.name
        for p in nic.ports
    )
