"""The matrix of path classes between GPUs, NICs and drives, as `nvidia-smi topo -m` made it known.

GPUs stand in the rows; what does not fit the terminal beside them continues below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from string import ascii_letters, digits

from topoprobe.machine.addresses import format_cpu_list
from topoprobe.machine.paths import CLASSES
from topoprobe.machine.table import Column, clip, draw_table, side_by_side
from topoprobe.machine.view import Machine
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
_NVME_CLASS = "0108"


def draw_matrix(machine: Machine, width: int) -> str:
    """Draw GPUs against GPUs, NICs and drives, and the nearest NIC, NUMA node and CPUs of each.

    Empty without GPUs.
    """
    gpus, nics, drives = machine.all(Gpu), machine.all(Nic), machine.all(Nvme)
    if not gpus:
        return ""
    cells = _cells(machine)
    names = {gpu.id: f"GPU{gpu.index}" for gpu in gpus}
    names |= {nic.id: f"NIC{i}" for i, nic in enumerate(nics)}
    names |= _drive_names(drives)
    groups = [
        [
            Column(names[other.id], tuple(cells.get((gpu.id, other.id), "?") for gpu in gpus))
            for other in others
        ]
        for others in (gpus, nics, drives)
    ]
    groups[-1] = list(_merged(groups[-1]))
    rows = [names[gpu.id] for gpu in gpus]
    table = draw_table(rows, [*groups, _places(gpus, nics, cells, names)], width)
    devices = [_line(names, nic, _ports(nic) or nic.model or "") for nic in nics]
    devices += [_line(names, drive, _contents(drive)) for drive in drives]
    legend = [clip(line, width) for line in _legend(cells)]
    return "\n".join((*table, "", *legend, "", *side_by_side(devices, width))).rstrip()


def _cells(machine: Machine) -> dict[tuple[str, str], str]:
    cells = {(gpu.id, gpu.id): "X" for gpu in machine.all(Gpu)}
    for pair in machine.document.pairs:
        text = pair.path_class or "?"
        links = machine.links_between(pair.a, pair.b)
        if any(link.kind is LinkKind.XGMI for link in links):
            text = "XGMI"
        cells[pair.a, pair.b] = cells[pair.b, pair.a] = text
    return cells


def _merged(columns: Sequence[Column]) -> Iterator[Column]:
    """Make one column of neighbours that are alike: a server may have two dozen drives."""
    for (_, cells), alike in groupby(columns, key=lambda c: (c.header.rstrip(digits), c.cells)):
        names = [column.header for column in alike]
        last = f"-{names[-1].lstrip(ascii_letters)}" if len(names) > 1 else ""
        yield Column(names[0] + last, cells)


def _places(
    gpus: Sequence[Gpu],
    nics: Sequence[Nic],
    cells: dict[tuple[str, str], str],
    names: dict[str, str],
) -> list[Column]:
    """Say where each GPU is, and what is near it."""
    numas = ["-" if gpu.numa_index is None else f"{gpu.numa_index}" for gpu in gpus]
    near = [_nearest(gpu, nics, cells, names) for gpu in gpus] if nics else []
    cpus = [format_cpu_list(gpu.cpus) or "-" for gpu in gpus]
    named = (("NUMA", numas), ("nearest NIC", near), ("CPUs", cpus))
    # A blank more between columns, because there are blanks in the cells.
    return [
        Column(f"{name} ", tuple(f"{cell} " for cell in column))
        for name, column in named
        if set(column) - {"-"}
    ]


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


def _legend(cells: dict[tuple[str, str], str]) -> list[str]:
    used = {"NV#" if text.startswith("NV") else text for text in cells.values()}
    return [f"{name:<5} {_MEANINGS[name]}" for name in _ORDER if name in used]


def _ports(nic: Nic) -> str:
    return ", ".join(
        f"{p.name} ({p.net_interface})" if p.net_interface and p.net_interface != p.name else p.name
        for p in nic.ports
    )


def _contents(drive: Nvme) -> str:
    size = format_bytes(drive.size_bytes) if drive.size_bytes else ""
    return "  ".join(filter(None, (", ".join(drive.block_devices), size)))


def _line(names: dict[str, str], node: PciNode, what: str) -> str:
    return "  ".join(filter(None, (f"{names[node.id]:<5}", what, node.pci_address)))


def _drive_names(drives: Sequence[Nvme]) -> dict[str, str]:
    return {
        drive.id: f"{'NVMe' if _is_nvme(drive) else 'disk'}{i}" for i, drive in enumerate(drives)
    }


def _is_nvme(drive: Nvme) -> bool:
    return drive.pci_class is None or drive.pci_class.startswith(_NVME_CLASS)
