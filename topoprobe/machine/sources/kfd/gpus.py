"""The GPUs among KFD's nodes: which nodes are one GPU, where it is, and how it is divided.

In the compute modes that divide an MI300 each partition is a node. Its number stands in bits 28
and up of the location or, since Linux 6.6, in the function, although no such PCI function exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from topoprobe.machine.addresses import normal_address
from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.kfd.tree import Node
from topoprobe.records.machine import Contradiction

_MODES = {2: "DPX", 3: "TPX", 4: "QPX"}


class Gpu(NamedTuple):
    """A GPU by its address, or its number where no address is told, with its partitions' nodes.

    `repeated` are nodes that say the same as one of `parts`.
    """

    subject: str
    parts: tuple[Node, ...]
    repeated: tuple[Node, ...] = ()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes that stand for this GPU."""
        return self.parts + self.repeated

    @property
    def mode(self) -> str | None:
        """Name of the mode of division, from how many parts have how many dies."""
        dies = [part.properties.get("num_xcc", 0) for part in self.parts]
        if len(dies) == 1:
            return "SPX" if dies[0] > 1 else None
        if all(count == 1 for count in dies):
            return "CPX"
        return _MODES.get(len(dies), "CPX")

    def duplicates(self) -> Iterator[Contradiction]:
        """Report the nodes that are told twice."""
        first = {_location(node): node.number for node in self.parts}
        for node in self.repeated:
            yield Contradiction(
                subject=self.subject,
                fact="KFD nodes",
                readings=(f"node {first[_location(node)]}", f"node {node.number}"),
                meaning="Two nodes have one location, so one is a duplicate; the first is used.",
            )


def partition_of(node: Node) -> int:
    """Return the number of a partition on its GPU."""
    location = _location(node)[1]
    return location >> 28 & 0xF or location & 7


def group(files: Files, nodes: Sequence[Node]) -> list[Gpu]:
    """Group nodes by GPU.

    Parameters
    ----------
    files : Files
        Tells whether a function exists in sysfs, which makes it a GPU of its own.
    nodes : sequence of Node
        All nodes; those without a GPU are left out.
    """
    groups: dict[tuple[int, ...], list[Node]] = {}
    gpus = [node for node in nodes if node.is_gpu]
    for index, node in enumerate(gpus):
        key = (-1, index) if _location(node)[1] == 0 else _device(files, node)
        groups.setdefault(key, []).append(node)
    return [_gpu(group, f"gpu:{gpus.index(group[0])}") for group in groups.values()]


def _location(node: Node) -> tuple[int, int]:
    return node.properties.get("domain", 0), node.properties.get("location_id", 0)


def _device(files: Files, node: Node) -> tuple[int, ...]:
    """Return domain, bus and device of a node, and its function if that exists."""
    domain, location = _location(node)
    device = (domain, location >> 8 & 0xFF, location >> 3 & 0x1F)
    function = location & 7
    path = f"sys/bus/pci/devices/{_address(*device, function)}/class"
    return (*device, function) if function and files.data(path) is not None else device


def _gpu(group: list[Node], number: str) -> Gpu:
    parts: dict[tuple[int, int], Node] = {}
    repeated = tuple(node for node in group if parts.setdefault(_location(node), node) is not node)
    domain, location = _location(group[0])
    # Partitions that are counted in the function begin at the device's own.
    is_counted = len(parts) > 1 and not any(place >> 28 for _, place in parts)
    function = 0 if is_counted else location & 7
    address = _address(domain, location >> 8 & 0xFF, location >> 3 & 0x1F, function)
    subject = address if location and normal_address(address) else number
    return Gpu(subject, tuple(sorted(parts.values(), key=partition_of)), repeated)


def _address(domain: int, bus: int, device: int, function: int) -> str:
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function}"
