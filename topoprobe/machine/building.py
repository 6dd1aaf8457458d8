"""Building the machine document from the facts of its sources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict

import msgspec

from topoprobe.machine.addresses import sort_key
from topoprobe.machine.devices import Kind, kind_of, label_of, model_of, role_of
from topoprobe.machine.facts import (
    Facts,
    GpuFact,
    HostFact,
    MemoryDeviceFact,
    NicFact,
    PciFact,
    RootFact,
    StorageFact,
)
from topoprobe.machine.folding import PciTree
from topoprobe.machine.joining import Joined, join
from topoprobe.machine.paths import pairs_of
from topoprobe.machine.scrutiny import doubtful_uplinks, odd_current_readings, port_rate
from topoprobe.machine.view import Machine
from topoprobe.machine.wiring import peer_links
from topoprobe.records.base import Missing, Tool
from topoprobe.records.machine import (
    AnyNode,
    Contradiction,
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
    Partition,
    PcieSwitch,
    PciNode,
    Provenance,
)

# Endpoints whose place and link matter: what is unknown about them is said.
_ENDPOINTS = (Kind.GPU, Kind.NIC, Kind.NVME)
_LINKED = (*_ENDPOINTS, Kind.NVSWITCH, Kind.CXL_MEMORY)
_FABRIC = "nvswitch@fabric"


class _PciFields(TypedDict):
    """The fields that all nodes with a PCI function share."""

    id: str
    name: str
    model: str | None
    parent: str
    pci_address: str
    pci_class: str | None
    pci_vendor: str | None
    pci_device: str | None
    numa_index: int | None
    cpus: tuple[int, ...]


def build(
    sources: Sequence[Facts],
    *,
    origin: Literal["live", "recorded", "synthetic"],
    tool: Tool,
    captured_at: str | None = None,
) -> MachineDocument:
    """Join facts and fold them into a machine document.

    Parameters
    ----------
    sources : sequence of Facts
        What each source saw of one and the same machine.
    origin : str
        Whether the machine was read now, from a recording, or made up.
    tool : Tool
        The program that writes the document.
    captured_at : str, optional
        ISO 8601 time of a live reading.
    """
    return _Builder(join(sources)).document(
        tuple(s.source for s in sources), origin, tool, captured_at
    )


class _Builder:
    """One build: the joined facts, and what is derived from them on the way."""

    def __init__(self, joined: Joined) -> None:
        self._facts = joined.facts
        self._origins = joined.origins
        self._functions = {f.address: f for f in joined.facts.functions}
        storage = {s.address for s in joined.facts.storage if s.block_devices}
        self._kinds = {
            f.address: kind_of(f, has_storage=f.address in storage) for f in joined.facts.functions
        }
        bridges = {a for a, kind in self._kinds.items() if kind is Kind.BRIDGE}
        self._tree = PciTree(joined.facts.functions, bridges)
        self._contradictions: list[Contradiction] = []
        self._unknown: list[Missing] = []
        self._nodes: list[AnyNode] = []

    def document(
        self,
        sources: tuple[str, ...],
        origin: Literal["live", "recorded", "synthetic"],
        tool: Tool,
        captured_at: str | None,
    ) -> MachineDocument:
        self._add_host()
        self._add_processors()
        self._add_bridges()
        self._add_endpoints()
        links = self._links()
        draft = MachineDocument(
            tool=tool,
            origin=origin,
            sources=sources,
            captured_at=captured_at,
            nodes=tuple(self._nodes),
            links=links,
        )
        pairs, without_class = pairs_of(Machine(draft))
        self._tell_unknown(links)
        self._unknown.extend(without_class)
        self._contradictions[:0] = [self._renamed(c) for c in self._facts.contradictions]
        return msgspec.structs.replace(
            draft,
            pairs=pairs,
            contradictions=tuple(self._contradictions),
            unknown=tuple(self._unknown),
            provenance=self._provenance(),
        )

    def _id(self, address: str) -> str:
        kind = self._kinds.get(address)
        if kind is Kind.BRIDGE:
            owner = self._tree.owner(self._functions[address])
            return owner.node_id if owner else f"pcie_switch@{address}"
        return f"{kind}@{address}" if kind else address

    def _renamed(self, contradiction: Contradiction) -> Contradiction:
        return msgspec.structs.replace(contradiction, subject=self._subject(contradiction.subject))

    def _subject(self, subject: str) -> str:
        return self._id(subject) if subject in self._functions else subject

    def _add_host(self) -> None:
        host = self._facts.host or HostFact()
        self._nodes.append(
            Host(
                id="host",
                name=host.name or host.product or "unnamed machine",
                operating_system=host.operating_system,
                product=host.product,
                is_virtual=host.is_virtual,
                virtualization=host.virtualization,
            )
        )

    def _add_processors(self) -> None:
        packages = sorted(self._facts.packages, key=lambda p: p.os_index)
        for package in packages:
            self._nodes.append(
                Package(
                    id=f"package:{package.os_index}",
                    name=package.name or f"CPU package {package.os_index}",
                    parent="host",
                    os_index=package.os_index,
                    vendor=package.vendor,
                    architecture=package.architecture,
                    num_cores=package.num_cores,
                    num_threads=package.num_threads,
                    cpus=package.cpus,
                    base_clock_hz=package.base_clock_hz,
                    instruction_sets=package.instruction_sets,
                    caches=package.caches,
                )
            )
        if not packages:
            self._miss("host", "packages", "No source tells the CPU sockets.")
        for numa in sorted(self._facts.numas, key=lambda n: n.os_index):
            around = [p.os_index for p in packages if numa.cpus and set(numa.cpus) <= set(p.cpus)]
            self._nodes.append(
                Numa(
                    id=f"numa:{numa.os_index}",
                    name=numa.name or f"NUMA node {numa.os_index}",
                    parent=f"package:{around[0]}" if around else "host",
                    os_index=numa.os_index,
                    memory_bytes=numa.memory_bytes,
                    cpus=numa.cpus,
                    distances=numa.distances,
                )
            )
        if not self._facts.numas:
            self._miss("host", "numa", "No source tells the NUMA nodes.")

    def _add_bridges(self) -> None:
        ports = self._tree.ports()
        roots = {r.key: r for r in self._facts.roots}
        keys = {f.root: None for f in self._facts.functions if f.root}
        for key in sorted({**keys, **dict.fromkeys(roots)}):
            root = roots.get(key, RootFact(key=key))
            numa = root.numa_index
            if numa is None:
                numa = self._common_numa(key)
            node_id = f"host_bridge@{key}"
            self._nodes.append(
                HostBridge(
                    id=node_id,
                    name=root.name or f"Host bridge {key}",
                    parent=self._numa_id(numa) or "host",
                    pci_address=key
                    if key[:1].isalnum() and ":" in key and "cpu" not in key
                    else None,
                    numa_index=numa,
                    cpus=root.cpus,
                    ports=ports.get(node_id, ()),
                )
            )
        for function in self._tree.switches():
            above = self._tree.parent(function)
            owner = self._tree.owner(above) if above else self._tree.above(function)
            self._nodes.append(
                PcieSwitch(
                    **self._pci(function, owner.node_id if owner else "host", "pcie_switch"),
                    ports=ports.get(f"pcie_switch@{function.address}", ()),
                )
            )

    def _add_endpoints(self) -> None:
        groups: dict[Kind, list[PciFact]] = {}
        for function in self._facts.functions:
            groups.setdefault(self._kinds[function.address], []).append(function)
        self._add_gpus(groups.get(Kind.GPU, []))
        for function in groups.get(Kind.PARTITION, []):
            self._nodes.append(
                Partition(
                    **self._pci(function, self._id(function.physical_function or ""), "partition"),
                    partition_kind="virtual_function",
                )
            )
        self._add_nics(groups.get(Kind.NIC, []))
        storage = {s.address: s for s in self._facts.storage}
        for function in groups.get(Kind.NVME, []):
            blocks = storage.get(function.address, StorageFact(address=function.address))
            fields = self._pci(function, self._above(function), "nvme")
            if blocks.block_devices:
                fields["name"] = blocks.block_devices[0]
            self._nodes.append(
                Nvme(
                    **fields,
                    block_devices=blocks.block_devices,
                    size_bytes=blocks.size_bytes,
                )
            )
        for function in groups.get(Kind.NVSWITCH, []):
            self._nodes.append(NvSwitch(**self._pci(function, self._above(function), "nvswitch")))
        self._add_switches_beyond_the_tree()
        memories = {m.address: m for m in self._facts.memory_devices}
        for function in groups.get(Kind.CXL_MEMORY, []):
            memory = memories.get(function.address, MemoryDeviceFact(address=function.address))
            self._nodes.append(
                CxlMemory(
                    **self._pci(function, self._above(function), "cxl_memory"),
                    memory_bytes=memory.memory_bytes,
                )
            )
        for function in groups.get(Kind.OTHER, []):
            self._nodes.append(
                Other(**self._pci(function, self._above(function), "other"), role=role_of(function))
            )

    def _add_gpus(self, functions: Sequence[PciFact]) -> None:
        told = {g.address: g for g in self._facts.gpus}
        nvlinks = self._nvlink_counts()
        for index, function in enumerate(functions):
            gpu = told.get(function.address, GpuFact(address=function.address))
            fields = self._pci(function, self._above(function), "gpu")
            if gpu.name:
                fields["name"] = fields["model"] = gpu.name
            count = gpu.num_nvlinks
            self._nodes.append(
                Gpu(
                    **fields,
                    index=index,
                    uuid=gpu.uuid,
                    memory_bytes=gpu.memory_bytes,
                    bar1_bytes=gpu.bar1_bytes,
                    compute_capability=gpu.compute_capability,
                    driver=gpu.driver or function.driver,
                    num_nvlinks=nvlinks.get(function.address) if count is None else count,
                    is_mig_enabled=gpu.is_mig_enabled,
                )
            )
        for part in self._facts.partitions:
            self._nodes.append(
                Partition(
                    id=f"partition@{part.address}/{part.key}",
                    name=part.name,
                    parent=self._id(part.address),
                    partition_kind=part.partition_kind,
                )
            )

    def _nvlink_counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for peer in self._facts.peers:
            if peer.kind is LinkKind.NVLINK and peer.a != peer.b:
                counts[peer.a] = counts.get(peer.a, 0) + peer.count
        return counts

    def _add_nics(self, functions: Sequence[PciFact]) -> None:
        nics = {n.address: n for n in self._facts.nics if n.address}
        for function in functions:
            nic = nics.get(function.address)
            ports = self._ports(function, nic)
            fields = self._pci(function, self._above(function), "nic")
            if ports:
                fields["name"] = ports[0].name
            self._nodes.append(Nic(**fields, ports=ports, driver=function.driver))
        for nic in self._facts.nics:
            if nic.address is None:
                self._nodes.append(
                    Nic(
                        id=f"nic:{nic.key}",
                        name=nic.ports[0].name if nic.ports else nic.key,
                        parent="host",
                        ports=nic.ports,
                    )
                )
                self._miss(f"nic:{nic.key}", "pci_address", "The source gives no PCI address.")

    def _ports(self, function: PciFact, nic: NicFact | None) -> tuple[NicPort, ...]:
        link = function.nominal or function.maximum or function.current
        bandwidth = link.bandwidth_bytes_per_s if link else None
        ports = []
        for port in nic.ports if nic else ():
            rate, complaint = port_rate(port, bandwidth)
            if complaint:
                self._contradictions.append(
                    Contradiction(
                        subject=f"nic@{function.address}",
                        fact=f"rate of {port.name}",
                        readings=complaint.readings,
                        meaning=complaint.meaning,
                    )
                )
            ports.append(msgspec.structs.replace(port, rate_bits_per_s=rate))
        return tuple(ports)

    def _add_switches_beyond_the_tree(self) -> None:
        """Add NVSwitches that are only known as the far end of an NVLink."""
        far = [p.b for p in self._facts.peers if p.b_kind == "nvswitch"]
        named = {b for b in far if b is not None and b not in self._functions}
        for address in sorted(named, key=sort_key):
            self._nodes.append(
                NvSwitch(
                    id=f"nvswitch@{address}",
                    name=f"NVSwitch {address}",
                    parent="host",
                    pci_address=address,
                )
            )
        if None in far:
            self._nodes.append(NvSwitch(id=_FABRIC, name="NVSwitch fabric", parent="host"))
            self._miss(_FABRIC, "pci_address", "The driver hides the NVSwitches' addresses.")

    def _links(self) -> tuple[Link, ...]:
        links = []
        for function in self._tree.switches():
            link = self._tree.link(function, f"pcie_switch@{function.address}")
            if link is not None:
                links.append(link)
        for function in self._facts.functions:
            kind = self._kinds[function.address]
            if kind is Kind.BRIDGE:
                continue
            link = self._tree.link(function, self._id(function.address))
            # A function that sits on a root bus and is nobody's device is part of the chip set.
            if link is not None and (link.a_port or kind in _LINKED):
                links.append(link)
        links, contradictions, unknown = doubtful_uplinks(links)
        self._contradictions.extend(contradictions)
        self._unknown.extend(unknown)
        self._contradictions.extend(odd_current_readings(links, self._functions))
        peers, complaints = peer_links(self._facts.peers, self._id, _FABRIC, self._nodes)
        self._contradictions.extend(complaints)
        return (*links, *peers, *self._between_sockets())

    def _between_sockets(self) -> Iterable[Link]:
        packages = [n for n in self._nodes if isinstance(n, Package)]
        if len(packages) != 2:
            if len(packages) > 2:
                self._miss("host", "links between packages", "No source tells how they are wired.")
            return
        one, other = packages
        link = f"{one.id}-{other.id}"
        yield Link(
            id=f"inter_socket@{link}",
            kind=LinkKind.INTER_SOCKET,
            a=one.id,
            b=other.id,
            wire=f"wire@{link}",
        )
        self._miss(
            f"inter_socket@{link}", "nominal", "No source tells the rate of the inter-socket link."
        )

    def _tell_unknown(self, links: Sequence[Link]) -> None:
        reasons = {(m.subject, m.fact): m.reason for m in self._facts.unknown}
        linked = {link.b: link for link in links if link.kind is LinkKind.PCIE}
        told = set()
        for address, kind in self._kinds.items():
            if kind not in _ENDPOINTS:
                continue
            node = next(n for n in self._nodes if n.id == self._id(address))
            if isinstance(node, PciNode) and node.numa_index is None:
                self._miss(
                    node.id, "numa_index",
                    reasons.get((address, "numa_index"), "No source tells it."),
                )  # fmt: skip
            link = linked.get(node.id)
            if link is None:
                self._miss(node.id, "parent", "No source tells where it is attached.")
            elif link.nominal is None or link.nominal.bandwidth_bytes_per_s is None:
                self._miss(
                    link.id, "nominal", reasons.get((address, "maximum"), "No source tells it.")
                )
            told |= {(address, "numa_index"), (address, "maximum")}
        for missing in self._facts.unknown:
            is_joined_fact = missing.fact in {"numa_index", "maximum"}
            if (missing.subject, missing.fact) not in told and not is_joined_fact:
                self._unknown.append(
                    msgspec.structs.replace(missing, subject=self._subject(missing.subject))
                )

    def _provenance(self) -> tuple[Provenance, ...]:
        return tuple(
            Provenance(subject=self._subject(subject), source=source, facts=facts)
            for subject, said in self._origins.items()
            for source, facts in said.items()
        )

    def _pci(self, function: PciFact, parent: str, kind: str) -> _PciFields:
        numa = function.numa_index
        if numa is None:
            numa = self._numa_of_cpus(function)
        is_endpoint = self._kinds[function.address] in _LINKED
        return {
            "id": f"{kind}@{function.address}",
            "name": label_of(function),
            "model": model_of(function),
            "parent": parent,
            "pci_address": function.address,
            "pci_class": function.class_code,
            "pci_vendor": function.vendor,
            "pci_device": function.device,
            "numa_index": self._numa_of_root(function) if numa is None else numa,
            "cpus": self._cpus(function, numa) if is_endpoint else (),
        }

    def _above(self, function: PciFact) -> str:
        owner = self._tree.above(function)
        return owner.node_id if owner else "host"

    def _numa_id(self, index: int | None) -> str | None:
        return f"numa:{index}" if any(n.os_index == index for n in self._facts.numas) else None

    def _common_numa(self, root: str) -> int | None:
        told = {
            f.numa_index for f in self._facts.functions
            if f.root == root and f.numa_index is not None
        }  # fmt: skip
        return told.pop() if len(told) == 1 else None

    def _numa_of_root(self, function: PciFact) -> int | None:
        return next((r.numa_index for r in self._facts.roots if r.key == function.root), None)

    def _numa_of_cpus(self, function: PciFact) -> int | None:
        """Find the NUMA node with exactly the CPUs that a device is near to, if there are several.

        Firmware that leaves the node out may still tell the CPUs.
        """
        same = [n.os_index for n in self._facts.numas if n.cpus and n.cpus == function.cpus]
        return same[0] if len(same) == 1 and len(self._facts.numas) > 1 else None

    def _cpus(self, function: PciFact, numa: int | None) -> tuple[int, ...]:
        if function.cpus:
            return function.cpus
        root = next((r for r in self._facts.roots if r.key == function.root), None)
        if root and root.cpus:
            return root.cpus
        return next((n.cpus for n in self._facts.numas if n.os_index == numa), ())

    def _miss(self, subject: str, fact: str, reason: str) -> None:
        self._unknown.append(Missing(subject=subject, fact=fact, reason=reason))
