"""Making the nodes of the machine document from an inventory, in document order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, TypedDict

import msgspec

from topoprobe.machine.addresses import sort_key
from topoprobe.machine.devices import Kind, label_of, model_of, role_of
from topoprobe.machine.facts import (
    GpuFact,
    HostFact,
    MemoryDeviceFact,
    NicFact,
    PciFact,
    StorageFact,
)
from topoprobe.machine.inventory import FABRIC, LINKED, Inventory
from topoprobe.machine.scrutiny import port_rate
from topoprobe.records.base import Missing
from topoprobe.records.machine import (
    AnyNode,
    Contradiction,
    CxlMemory,
    Gpu,
    Host,
    HostBridge,
    LinkKind,
    Nic,
    NicPort,
    Numa,
    Nvme,
    NvSwitch,
    Other,
    Package,
    Partition,
    PcieSwitch,
)

_CLOCK_IN_NAME = re.compile(r"@\s*([0-9.]+)\s*GHz")
_BUS_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}")


class Made(NamedTuple):
    """Nodes, and what was found wanting or impossible while making them."""

    nodes: tuple[AnyNode, ...]
    contradictions: tuple[Contradiction, ...]
    unknown: tuple[Missing, ...]


class _PciFields(TypedDict):
    """The fields that all nodes with a PCI function share."""

    id: str
    name: str
    model: str | None
    parent: str
    pci_address: str | None
    pci_class: str | None
    pci_vendor: str | None
    pci_device: str | None
    numa_index: int | None
    cpus: tuple[int, ...]
    power_state: str | None
    slot: str | None
    iommu_group: int | None
    max_payload_bytes: int | None
    max_read_request_bytes: int | None


def make_nodes(inventory: Inventory) -> Made:
    """Make all nodes: containers first, then PCI devices by kind and address."""
    maker = _Maker(inventory)
    nodes = tuple(maker.make())
    return Made(nodes, tuple(maker.contradictions), tuple(maker.unknown))


class _Maker:
    """Makes nodes and remembers what it stumbled over."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._facts = inventory.facts
        self.contradictions: list[Contradiction] = []
        self.unknown: list[Missing] = []

    def make(self) -> Iterator[AnyNode]:
        yield self._host()
        yield from self._packages()
        yield from self._numas()
        yield from self._host_bridges()
        yield from self._switches()
        yield from self._gpus()
        yield from self._partitions()
        yield from self._nics()
        yield from self._drives()
        yield from self._nvswitches()
        yield from self._cxl_memories()
        yield from self._others()

    def _host(self) -> Host:
        host = self._facts.host or HostFact()
        return Host(
            id="host",
            name=host.name or host.product or "unnamed machine",
            operating_system=host.operating_system,
            product=host.product,
            is_virtual=host.is_virtual,
            virtualization=host.virtualization,
            memory_bytes=host.memory_bytes,
            is_container=host.is_container,
            kernel_options=host.kernel_options,
            iommu=host.iommu,
            allowed_cpus=host.allowed_cpus,
            allowed_numas=host.allowed_numas,
        )

    def _packages(self) -> Iterator[Package]:
        if not self._facts.packages:
            self._miss("host", "packages", "No source tells the CPU sockets.")
        for package in sorted(self._facts.packages, key=lambda p: p.os_index):
            node_id = f"package:{package.os_index}"
            clock = package.base_clock_hz or _clock_in(package.name)
            if clock is None:
                self._miss(node_id, "base_clock_hz", "Neither cpufreq nor the model's name tells.")
            yield Package(
                id=node_id,
                name=package.name or f"CPU package {package.os_index}",
                parent="host",
                os_index=package.os_index,
                vendor=package.vendor,
                architecture=package.architecture,
                num_cores=package.num_cores,
                num_threads=package.num_threads,
                cpus=package.cpus,
                base_clock_hz=clock,
                instruction_sets=package.instruction_sets,
                caches=package.caches,
            )

    def _numas(self) -> Iterator[Numa]:
        if not self._facts.numas:
            self._miss("host", "numa", "No source tells the NUMA nodes.")
        for numa in sorted(self._facts.numas, key=lambda n: n.os_index):
            around = [
                package.os_index
                for package in self._facts.packages
                if numa.cpus and set(numa.cpus) <= set(package.cpus)
            ]
            yield Numa(
                id=f"numa:{numa.os_index}",
                name=numa.name or f"NUMA node {numa.os_index}",
                parent=f"package:{around[0]}" if around else "host",
                os_index=numa.os_index,
                memory_bytes=numa.memory_bytes,
                num_cpus=numa.num_cpus,
                cpus=numa.cpus,
                distances=numa.distances,
                memory_of=self._inventory.node_id(numa.memory_of) if numa.memory_of else None,
            )

    def _host_bridges(self) -> Iterator[HostBridge]:
        ports = self._inventory.tree.ports()
        for key, root in sorted(self._inventory.roots.items()):
            numa = self._inventory.numa_of_root(root)
            yield HostBridge(
                id=f"host_bridge@{key}",
                name=root.name or f"Host bridge {key}",
                parent=self._inventory.numa_id(numa) or "host",
                pci_address=key if _BUS_ADDRESS.fullmatch(key) else None,
                numa_index=numa,
                cpus=root.cpus,
                ports=ports.get(f"host_bridge@{key}", ()),
            )

    def _switches(self) -> Iterator[PcieSwitch]:
        ports = self._inventory.tree.ports()
        for function in self._inventory.tree.switches():
            fields = self._pci(function, "pcie_switch", self._inventory.above(function))
            yield PcieSwitch(**fields, ports=ports.get(fields["id"], ()))

    def _gpus(self) -> Iterator[Gpu]:
        told = {gpu.subject: gpu for gpu in self._facts.gpus}
        nvlinks = self._nvlink_counts()
        functions = self._inventory.of(Kind.GPU)
        subjects = [*(f.address for f in functions), *self._inventory.gpus_without_address]
        memory_numas = {n.memory_of: n.os_index for n in self._facts.numas if n.memory_of}
        for index, subject in enumerate(subjects):
            gpu = told.get(subject, GpuFact(subject=subject))
            function = self._inventory.functions.get(subject)
            fields = self._unplaced_gpu(gpu) if function is None else self._pci(function, "gpu")
            if gpu.name:
                fields["name"] = fields["model"] = gpu.name
            if gpu.memory_bytes is None:
                self._miss(fields["id"], "memory_bytes", self._why_no_driver_facts())
            yield Gpu(
                **fields,
                index=index,
                uuid=gpu.uuid,
                memory_bytes=gpu.memory_bytes,
                bar1_bytes=gpu.bar1_bytes or (function.bar_bytes if function else None),
                max_bar1_bytes=function.max_bar_bytes if function else None,
                compute_capability=gpu.compute_capability,
                architecture=gpu.architecture,
                hive_id=gpu.hive_id,
                driver=gpu.driver or (function.driver if function else None),
                num_nvlinks=(nvlinks.get(subject) if gpu.num_nvlinks is None else gpu.num_nvlinks),
                is_mig_enabled=gpu.is_mig_enabled,
                performance_state=gpu.performance_state,
                memory_numa_index=(
                    memory_numas.get(subject)
                    if gpu.memory_numa_index is None
                    else gpu.memory_numa_index
                ),
                module_id=gpu.module_id,
                partition_mode=gpu.partition_mode,
                virtualization=gpu.virtualization,
                addressing_mode=gpu.addressing_mode,
                num_pcie_replays=gpu.num_pcie_replays,
                fabric=gpu.fabric,
                max_nvlinks=gpu.max_nvlinks,
                chassis_slot=gpu.chassis_slot,
                chassis_tray=gpu.chassis_tray,
                is_idle=gpu.is_idle,
                health=gpu.health,
            )

    def _unplaced_gpu(self, gpu: GpuFact) -> _PciFields:
        """Describe a GPU that its source numbers but gives no PCI address."""
        self._miss(gpu.subject, "pci_address", "The source gives no PCI address.")
        return {
            "id": gpu.subject,
            "name": gpu.subject,
            "model": None,
            "parent": self._inventory.numa_id(gpu.numa_index) or "host",
            "pci_address": None,
            "pci_class": None,
            "pci_vendor": None,
            "pci_device": None,
            "numa_index": gpu.numa_index,
            "cpus": gpu.cpus,
            "power_state": None,
            "slot": None,
            "iommu_group": None,
            "max_payload_bytes": None,
            "max_read_request_bytes": None,
        }

    def _nvlink_counts(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        peers = [peer for peer in self._facts.peers if peer.kind is LinkKind.NVLINK]
        told = {(peer.a, peer.b) for peer in peers}
        for peer in peers:
            if peer.a == peer.b:
                reason = "The recorded NVLinks end at the GPU itself."
                self._miss(self._inventory.node_id(peer.a), "num_nvlinks", reason)
                continue
            counts[peer.a] = counts.get(peer.a, 0) + peer.count
            # Not every source tells a link from both of its ends.
            if peer.b_kind == "gpu" and peer.b is not None and (peer.b, peer.a) not in told:
                counts[peer.b] = counts.get(peer.b, 0) + peer.count
        return counts

    def _why_no_driver_facts(self) -> str:
        return next(
            (m.reason for m in self._facts.unknown if m.fact == "nvml"), "No source tells it."
        )

    def _partitions(self) -> Iterator[Partition]:
        for function in self._inventory.of(Kind.PARTITION):
            whole = self._inventory.node_id(function.physical_function or "")
            yield Partition(
                **self._pci(function, "partition", whole), partition_kind="virtual_function"
            )
        for part in self._facts.partitions:
            yield Partition(
                id=f"partition@{part.subject}/{part.key}",
                name=part.name,
                parent=self._inventory.node_id(part.subject),
                partition_kind=part.partition_kind,
            )

    def _nics(self) -> Iterator[Nic]:
        told = {nic.address: nic for nic in self._facts.nics}
        for function in self._inventory.of(Kind.NIC):
            nic = told.get(function.address, NicFact(key=""))
            link = function.nominal or function.maximum or function.current
            ports = self._ports(
                self._inventory.node_id(function.address),
                nic,
                link.bandwidth_bytes_per_s if link else None,
            )
            fields = self._pci(function, "nic")
            # People and flows call a NIC by its interface.
            fields["name"] = ports[0].name if ports else function.address
            fields["model"] = fields["model"] or nic.model
            yield Nic(**fields, ports=ports, is_bond=nic.is_bond, driver=function.driver)
        for nic in self._facts.nics:
            if nic.address is None:
                node_id = f"nic:{nic.key}"
                self._miss(node_id, "pci_address", "The source gives no PCI address.")
                yield Nic(
                    id=node_id,
                    name=nic.key,
                    model=nic.model,
                    parent="host",
                    ports=self._ports(node_id, nic, None),
                    is_bond=nic.is_bond,
                )

    def _ports(self, node_id: str, nic: NicFact, bandwidth: float | None) -> tuple[NicPort, ...]:
        ports = []
        for port in nic.ports:
            rate, complaint = port_rate(port, bandwidth)
            if complaint is not None:
                self.contradictions.append(
                    Contradiction(
                        subject=node_id,
                        fact=f"rate of {port.name}",
                        readings=complaint.readings,
                        meaning=complaint.meaning,
                    )
                )
            ports.append(msgspec.structs.replace(port, rate_bits_per_s=rate))
        return tuple(ports)

    def _drives(self) -> Iterator[Nvme]:
        told = {storage.address: storage for storage in self._facts.storage}
        for function in self._inventory.of(Kind.NVME):
            storage = told.get(function.address, StorageFact(address=function.address))
            fields = self._pci(function, "nvme")
            names = storage.block_devices
            fields["name"] = names[0] if names else function.address
            yield Nvme(**fields, block_devices=names, size_bytes=storage.size_bytes)

    def _nvswitches(self) -> Iterator[NvSwitch]:
        for function in self._inventory.of(Kind.NVSWITCH):
            yield NvSwitch(**self._pci(function, "nvswitch"))
        # Some are only known as the far end of NVLinks.
        far = {peer.b for peer in self._facts.peers if peer.b_kind == "nvswitch"}
        unseen = [b for b in far if b is not None and b not in self._inventory.functions]
        for address in sorted(unseen, key=sort_key):
            yield NvSwitch(
                id=f"nvswitch@{address}",
                name=f"NVSwitch {address}",
                parent="host",
                pci_address=address,
            )
        if None in far:
            self._miss(FABRIC, "pci_address", "No source tells the NVSwitches' addresses.")
            yield NvSwitch(id=FABRIC, name="NVSwitch fabric", parent="host")

    def _cxl_memories(self) -> Iterator[CxlMemory]:
        told = {memory.address: memory for memory in self._facts.memory_devices}
        for function in self._inventory.of(Kind.CXL_MEMORY):
            memory = told.get(function.address, MemoryDeviceFact(address=function.address))
            yield CxlMemory(**self._pci(function, "cxl_memory"), memory_bytes=memory.memory_bytes)

    def _others(self) -> Iterator[Other]:
        for function in self._inventory.of(Kind.OTHER):
            yield Other(**self._pci(function, "other"), role=role_of(function))

    def _pci(self, function: PciFact, kind: str, parent: str | None = None) -> _PciFields:
        is_endpoint = self._inventory.kinds[function.address] in LINKED
        return {
            "id": f"{kind}@{function.address}",
            "name": label_of(function),
            "model": model_of(function),
            "parent": self._inventory.above(function) if parent is None else parent,
            "pci_address": function.address,
            "pci_class": function.class_code,
            "pci_vendor": function.vendor,
            "pci_device": function.device,
            "numa_index": self._inventory.numa_index(function),
            "cpus": self._inventory.cpus(function) if is_endpoint else (),
            "power_state": function.power_state,
            "slot": function.slot,
            "iommu_group": function.iommu_group,
            "max_payload_bytes": function.max_payload_bytes,
            "max_read_request_bytes": function.max_read_request_bytes,
        }

    def _miss(self, subject: str, fact: str, reason: str) -> None:
        self.unknown.append(Missing(subject=subject, fact=fact, reason=reason))


def _clock_in(name: str | None) -> float | None:
    """Find the base clock that Intel prints in its model names (``… @ 2.50GHz``)."""
    match = _CLOCK_IN_NAME.search(name or "")
    return float(match[1]) * 1e9 if match else None
