"""Prints of `nvidia-smi topo -m` that tests read: a made-up machine, and what pasting does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from topoprobe.machine.sources.scan import scan_files
from topoprobe.records.machine import Link, LinkKind, MachineDocument

TITLES = "CPU Affinity\tNUMA Affinity\tGPU NUMA ID"
LEGEND = """
Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  NODE = Connection traversing PCIe as well as the interconnect between PCIe Host Bridges within a NUMA node
  PHB  = Connection traversing PCIe as well as a PCIe Host Bridge (typically the CPU)
  PXB  = Connection traversing multiple PCIe bridges (without traversing the PCIe Host Bridge)
  PIX  = Connection traversing at most a single PCIe bridge
  NV#  = Connection traversing a bonded set of # NVLinks
"""  # noqa: E501


class Table(NamedTuple):
    """A made-up machine: names, cells, and what stands right of the GPUs' cells."""

    names: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    rest: tuple[str, ...]

    def text(self, order: Sequence[int] | None = None, titles: str = TITLES) -> str:
        """Print it as the driver does, with rows and columns in some order."""
        order = range(len(self.names)) if order is None else order
        lines = ["\t" + "\t".join(self.names[i] for i in order) + f"\t{titles}"]
        for i in order:
            words = [" X " if j == i else self.cells[i][j] for j in order]
            rest = f"\t{self.rest[i]}" if i < len(self.rest) else ""
            lines.append(f"{self.names[i]}\t" + "\t".join(words) + rest)
        return "\n".join(lines) + "\n"


def hgx(num_nics: int = 12) -> Table:
    """Eight GPUs behind NVSwitches; the first eight NICs are each below one GPU's switch."""
    names = (*(f"GPU{i}" for i in range(8)), *(f"NIC{i}" for i in range(num_nics)))

    def side(place: int) -> int:
        return (place if place < 8 else (place - 8) % 8) // 4

    def word(i: int, j: int) -> str:
        if i < 8 and j < 8:
            return "NV18"
        if min(i, j) < 8 and max(i, j) - 8 == min(i, j):
            return "PIX"
        return "NODE" if side(i) == side(j) else "SYS"

    cells = tuple(tuple(word(i, j) for j in range(len(names))) for i in range(len(names)))
    halves = ("0-55,112-167\t0\t\tN/A", "56-111,168-223\t1\t\tN/A")
    return Table(names, cells, tuple(halves[i // 4] for i in range(8)))


def nic_legend(count: int) -> str:
    return "\nNIC Legend:\n\n" + "".join(f"  NIC{i}: mlx5_{i}\n" for i in range(count))


def blanked(text: str) -> str:
    return "\n".join(line.expandtabs(8) for line in text.split("\n"))


def wrapped(text: str, width: int, *, strips: bool) -> str:
    """Cut lines where a terminal wraps them; copying often drops the blanks at the end."""
    pieces = []
    for line in blanked(text).split("\n"):
        cut = [line[i : i + width] for i in range(0, len(line), width)] or [""]
        pieces += [piece.rstrip() for piece in cut] if strips else cut
    return "\n".join(pieces)


def scan(*texts: str) -> MachineDocument:
    return scan_files([(f"{i}.txt", text.encode()) for i, text in enumerate(texts)])


def classes(document: MachineDocument) -> dict[tuple[str, str], str | None]:
    return {(p.a, p.b): p.path_class for p in document.pairs}


def links(document: MachineDocument) -> list[Link]:
    return [link for link in document.links if link.kind is LinkKind.NVLINK]


PLAIN = hgx()
EXPECTED = classes(scan(PLAIN.text()))
PRINTED = PLAIN.text() + nic_legend(12) + LEGEND
