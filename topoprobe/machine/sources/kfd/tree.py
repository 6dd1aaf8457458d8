"""KFD's folders of nodes: finding them, and reading what each says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.searching import below, find_folder

PCIE, XGMI = 2, 11
CPU_LINKS = {1, 5}  # HyperTransport (which stands for Infinity Fabric) and QPI
SYSTEM_HEAP, PUBLIC_HEAP, PRIVATE_HEAP = 0, 1, 2
MAX_NODE = 1 << 12

_PLACES = ("sys/class/kfd/kfd/topology/nodes", "sys/devices/virtual/kfd/kfd/topology/nodes")


class Link(NamedTuple):
    """A link of a node, as `io_links` or `p2p_links` have it."""

    to: int
    kind: int
    weight: int
    min_bytes_per_s: float
    max_bytes_per_s: float
    flags: int


class Node(NamedTuple):
    """A CPU's NUMA node, a GPU or a partition of one, or an APU, which is CPU and GPU at once.

    `banks` has the bytes of memory by kind of heap.
    """

    number: int
    properties: Mapping[str, int]
    banks: Mapping[int, int]
    io_links: tuple[Link, ...]
    p2p_links: tuple[Link, ...]

    @property
    def is_cpu(self) -> bool:
        """Whether it has CPUs."""
        return self.properties.get("cpu_cores_count", 0) > 0

    @property
    def is_gpu(self) -> bool:
        """Whether it has compute units of a GPU."""
        return self.properties.get("simd_count", 0) > 0


def find(files: Files) -> str | None:
    """Return the folder of nodes below the root, or None if there is none."""
    if files.names("sys"):
        return next((place for place in _PLACES if any(_entries(files, place))), None)
    return find_folder(files, lambda folder: any(_entries(files, folder)))


def read_nodes(files: Files, place: str) -> list[Node]:
    """Read all nodes of a folder."""
    return [_node(files, number, path) for number, path in _entries(files, place)]


def _entries(files: Files, place: str) -> Iterator[tuple[int, str]]:
    """Yield number and path of each node; one that may not be read has empty properties."""
    for number, path in _numbered(files, place):
        text = files.text(f"{path}/properties")
        if number < MAX_NODE and text is not None and (not text or "simd_count" in text):
            yield number, path


def _numbered(files: Files, place: str) -> list[tuple[int, str]]:
    """Return number and path of each folder with a number for a name, also at the root itself."""
    names = [name for name in files.names(place) if name.isdecimal() and len(name) < 6]
    return sorted((int(name), below(place, name)) for name in names)


def _node(files: Files, number: int, path: str) -> Node:
    banks: dict[int, int] = {}
    for _, bank in _numbered(files, f"{path}/mem_banks"):
        told = _properties(files, bank)
        heap = told.get("heap_type", -1)
        banks[heap] = banks.get(heap, 0) + told.get("size_in_bytes", 0)
    return Node(
        number=number,
        properties=_properties(files, path),
        banks=banks,
        io_links=tuple(_links(files, f"{path}/io_links")),
        p2p_links=tuple(_links(files, f"{path}/p2p_links")),
    )


def _properties(files: Files, path: str) -> dict[str, int]:
    """Read lines of a name and a number."""
    found = {}
    for line in (files.text(f"{path}/properties") or "").splitlines():
        name, _, value = line.strip().partition(" ")
        if value.strip().isdecimal() and len(value) < 24:
            found[name] = int(value)
    return found


def _links(files: Files, path: str) -> Iterator[Link]:
    for _, folder in _numbered(files, path):
        told = _properties(files, folder)
        if "node_to" in told and "type" in told:
            yield Link(
                to=told["node_to"],
                kind=told["type"],
                weight=told.get("weight", 0),
                min_bytes_per_s=told.get("min_bandwidth", 0) * 1e6,
                max_bytes_per_s=told.get("max_bandwidth", 0) * 1e6,
                flags=told.get("flags", 0),
            )
