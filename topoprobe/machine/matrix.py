"""The matrix of path classes between GPUs and NICs, as `nvidia-smi topo -m` made it familiar."""

from __future__ import annotations

from collections.abc import Sequence

from topoprobe.machine.addresses import format_cpu_list
from topoprobe.machine.drawing import clip
from topoprobe.machine.paths import CLASSES
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, LinkKind, Nic

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


def draw_matrix(machine: Machine, width: int) -> str:
    """Draw GPUs against GPUs and NICs, with each GPU's nearest NIC, NUMA node and CPUs.

    Columns that do not fit the width continue in another block. Empty without GPUs.
    """
    gpus, nics = machine.all(Gpu), machine.all(Nic)
    if not gpus:
        return ""
    cells = _cells(machine)
    names = {gpu.id: f"GPU{gpu.index}" for gpu in gpus}
    names |= {nic.id: f"NIC{i}" for i, nic in enumerate(nics)}
    columns = [
        (names[other.id], [cells.get((gpu.id, other.id), "?") for gpu in gpus])
        for other in (*gpus, *nics)
    ]
    columns.append(
        _apart("NUMA", ["-" if g.numa_index is None else f"{g.numa_index}" for g in gpus])
    )
    if nics:
        columns.append(_apart("nearest NIC", [_nearest(gpu, nics, cells, names) for gpu in gpus]))
    columns.append(_apart("CPUs", [format_cpu_list(gpu.cpus) or "-" for gpu in gpus]))
    table = _blocks([names[gpu.id] for gpu in gpus], columns, width)
    legend = [_legend(cells), *(_nic_line(names[nic.id], nic) for nic in nics)]
    return "\n".join((*table, "", *(clip(line, width) for part in legend for line in part)))


def _cells(machine: Machine) -> dict[tuple[str, str], str]:
    cells = {(gpu.id, gpu.id): "X" for gpu in machine.all(Gpu)}
    for pair in machine.document.pairs:
        text = pair.path_class or "?"
        links = machine.links_between(pair.a, pair.b)
        if any(link.kind is LinkKind.XGMI for link in links):
            text = "XGMI"
        cells[pair.a, pair.b] = cells[pair.b, pair.a] = text
    return cells


def _nearest(
    gpu: Gpu, nics: Sequence[Nic], cells: dict[tuple[str, str], str], names: dict[str, str]
) -> str:
    ranked = [(_rank(cells.get((gpu.id, nic.id), "?")), names[nic.id]) for nic in nics]
    best = min(rank for rank, _ in ranked)
    if best == len(_ORDER) - 1:
        return "?"
    if _ORDER[best] == "SYS":
        return "none near"
    found = [name for rank, name in ranked if rank == best]
    names_text = ",".join(found) if len(found) <= 2 else f"{len(found)} alike"
    return f"{names_text} {_ORDER[best]}"


def _rank(text: str) -> int:
    return _ORDER.index("NV#" if text.startswith("NV") else text)


def _apart(header: str, cells: list[str]) -> tuple[str, list[str]]:
    """Set a column of another kind a little apart from the classes."""
    return f" {header}", [f" {cell}" for cell in cells]


def _blocks(rows: Sequence[str], columns: Sequence[tuple[str, list[str]]], width: int) -> list[str]:
    """Lay columns side by side; start a new block, with the row names again, where they end."""
    margin = max(len(row) for row in rows)
    lines: list[str] = []
    block: list[tuple[str, list[str]]] = []
    used = margin
    for header, cells in columns:
        wide = 1 + max(len(header), *(len(cell) for cell in cells))
        if block and used + wide > width:
            lines += [*_block(rows, block, margin, width), ""]
            block, used = [], margin
        block.append((header, cells))
        used += wide
    return [*lines, *_block(rows, block, margin, width)]


def _block(
    rows: Sequence[str], columns: Sequence[tuple[str, list[str]]], margin: int, width: int
) -> list[str]:
    sizes = [max(len(header), *(len(cell) for cell in cells)) for header, cells in columns]
    heads = [header.ljust(size) for (header, _), size in zip(columns, sizes, strict=True)]
    lines = [" ".join((" " * margin, *heads))]
    for index, row in enumerate(rows):
        parts = [cells[index].ljust(size) for (_, cells), size in zip(columns, sizes, strict=True)]
        lines.append(" ".join((row.ljust(margin), *parts)))
    return [clip(line.rstrip(), width) for line in lines]


def _legend(cells: dict[tuple[str, str], str]) -> list[str]:
    used = {"NV#" if text.startswith("NV") else text for text in cells.values()}
    return [f"{name:<5} {_MEANINGS[name]}" for name in _ORDER if name in used]


def _nic_line(name: str, nic: Nic) -> list[str]:
    ports = ", ".join(
        f"{p.name} ({p.net_interface})" if p.net_interface and p.net_interface != p.name else p.name
        for p in nic.ports
    )
    called = ports or ("" if nic.pci_address else nic.name)
    return [f"{name:<5} {f'{called}  ' if called else ''}{nic.pci_address or ''}".rstrip()]
