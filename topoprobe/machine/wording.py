"""What things are called in sentences for people."""

from __future__ import annotations

from collections.abc import Sequence

from topoprobe.machine.addresses import format_cpu_list
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, HostBridge, Nic, Node, Nvme, NvSwitch, PcieSwitch

_MOST_NAMES = 3
# What people call the facts whose field names say less.
_WORDS = {
    "base_clock_hz": "base clock",
    "class": "path class",
    "current": "link speed",
    "memory_bytes": "memory size",
    "nominal": "link capability",
    "num_nvlinks": "number of NVLinks",
    "numa": "NUMA nodes",
    "numa_index": "NUMA node",
    "nvml": "what the NVIDIA driver knows",
    "parent": "place in the tree",
    "pci_address": "PCI address",
    "pci_vendor": "vendor",
    "pcie_class": "path class over PCIe",
}


def words_of(fact: str) -> str:
    """Return what people call a fact."""
    return _WORDS.get(fact, fact)


def printable(text: str) -> str:
    """Keep names in a stranger's recording from driving the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def count(number: int, noun: str) -> str:
    """Write a number with its noun, as ``1 switch`` or ``4 switches``."""
    plural = noun + ("es" if noun.endswith(("ch", "s", "x")) else "s")
    return f"{number} {noun if number == 1 else plural}"


def listed(names: Sequence[str]) -> str:
    """Write names as a list, as ``a, b and c``; the first and a number where they are many."""
    if len(names) > _MOST_NAMES:
        return f"{names[0]} and {len(names) - 1} more"
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def gpu_names(gpus: Sequence[Gpu]) -> str:
    """Write GPUs by index, as ``GPU 0``, ``GPUs 0 and 1`` or ``GPUs 0-3,6``."""
    indexes = sorted(gpu.index for gpu in gpus if gpu.index is not None)
    if len(indexes) == 1:
        return f"GPU {indexes[0]}"
    if len(indexes) == 2:
        return f"GPUs {indexes[0]} and {indexes[1]}"
    return f"GPUs {format_cpu_list(tuple(indexes))}"


def name_of(node: Node) -> str:
    """Name a node as people do: a GPU by index, a NIC by interface, the rest by address."""
    match node:
        case Gpu():
            return node.id if node.index is None else f"GPU {node.index}"
        case Nic():
            return f"NIC {node.name}"
        case Nvme():
            return f"drive {node.name}"
        case PcieSwitch():
            return f"switch {node.pci_address}"
        case NvSwitch():
            return f"NVSwitch {node.pci_address}" if node.pci_address else "the NVSwitches"
        case HostBridge():
            return f"host bridge {node.pci_address or node.id.partition('@')[2]}"
        case _:
            return node.id


class Names:
    """Names for the subjects of verdicts: ids of nodes and links.

    Parameters
    ----------
    machine : Machine
        The machine that they are of.
    """

    def __init__(self, machine: Machine) -> None:
        self._nodes: dict[str, Node] = {node.id: node for node in machine.document.nodes}
        # A PCIe link is called by the device at its lower end.
        self._nodes |= {
            link.id: self._nodes[link.b]
            for link in machine.document.links
            if link.b in self._nodes and link.id.startswith("pcie@")
        }

    def each(self, subjects: Sequence[str]) -> str:
        """Name subjects for a sentence in the singular: ``GPU 3``, ``Each of GPUs 0-3``.

        The host has no name, for it is what all is about.
        """
        nodes = [self._nodes.get(subject) for subject in subjects]
        gpus = [node for node in nodes if isinstance(node, Gpu) and node.index is not None]
        if len(gpus) == len(subjects):
            names = gpu_names(gpus)
            return names if len(gpus) == 1 else f"Each of {names}"
        single = [self._one(subject) for subject in subjects if subject != "host"]
        if not single:
            return ""
        first = single[0][:1].upper() + single[0][1:]
        if len(single) > _MOST_NAMES:
            return f"{first} (and {len(single) - 1} more)"
        return first if len(single) == 1 else f"Each of {listed(single)}"

    def _one(self, subject: str) -> str:
        """Name one subject; a pair is two ids with a blank between them."""
        ends = [self._nodes.get(end) for end in subject.split()]
        known = [name_of(end) for end in ends if end is not None]
        if len(known) < len(ends) or not known:
            return subject
        return known[0] if len(known) == 1 else f"the pair {', '.join(known)}"
