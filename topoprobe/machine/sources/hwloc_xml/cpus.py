"""Packages and NUMA nodes in hwloc's files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from topoprobe.machine.addresses import normal_address, parse_cpu_mask
from topoprobe.machine.facts import NumaFact, PackageFact
from topoprobe.machine.sources.hwloc_xml.dialect import infos, objects
from topoprobe.machine.sources.xml import integer
from topoprobe.records.machine import Cache

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_CACHE_TYPES: dict[str, Literal["data", "instruction", "unified"]] = {
    "0": "unified", "1": "data", "2": "instruction",
}  # fmt: skip
_UNNUMBERED = (1 << 31) - 1
_MEANS_LATENCY = 4  # a bit of a matrix's kind
# Linux numbers the memory of POWER9's GPUs from 255 downwards.
_FIRST_GPU_MEMORY = 240


def read_packages(machine: Element, architecture: str | None) -> Iterator[PackageFact]:
    """Yield the CPU sockets; one without a number gets the next that is free."""
    packages = list(objects(machine, "Package", "Socket"))
    taken = {_os_index(package) for package in packages}
    free = (number for number in range(len(packages)) if number not in taken)
    for package in packages:
        told, os_index = infos(package), _os_index(package)
        yield PackageFact(
            os_index=next(free) if os_index is None else os_index,
            name=told.get("CPUModel", "").strip() or None,
            vendor=told.get("CPUVendor"),
            architecture=architecture,
            num_cores=sum(1 for _ in objects(package, "Core")) or None,
            num_threads=sum(1 for _ in objects(package, "PU")) or None,
            cpus=parse_cpu_mask(package.get("cpuset", "")),
            caches=tuple(_caches(package)),
        )


def read_numas(root: Element, machine: Element, architecture: str | None) -> tuple[NumaFact, ...]:
    """Read the NUMA nodes, and tell memory without CPUs apart.

    hwloc gives such memory the CPUs that it is near to, and says in the subtype what it is.
    """
    distances = _distances(root, machine)
    has_gpu_memory = (architecture or "").startswith("ppc64")
    found: list[NumaFact] = []
    for numa in objects(machine, "NUMANode"):
        os_index = _os_index(numa)
        if os_index is None:
            continue
        kind = numa.get("subtype")
        memory_of = normal_address(infos(numa).get("PCIBusID", ""))
        cpus = parse_cpu_mask(numa.get("cpuset", ""))
        if memory_of or kind not in {None, "DRAM"}:
            cpus = ()
        if kind is None and has_gpu_memory and os_index >= _FIRST_GPU_MEMORY:
            kind = "GPUMemory"
        found.append(
            NumaFact(
                os_index=os_index,
                name=None if cpus else _name_without_cpus(os_index, kind),
                memory_bytes=integer(numa.get("local_memory")) or None,
                cpus=cpus,
                distances=distances.get(os_index, ()),
                memory_of=memory_of,
            )
        )
    return _each_once(found)


def _os_index(element: Element) -> int | None:
    """Return the system's number of an object; some firmware numbers none, which shows as -1."""
    told = integer(element.get("os_index"))
    return told if told is not None and 0 <= told < _UNNUMBERED else None


def _each_once(numas: Sequence[NumaFact]) -> tuple[NumaFact, ...]:
    return tuple({numa.os_index: numa for numa in reversed(numas)}.values())[::-1]


def _name_without_cpus(os_index: int, kind: str | None) -> str:
    what = "memory of a GPU" if kind == "GPUMemory" else f"{kind or ''} memory".strip()
    return f"NUMA node {os_index} ({what} without CPUs)"


def _distances(root: Element, machine: Element) -> dict[int, tuple[int, ...]]:
    nodes = [
        n for o in objects(machine, "NUMANode") if (n := integer(o.get("os_index"))) is not None
    ]
    for matrix in (*root.iter("distances2"), *root.iter("distances")):
        ends, values = _latencies(matrix, machine, nodes)
        size = len(ends)
        if size > 1 and len(values) == size * size:
            rows = (tuple(values[row * size : (row + 1) * size]) for row in range(size))
            return dict(zip(ends, rows, strict=True))
    return {}


def _latencies(
    matrix: Element, machine: Element, nodes: Sequence[int]
) -> tuple[Sequence[int], Sequence[int]]:
    """Return the NUMA nodes and latencies of a matrix; nothing if it is about something else."""
    if matrix.tag == "distances":  # version 1: of all nodes, in units of a base
        base = number(matrix.get("latency_base")) or 1.0
        told = [number(element.get("value")) for element in matrix.findall("latency")]
        values = [round(value * base) for value in told if value is not None]
        return (nodes, values) if matrix.get("nbobjs") == str(len(nodes)) else ((), ())
    kind = integer(matrix.get("kind")) or 0
    if matrix.get("type") != "NUMANode" or matrix.get("name", "NUMALatency") != "NUMALatency":
        return (), ()
    if not kind & _MEANS_LATENCY:
        return (), ()
    ends = numbers(matrix, "indexes")
    if matrix.get("indexing") == "gp":
        of = {
            integer(o.get("gp_index")): integer(o.get("os_index"))
            for o in objects(machine, "NUMANode")
        }
        ends = [n for end in ends if (n := of.get(end)) is not None]
    return ends, numbers(matrix, "u64values")


def _caches(package: Element) -> Iterator[Cache]:
    found: dict[tuple[int, Literal["data", "instruction", "unified"], int], int] = {}
    for element in package.iter("object"):
        level, size = integer(element.get("depth")), integer(element.get("cache_size"))
        kind = _CACHE_TYPES.get(element.get("cache_type", ""))
        if level and size and kind:
            found[level, kind, size] = found.get((level, kind, size), 0) + 1
    for (level, kind, size), count in sorted(found.items()):
        yield Cache(level=level, type=kind, size_bytes=size, num_instances=count)


def words(matrix: Element, tag: str) -> list[str]:
    """Return the words of a matrix's parts: long ones are broken into several elements."""
    return [word for part in matrix.findall(tag) for word in (part.text or "").split()]


def numbers(matrix: Element, tag: str) -> list[int]:
    """Return the numbers of a matrix's parts."""
    return [int(w) for w in words(matrix, tag) if w.isdecimal() and len(w) < 20]


def number(text: str | None) -> float | None:
    """Return a decimal fraction of a sensible size, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e6 else None


def nodes_near(place: Element, numas: Sequence[NumaFact]) -> list[int]:
    """Return the NUMA nodes with CPUs that a part of the machine belongs to.

    By its node set, or, where a file leaves that out, by its CPUs.
    """
    with_cpus = [numa for numa in numas if numa.cpus]
    told = set(parse_cpu_mask(place.get("nodeset", "")))
    if told:
        return [numa.os_index for numa in with_cpus if numa.os_index in told]
    cpus = set(parse_cpu_mask(place.get("cpuset", "")))
    inside = [n.os_index for n in with_cpus if cpus and set(n.cpus) <= cpus]
    around = [n.os_index for n in with_cpus if cpus and cpus <= set(n.cpus)]
    return around if len(around) == 1 else inside
