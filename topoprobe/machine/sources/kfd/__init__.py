"""AMD's kernel driver (KFD): GPUs, CPUs and the links between them, below `topology/nodes`.

KFD knows nothing of PCIe switches: it gives a GPU's PCI address, its CPU, and the raw rate of the
way between them. What the figures mean is read in the kernel's own code [linux-amdkfd].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from topoprobe.errors import InputError
from topoprobe.machine.facts import (
    Facts,
    GpuFact,
    NumaFact,
    PairFact,
    PartitionFact,
    PciFact,
    PeerFact,
)
from topoprobe.machine.pcie import GENERATIONS, capability
from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.kfd import tree
from topoprobe.machine.sources.kfd.gpus import Gpu, group, partition_of
from topoprobe.machine.sources.kfd.tree import Link, Node
from topoprobe.records.base import Missing
from topoprobe.records.machine import Capability, Contradiction, LinkKind

# A direct xGMI link weighs 15, a way over several links as many times that.
_XGMI_WEIGHT = 15
_NO_PEER_ACCESS = 1 << 4  # of a link's flags
_LANES = 16  # of every GPU that AMD makes for servers


def matches(files: Files) -> bool:
    """Tell whether a tree has a folder of KFD nodes."""
    return tree.find(files) is not None


def read(files: Files, name: str = "") -> Facts:
    """Read what KFD tells.

    Parameters
    ----------
    files : Files
        A root with ``sys``, or a copy of the folder ``nodes`` or of one around it.
    name : str
        Of a recording.

    Raises
    ------
    InputError
        If there is no node in it.
    """
    place = tree.find(files)
    if place is None:
        raise InputError(f"{name} has no nodes/*/properties; expected a copy of KFD's topology.")
    return _Reader(files, tree.read_nodes(files, place)).facts(f"kfd {name}".strip())


class _Reader:
    """Makes facts of nodes."""

    def __init__(self, files: Files, nodes: Sequence[Node]) -> None:
        self._nodes = {node.number: node for node in nodes}
        self._gpus = group(files, nodes)
        self._numa_of = _numas_by_node(files, nodes)
        self._subject_of = {n.number: gpu.subject for gpu in self._gpus for n in gpu.nodes}
        self._unknown: list[Missing] = []
        self._contradictions = [c for gpu in self._gpus for c in gpu.duplicates()]

    def facts(self, source: str) -> Facts:
        self._tell_gaps()
        numas, gpus = tuple(self._numas()), tuple(map(self._gpu, self._gpus))
        functions = tuple(
            self._function(gpu) for gpu in self._gpus if not gpu.subject.startswith("gpu:")
        )
        self._check_weights()
        return Facts(
            source=source,
            numas=numas,
            functions=functions,
            gpus=gpus,
            partitions=tuple(part for gpu in self._gpus for part in _partitions(gpu)),
            peers=tuple(self._peers()),
            pairs=tuple(self._pairs()),
            unknown=tuple(self._unknown),
            contradictions=tuple(self._contradictions),
        )

    def _tell_gaps(self) -> None:
        """Name the nodes that must be there and are not, and what is missing of the others."""
        linked = {link.to for node in self._nodes.values() for link in node.io_links}
        expected = {*range(max(self._nodes) + 1), *(n for n in linked if n < tree.MAX_NODE)}
        for number in sorted(expected - self._nodes.keys()):
            self._miss("host", f"KFD node {number}", "The recording lacks its folder.")
        for number, node in self._nodes.items():
            if not node.properties:
                reason = "Its properties are empty: whoever read them may not use the device."
                self._miss("host", f"KFD node {number}", reason)
            for kind, found in (("io_links", node.io_links), ("p2p_links", node.p2p_links)):
                told = node.properties.get(f"{kind}_count", 0)
                if told > len(found):
                    reason = f"Its properties count {told}, and {len(found)} can be read."
                    self._miss("host", f"{kind} of KFD node {number}", reason)

    def _numas(self) -> Iterator[NumaFact]:
        for number, index in self._numa_of.items():
            node = self._nodes[number]
            count = node.properties["cpu_cores_count"]
            memory = node.banks.get(tree.SYSTEM_HEAP)
            if not memory:
                self._miss(f"numa:{index}", "memory_bytes", _why_no_memory(node))
            yield NumaFact(
                os_index=index,
                name=f"NUMA node {index} ({count} CPU cores)",
                memory_bytes=memory or None,
                num_cpus=count,
                distances=self._distances(node),
            )

    def _distances(self, node: Node) -> tuple[int, ...]:
        """Return the distances to all CPU nodes, as their links weigh; none if one is missing."""
        weights = {link.to: link.weight for link in node.io_links if link.kind in tree.CPU_LINKS}
        weights[node.number] = 10  # what ACPI has for a node itself
        found = [weights.get(number, 0) for number in self._numa_of]
        return tuple(found) if all(found) and len(found) > 1 else ()

    def _function(self, gpu: Gpu) -> PciFact:
        node = gpu.parts[0]
        link = self._cpu_link(node)
        nominal = _pcie(link.max_bytes_per_s) if link and link.kind == tree.PCIE else None
        if nominal is None:
            self._miss(gpu.subject, "maximum", "KFD tells no PCIe rate between it and its CPU.")
        return PciFact(
            address=gpu.subject,
            vendor=_id(node.properties.get("vendor_id", 0)),
            device=_id(node.properties.get("device_id", 0)),
            kind="gpu",
            nominal=nominal,
            numa_index=self._numa(node),
        )

    def _gpu(self, gpu: Gpu) -> GpuFact:
        node = gpu.parts[0]
        told, numa = node.properties, self._numa(node)
        memory = sum(
            part.banks.get(heap, 0)
            for part in gpu.parts
            for heap in (tree.PUBLIC_HEAP, tree.PRIVATE_HEAP)
        )
        if not memory:
            self._miss(gpu.subject, "memory_bytes", _why_no_memory(node))
        if numa is None:
            self._miss(gpu.subject, "numa_index", "No link that can be read joins it to a CPU.")
        return GpuFact(
            subject=gpu.subject,
            numa_index=numa,
            memory_bytes=memory or None,
            architecture=_architecture(told.get("gfx_target_version", 0)),
            hive_id=f"{told['hive_id']:016x}" if told.get("hive_id") else None,
            uuid=f"GPU-{told['unique_id']:016x}" if told.get("unique_id") else None,
            partition_mode=gpu.mode,
        )

    def _numa(self, node: Node) -> int | None:
        link = self._cpu_link(node)
        return self._numa_of.get(node.number if link is None else link.to)

    def _cpu_link(self, node: Node) -> Link | None:
        """Return the link to the CPU that a GPU hangs on: the lightest."""
        to_cpus = [link for link in node.io_links if link.to in self._numa_of]
        return min(to_cpus, key=lambda link: link.weight, default=None)

    def _peers(self) -> Iterator[PeerFact]:
        """Yield each bundle of xGMI links once from either end, whatever the partitions repeat."""
        seen = set()
        for a, node in self._gpu_nodes():
            for link in node.io_links:
                b, numa = self._subject_of.get(link.to), self._numa_of.get(link.to)
                is_known = b is not None or numa is not None
                if link.kind != tree.XGMI or not _is_direct(link) or not is_known or a == b:
                    continue
                if (a, b, numa) in seen:
                    continue
                seen.add((a, b, numa))
                yield PeerFact(
                    a=a,
                    b=b,
                    b_kind="cpu" if b is None else "gpu",
                    b_numa_index=numa if b is None else None,
                    kind=LinkKind.XGMI,
                    count=_count(link),
                    bandwidth_bytes_per_s=link.max_bytes_per_s or link.min_bytes_per_s or None,
                )

    def _pairs(self) -> Iterator[PairFact]:
        """Yield the pairs of GPUs that the driver lets reach each other."""
        seen = set()
        for a, node in self._gpu_nodes():
            for link in (*node.io_links, *node.p2p_links):
                b = self._subject_of.get(link.to)
                if b is None or a == b or link.flags & _NO_PEER_ACCESS:
                    continue
                if frozenset((a, b)) not in seen:
                    seen.add(frozenset((a, b)))
                    yield PairFact(a=a, b=b, peer_status="OK")

    def _check_weights(self) -> None:
        """Compare each peer link's weight with the sum of its parts: GPU, CPUs, GPU.

        The sum has the way between the CPUs in it if the GPUs hang on different ones, so it is
        a second opinion of where they are.
        """
        for subject, node in self._gpu_nodes():
            for link in node.p2p_links:
                parts = self._parts(node, link)
                if parts is not None and link.weight not in {0, sum(parts)}:
                    self._contradictions.append(
                        Contradiction(
                            subject=subject,
                            fact=f"weight of the peer link to KFD node {link.to}",
                            readings=(str(link.weight), " + ".join(map(str, parts))),
                            meaning="The weight does not fit the CPUs that the two GPUs hang on; "
                            "their links to the CPUs are used.",
                        )
                    )

    def _parts(self, node: Node, link: Link) -> tuple[int, ...] | None:
        """Return the weights that a peer link between GPUs is the sum of, or None if unknown."""
        other = self._nodes.get(link.to)
        one = self._cpu_link(node)
        two = self._cpu_link(other) if other is not None and other.is_gpu else None
        if one is None or two is None:
            return None
        if one.to == two.to:
            return one.weight, two.weight
        between = [x.weight for x in self._nodes[one.to].io_links if x.to == two.to]
        return (one.weight, between[0], two.weight) if between else None

    def _gpu_nodes(self) -> Iterator[tuple[str, Node]]:
        return ((gpu.subject, node) for gpu in self._gpus for node in gpu.nodes)

    def _miss(self, subject: str, fact: str, reason: str) -> None:
        self._unknown.append(Missing(subject=subject, fact=fact, reason=reason))


def _numas_by_node(files: Files, nodes: Sequence[Node]) -> dict[int, int]:
    """Return the NUMA node of each CPU node: KFD takes those that have CPUs, in their order."""
    with_cpus = [
        index
        for index, path in files.numbered("sys/devices/system/node", "node")
        if files.text(f"{path}/cpulist")
    ]
    cpus = [node.number for node in nodes if node.is_cpu]
    return {n: with_cpus[n] if n < len(with_cpus) else n for n in cpus}


def _partitions(gpu: Gpu) -> Iterator[PartitionFact]:
    for node in gpu.parts if len(gpu.parts) > 1 else ():
        number = partition_of(node)
        yield PartitionFact(
            key=str(number),
            subject=gpu.subject,
            name=f"{gpu.mode} partition {number}",
            partition_kind="compute",
        )


def _id(number: int) -> str | None:
    return f"{number:04x}" if 0 < number < 0xFFFF else None


def _architecture(version: int) -> str | None:
    """Return the compiler's name: 90010 is gfx90a, 110501 gfx1151."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}" if version else None


def _pcie(raw_bytes_per_s: float) -> Capability | None:
    """Return the capability behind a raw figure: lanes times transfers, before line encoding."""
    for generation in GENERATIONS:
        if abs(raw_bytes_per_s * 8 / _LANES / generation.transfers_per_s - 1) < 0.01:
            return capability(generation.transfers_per_s, _LANES)
    return None


def _is_direct(link: Link) -> bool:
    return link.weight <= _XGMI_WEIGHT or link.weight % _XGMI_WEIGHT != 0


def _count(link: Link) -> int:
    """Return the links of a bundle: the least figure is one link's, the greatest that of all."""
    least, greatest = link.min_bytes_per_s, link.max_bytes_per_s
    is_whole = 0 < least <= greatest and (greatest / least).is_integer()
    return round(greatest / least) if is_whole else 1


def _why_no_memory(node: Node) -> str:
    if node.properties.get("mem_banks_count") and not node.banks:
        return "The recording leaves out mem_banks."
    return "KFD counts no memory of it."
