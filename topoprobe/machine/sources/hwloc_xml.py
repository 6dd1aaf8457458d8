"""hwloc's XML, in the dialects of versions 1, 2 and 3: what `lstopo machine.xml` writes.

A link's speed in such a file is the current one, in GB/s and without rate or width. Host bridges
hang on the part of the machine whose CPUs they are near to, and devices inherit that place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from topoprobe.errors import InputError
from topoprobe.machine.addresses import normal_address, parse_cpu_mask
from topoprobe.machine.facts import (
    Facts,
    GpuFact,
    HostFact,
    MemoryDeviceFact,
    NicFact,
    NumaFact,
    PackageFact,
    PciFact,
    PeerFact,
    RootFact,
    StorageFact,
)
from topoprobe.machine.nvlink import capability_of_device, nvlink_bytes_per_s
from topoprobe.machine.pcie import read_bandwidth
from topoprobe.machine.sources.xml import integer, parse
from topoprobe.records.base import Missing
from topoprobe.records.machine import Cache, Contradiction, LinkKind, NicPort
from topoprobe.units import format_rate

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_PCI_TYPE = re.compile(r"([0-9a-f]{4}) \[([0-9a-f]{4}):([0-9a-f]{4})\]", re.IGNORECASE)
_BRIDGE_PCI = re.compile(r"([0-9a-f]+):\[([0-9a-f]+)-([0-9a-f]+)\]", re.IGNORECASE)
_CACHE_TYPES: dict[str, Literal["data", "instruction", "unified"]] = {
    "0": "unified", "1": "data", "2": "instruction",
}  # fmt: skip
_SECTOR_BYTES = 512
_GUESTS = ("KVM", "QEMU", "VMware", "Virtual Machine", "VirtualBox", "HVM domU", "Bochs")


def read(data: bytes, name: str) -> Facts:
    """Read an hwloc XML file.

    Raises
    ------
    InputError
        If it is not well-formed XML, or has no ``topology`` root with a machine in it.
    """
    root = parse(data, name)
    machine = next((o for o in root.iter("object") if o.get("type") == "Machine"), None)
    if root.tag != "topology" or machine is None:
        raise InputError(
            f"{name} has no <topology> element with a Machine object; expected an hwloc XML file."
        )
    return _Reader(root, machine).facts(f"hwloc-xml {name}")


class _Reader:
    """Collects the facts of one file."""

    def __init__(self, root: Element, machine: Element) -> None:
        self._root = root
        self._machine = machine
        # Version 3 moved the machine's remarks from the machine to the end of the file.
        self._infos = {**_infos(machine), **_infos(root)}
        objects = list(machine.iter("object"))
        self._lists_interfaces = any(_is_network(o) for o in objects)
        self._roots: list[RootFact] = []
        self._functions: dict[str, PciFact] = {}
        self._nics: list[NicFact] = []
        self._storage: list[StorageFact] = []
        self._memories: list[MemoryDeviceFact] = []
        self._gpus: list[GpuFact] = []
        self._address_of: dict[str, str] = {}  # gp_index of a PCI or OS device -> address
        self._unknown: list[Missing] = []
        self._contradictions: list[Contradiction] = []

    def facts(self, source: str) -> Facts:
        self._walk(self._machine, self._machine)
        return Facts(
            source=source,
            tree="full",
            host=self._host(),
            packages=tuple(self._packages()),
            numas=tuple(self._numas()),
            roots=tuple(self._roots),
            functions=tuple(self._functions.values()),
            nics=tuple(self._nics),
            storage=tuple(self._storage),
            memory_devices=tuple(self._memories),
            gpus=tuple(self._gpus),
            peers=tuple(self._peers()),
            unknown=tuple(self._unknown),
            contradictions=tuple(self._contradictions),
        )

    def _host(self) -> HostFact:
        infos = self._infos
        product = infos.get("DMIProductName") or infos.get("PlatformModel")
        system = " ".join(infos[key] for key in ("OSName", "OSRelease") if infos.get(key))
        guest = next((g for g in _GUESTS if g in f"{product} {infos.get('DMISysVendor')}"), None)
        return HostFact(
            name=infos.get("HostName") or product,
            operating_system=system or None,
            product=product,
            is_virtual=True if guest else None,
            virtualization=guest,
        )

    def _packages(self) -> Iterator[PackageFact]:
        for package in _objects(self._machine, "Package", "Socket"):
            os_index = integer(package.get("os_index"))
            if os_index is None:
                continue
            infos = _infos(package)
            yield PackageFact(
                os_index=os_index,
                name=infos.get("CPUModel", "").strip() or None,
                vendor=infos.get("CPUVendor"),
                architecture=self._infos.get("Architecture"),
                num_cores=sum(1 for _ in _objects(package, "Core")) or None,
                num_threads=sum(1 for _ in _objects(package, "PU")) or None,
                cpus=parse_cpu_mask(package.get("cpuset", "")),
                caches=tuple(_caches(package)),
            )

    def _numas(self) -> Iterator[NumaFact]:
        distances = self._numa_distances()
        for numa in _objects(self._machine, "NUMANode"):
            os_index = integer(numa.get("os_index"))
            if os_index is None:
                continue
            cpus = parse_cpu_mask(numa.get("cpuset", ""))
            yield NumaFact(
                os_index=os_index,
                name=None if cpus else f"NUMA node {os_index} (memory without CPUs)",
                memory_bytes=integer(numa.get("local_memory")),
                cpus=cpus,
                distances=distances.get(os_index, ()),
            )

    def _numa_distances(self) -> dict[int, tuple[int, ...]]:
        for matrix in self._root.iter("distances2"):
            if matrix.get("type") == "NUMANode" and matrix.get("name") == "NUMALatency":
                ends, values = _numbers(matrix, "indexes"), _numbers(matrix, "u64values")
                size = len(ends)
                if len(values) == size * size and matrix.get("indexing") == "os":
                    return {
                        end: tuple(values[row * size : (row + 1) * size])
                        for row, end in enumerate(ends)
                    }
        return {}

    def _walk(self, element: Element, place: Element) -> None:
        """Find host bridges; `place` is the innermost object with CPUs around the element."""
        for child in element.findall("object"):
            if child.get("type") == "Bridge" and (child.get("bridge_type") or "").startswith("0-"):
                self._read_root(child, place)
            elif child.get("type") in {"PCIDev", "Bridge"}:
                self._read_tree(child, None, None)
            else:
                self._walk(child, child if child.get("cpuset") else place)

    def _read_root(self, bridge: Element, place: Element) -> None:
        match = _BRIDGE_PCI.fullmatch(bridge.get("bridge_pci", ""))
        if match is None:
            return
        key = f"{int(match[1], 16):04x}:{int(match[2], 16):02x}"
        nodes = parse_cpu_mask(place.get("nodeset", ""))
        cpus = parse_cpu_mask(place.get("cpuset", ""))
        numa = nodes[0] if len(nodes) == 1 else None
        self._roots.append(RootFact(key=key, numa_index=numa, cpus=cpus))
        before = set(self._functions)
        for child in bridge.findall("object"):
            self._read_tree(child, key, None)
        if numa is None:
            reason = f"hwloc attaches host bridge {key} to {len(nodes)} NUMA nodes."
            self._unknown.extend(
                Missing(subject=address, fact="numa_index", reason=reason)
                for address in self._functions
                if address not in before
            )

    def _read_tree(self, element: Element, root: str | None, parent: str | None) -> None:
        address = normal_address(element.get("pci_busid", ""))
        if element.get("type") not in {"PCIDev", "Bridge"} or address is None:
            return
        # An unreadable config space shows as all zeros.
        match = _PCI_TYPE.match(element.get("pci_type", ""))
        class_code, vendor, device = (
            (part.lower() for part in match.groups()) if match else [""] * 3
        )
        is_readable = vendor not in {"", "0000", "ffff"}
        infos = _infos(element)
        self._address_of[element.get("gp_index", "")] = address
        is_switch = element.get("subtype") == "NVSwitch"
        if not is_readable:
            reason = "hwloc could not read its configuration space."
            self._unknown.append(Missing(subject=address, fact="pci_vendor", reason=reason))
        self._functions[address] = PciFact(
            address=address,
            root=root,
            parent=parent,
            class_code=class_code if is_readable else None,
            vendor=vendor if is_readable else None,
            device=device if is_readable else None,
            name=infos.get("PCIDevice"),
            current=None,
            kind="nvswitch" if is_switch else None,
            has_interface=self._read_devices(element, address, vendor, device),
        )
        self._read_speed(element, address)
        for child in element.findall("object"):
            self._read_tree(child, root, address)

    def _read_speed(self, element: Element, address: str) -> None:
        import msgspec

        try:
            gigabytes = float(element.get("pci_link_speed", "0"))
        except ValueError:
            gigabytes = 0.0
        reading = read_bandwidth(gigabytes * 1e9) if gigabytes < 1e6 else None
        self._unknown.append(
            Missing(
                subject=address,
                fact="maximum",
                reason="hwloc records the current speed of links, not what they can do."
                if reading
                else "hwloc recorded a link speed of 0, which means unknown.",
            )
        )
        if reading is None:
            return
        self._functions[address] = msgspec.structs.replace(
            self._functions[address], current=reading.capability
        )
        if reading.slip is not None:
            right = reading.capability.bandwidth_bytes_per_s or 0.0
            self._contradictions.append(
                Contradiction(
                    subject=address,
                    fact="current",
                    readings=(f"{gigabytes:g} GB/s in the file", f"{format_rate(right)} by PCIe"),
                    meaning=f"The file's figure is {reading.slip}.",
                )
            )

    def _read_devices(
        self, element: Element, address: str, vendor: str, device: str
    ) -> bool | None:
        """Read the OS devices of a function; tell whether one is a network interface."""
        inside = [o for o in element.findall("object") if o.get("type") == "OSDev"]
        for inner in inside:
            self._address_of[inner.get("gp_index", "")] = address
        self._read_gpu(inside, address, vendor, device)
        self._read_storage(inside, address)
        networks = [o for o in inside if _is_network(o)]
        if networks:
            self._nics.append(NicFact(key=address, address=address, ports=_nic_ports(networks)))
            return True
        return False if self._lists_interfaces else None

    def _read_gpu(self, devices: list[Element], address: str, vendor: str, device: str) -> None:
        infos: dict[str, str] = {}
        for inner in devices:
            infos.update(_infos(inner))
        if "GPUModel" not in infos:
            return
        memory = integer(infos.get("CUDAGlobalMemorySize") or infos.get("NVMLGlobalMemorySize"))
        self._gpus.append(
            GpuFact(
                subject=address,
                name=infos["GPUModel"],
                uuid=infos.get("NVIDIAUUID"),
                memory_bytes=memory * 1024 if memory else None,
                compute_capability=capability_of_device(vendor, device),
            )
        )

    def _read_storage(self, devices: list[Element], address: str) -> None:
        disks = [o for o in devices if o.get("subtype") == "Disk"]
        sizes = [integer(_infos(o).get("Size")) for o in disks]  # KiB
        memories = [_infos(o) for o in devices if o.get("subtype") == "CXLMem"]
        if disks:
            known = [size for size in sizes if size is not None]
            self._storage.append(
                StorageFact(
                    address=address,
                    block_devices=tuple(sorted(o.get("name", "") for o in disks)),
                    size_bytes=sum(known) * 1024 if len(known) == len(sizes) else None,
                )
            )
        for infos in memories:
            sizes = [
                integer(infos.get(key, "").removesuffix("KiB"))
                for key in ("CXLRAMSize", "CXLPMEMSize")
            ]
            total = sum(size for size in sizes if size is not None)
            self._memories.append(
                MemoryDeviceFact(address=address, memory_bytes=total * 1024 or None)
            )

    def _peers(self) -> Iterator[PeerFact]:
        for matrix in (*self._root.iter("distances2"), *self._root.iter("distances2hetero")):
            kind = {"NVLinkBandwidth": LinkKind.NVLINK, "XGMIBandwidth": LinkKind.XGMI}.get(
                matrix.get("name", "")
            )
            ends, values = _words(matrix, "indexes"), _numbers(matrix, "u64values")
            if kind is None or len(values) != len(ends) ** 2:
                continue
            # Mixed matrices write the type before the index: `OSDev:802`.
            addresses = [self._address_of.get(end.rpartition(":")[2]) for end in ends]
            for row, a in enumerate(addresses):
                for column, b in enumerate(addresses):
                    value = values[row * len(ends) + column]
                    if a and b and a != b and value > 0:
                        yield from self._peer(a, b, kind, value * 1e6)

    def _peer(self, a: str, b: str, kind: LinkKind, rate: float) -> Iterator[PeerFact]:
        if self._functions[a].kind == "nvswitch":
            return  # told by the GPU's row
        gpu = self._functions[a]
        per_link = (
            nvlink_bytes_per_s(capability_of_device(gpu.vendor, gpu.device))
            if kind is LinkKind.NVLINK
            else None
        )
        yield PeerFact(
            a=a,
            b=b,
            b_kind="nvswitch" if self._functions[b].kind == "nvswitch" else "gpu",
            kind=kind,
            count=max(1, round(rate / per_link)) if per_link else 1,
            bandwidth_bytes_per_s=rate,
        )


def _caches(package: Element) -> Iterator[Cache]:
    found: dict[tuple[int, Literal["data", "instruction", "unified"], int], int] = {}
    for element in package.iter("object"):
        level, size = integer(element.get("depth")), integer(element.get("cache_size"))
        kind = _CACHE_TYPES.get(element.get("cache_type", ""))
        if level and size and kind:
            found[level, kind, size] = found.get((level, kind, size), 0) + 1
    for (level, kind, size), count in sorted(found.items()):
        yield Cache(level=level, type=kind, size_bytes=size, num_instances=count)


def _is_network(element: Element) -> bool:
    """Tell whether an OS device is a network interface or a verbs device.

    Versions 1 and 2 number the kinds (2 network, 3 OpenFabrics); version 3 has a bit mask (16
    network, 32 OpenFabrics), whose values do not meet the older ones.
    """
    if element.get("type") != "OSDev" or element.get("subtype") in {"Disk", "CXLMem", "SPM"}:
        return False
    kind = integer(element.get("osdev_type")) or 0
    return kind in {2, 3} or (kind >= 16 and bool(kind & 48))


def _nic_ports(networks: list[Element]) -> tuple[NicPort, ...]:
    """Pair each verbs device with the interface of the same function."""

    def is_verbs(element: Element) -> bool:
        kind = integer(element.get("osdev_type")) or 0
        return kind == 3 or bool(kind >= 32 and kind & 32)

    verbs = [o.get("name", "") for o in networks if is_verbs(o)]
    interfaces = [o.get("name", "") for o in networks if not is_verbs(o)]
    ports = []
    for index in range(max(len(verbs), len(interfaces))):
        device = verbs[index] if index < len(verbs) else None
        interface = interfaces[index] if index < len(interfaces) else None
        if device is None and len(verbs) == 1:
            device = verbs[0]  # one verbs device with several ports
        ports.append(
            NicPort(name=device or interface or "", net_interface=interface, verbs_device=device)
        )
    return tuple(ports)


def _objects(element: Element, *types: str) -> Iterator[Element]:
    return (o for o in element.iter("object") if o.get("type") in types)


def _infos(element: Element) -> dict[str, str]:
    return {i.get("name", ""): i.get("value", "") for i in element.findall("info")}


def _words(matrix: Element, tag: str) -> list[str]:
    return [word for part in matrix.findall(tag) for word in (part.text or "").split()]


def _numbers(matrix: Element, tag: str) -> list[int]:
    return [int(word) for word in _words(matrix, tag) if word.isdecimal()]
