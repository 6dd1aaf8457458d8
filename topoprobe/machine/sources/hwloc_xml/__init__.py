"""hwloc's XML, in the dialects of versions 1, 2 and 3: what `lstopo machine.xml` writes.

A link's speed in such a file is the current one, in GB/s and without rate or width; that of an
NVIDIA GPU is what NVML told, which is another thing in each of hwloc's releases. Host bridges
hang on the part of the machine whose CPUs they are near to, and devices inherit that place. Where
hwloc knows that a board's firmware tells wrong places it has mended them before it writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from topoprobe.errors import InputError
from topoprobe.machine.addresses import normal_address, parse_cpu_mask
from topoprobe.machine.devices import Kind, kind_of
from topoprobe.machine.facts import (
    Facts,
    GpuFact,
    HostFact,
    MemoryDeviceFact,
    NicFact,
    PartitionFact,
    PciFact,
    PeerFact,
    RootFact,
    StorageFact,
)
from topoprobe.machine.nvlink import capability_of_device
from topoprobe.machine.pcie import read_bandwidth
from topoprobe.machine.sources.hwloc_xml import osdevices
from topoprobe.machine.sources.hwloc_xml.cpus import (
    nodes_near,
    number,
    read_numas,
    read_packages,
)
from topoprobe.machine.sources.hwloc_xml.dialect import OsKinds, infos, objects
from topoprobe.machine.sources.hwloc_xml.matrices import Ends, read_peers
from topoprobe.machine.sources.xml import parse
from topoprobe.records.base import Missing
from topoprobe.records.machine import Contradiction
from topoprobe.units import format_rate

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_PCI_TYPE = re.compile(r"([0-9a-f]{4}) \[([0-9a-f]{4}):([0-9a-f]{4})\]", re.IGNORECASE)
_BRIDGE_PCI = re.compile(r"([0-9a-f]{1,8}):\[([0-9a-f]{1,2})-([0-9a-f]{1,2})\]", re.IGNORECASE)
_CURRENT = "hwloc records the current speed of links, not what they can do."
# topology-nvml.c overwrites what was read of the device [hwloc].
_NVMLS = (
    "hwloc's figure for this GPU is NVML's: before release 3 the most that GPU and system can do "
    "(older ones call Gen4 and later Gen3), since then the speed when it was read."
)
_GUESTS = ("KVM", "QEMU", "VMware", "Virtual Machine", "VirtualBox", "HVM domU", "Bochs")


def read(data: bytes, name: str) -> Facts:
    """Read an hwloc XML file.

    Raises
    ------
    InputError
        If it is not well-formed XML, or has no ``topology`` root with a machine in it.
    """
    root = parse(data, name)
    machine = next((o for o in root.iter("object") if o.get("type") in {"Machine", "System"}), None)
    if root.tag != "topology" or machine is None:
        raise InputError(
            f"{name} has no <topology> element with a Machine object; expected an hwloc XML file."
        )
    return _Reader(root, machine).facts(f"hwloc-xml {name}")


class _Above(NamedTuple):
    """What is above a PCI device: host bridge, bridge, and the part of the machine around it."""

    root: str | None
    parent: str | None
    place: Element


class _Reader:
    """Collects the facts of one file."""

    def __init__(self, root: Element, machine: Element) -> None:
        self._root = root
        self._machine = machine
        # Version 3 moved the machine's remarks from the machine to the end of the file.
        self._infos = {**infos(machine), **infos(root)}
        self._kinds = OsKinds(root)
        self._numas = read_numas(root, machine, self._infos.get("Architecture"))
        self._lists_interfaces = any(
            self._kinds.is_network(o) for o in machine.iter("object") if o.get("type") == "OSDev"
        )
        self._roots: dict[str, RootFact] = {}
        self._functions: dict[str, PciFact] = {}
        self._nics: list[NicFact] = []
        self._storage: list[StorageFact] = []
        self._memories: list[MemoryDeviceFact] = []
        self._gpus: list[GpuFact] = []
        self._parts: dict[str, list[str]] = {}  # of each GPU, as its library calls them
        # OS devices that hang on no PCI device, each with what they hang on.
        self._loose: list[tuple[Element, Element]] = []
        self._address_of: dict[str, str] = {}  # gp_index of a PCI or OS device -> address
        self._unknown: list[Missing] = []
        self._contradictions: list[Contradiction] = []

    def facts(self, source: str) -> Facts:
        self._walk(self._machine, self._machine)
        self._read_loose()
        self._tell_what_is_left_out()
        return Facts(
            source=source,
            tree="full" if self._roots else "none",
            host=self._host(),
            packages=tuple(read_packages(self._machine, self._infos.get("Architecture"))),
            numas=self._numas,
            roots=tuple(self._roots.values()),
            functions=tuple(self._functions.values()),
            nics=tuple(self._nics),
            storage=tuple(self._storage),
            memory_devices=tuple(self._memories),
            gpus=tuple(self._divided()),
            partitions=tuple(
                PartitionFact(key=name, subject=gpu, name=name, partition_kind="compute")
                for gpu, names in self._parts.items()
                for name in names
                if len(names) > 1
            ),
            peers=tuple(self._peers()),
            unknown=tuple(self._unknown),
            contradictions=tuple(self._contradictions),
        )

    def _host(self) -> HostFact:
        told = self._infos
        product = told.get("DMIProductName") or told.get("PlatformModel")
        system = " ".join(told[key] for key in ("OSName", "OSRelease") if told.get(key))
        guest = next((g for g in _GUESTS if g in f"{product} {told.get('DMISysVendor')}"), None)
        return HostFact(
            name=told.get("HostName") or product,
            operating_system=system or None,
            product=product,
            is_virtual=True if guest else None,
            virtualization=guest,
        )

    def _walk(self, element: Element, place: Element) -> None:
        """Find PCI devices; `place` is the innermost object with CPUs around the element."""
        for child in element.findall("object"):
            kind = child.get("type")
            if kind == "Bridge" and child.get("pci_busid") is None:
                self._read_root(child, place)
            elif kind in {"PCIDev", "Bridge"} or child.get("pci_busid") is not None:
                self._read_tree(child, _Above(None, None, place))
            elif kind == "OSDev":
                self._loose.append((child, element))
            else:
                self._walk(child, child if child.get("cpuset") else place)

    def _read_root(self, bridge: Element, place: Element) -> None:
        key = _root_key(bridge) or f"bridge{len(self._roots)}"
        nodes = nodes_near(place, self._numas)
        numa = nodes[0] if len(nodes) == 1 else None
        cpus = parse_cpu_mask(place.get("cpuset", ""))
        self._roots.setdefault(key, RootFact(key=key, numa_index=numa, cpus=cpus))
        before = set(self._functions)
        self._read_below(bridge, _Above(key, None, place))
        if numa is None:
            reason = f"hwloc attaches host bridge {key} to {len(nodes)} NUMA nodes."
            for address in self._functions.keys() - before:
                self._miss(address, "numa_index", reason)

    def _read_tree(self, element: Element, above: _Above) -> None:
        """Read a PCI device and what is below it."""
        address = normal_address(element.get("pci_busid", ""))
        if address is None:
            what = element.get("pci_busid") or element.get("name") or element.get("pci_type")
            self._miss("host", f"pci {what!r}", "It has no PCI address, so it is left out.")
        elif address in self._functions:
            self._tell_twice(address, above)
        else:
            self._read_function(element, address, above)
        self._read_below(element, above if address is None else above._replace(parent=address))

    def _read_below(self, element: Element, above: _Above) -> None:
        if element.get("type") == "Bridge" or normal_address(element.get("pci_busid", "")) is None:
            self._loose.extend((o, element) for o in _os_devices(element))
        for child in element.findall("object"):
            if child.get("type") not in {"OSDev", "Misc"}:
                self._read_tree(child, above)

    def _read_function(self, element: Element, address: str, above: _Above) -> None:
        # An unreadable config space shows as all zeros.
        match = _PCI_TYPE.match(element.get("pci_type", ""))
        code, vendor, device = (part.lower() for part in match.groups()) if match else ("", "", "")
        is_readable = vendor not in {"", "0000", "ffff"}
        if not is_readable:
            reason = "hwloc could not read its configuration space."
            self._miss(address, "pci_vendor", reason)
            code = vendor = device = ""
        is_bridge = element.get("type") == "Bridge"
        if is_bridge and not code.startswith("06"):
            code = "0604"
        self._address_of[element.get("gp_index", "")] = address
        inside = [] if is_bridge else _os_devices(element)
        for inner in inside:
            self._address_of[inner.get("gp_index", "")] = address
        nodes = [] if above.root else nodes_near(above.place, self._numas)
        is_switch = element.get("subtype") == "NVSwitch"
        is_gpu = any(osdevices.is_gpu(o) for o in inside)
        self._functions[address] = PciFact(
            address=address,
            root=above.root,
            parent=above.parent,
            class_code=code or None,
            vendor=vendor or None,
            device=device or None,
            name=infos(element).get("PCIDevice"),
            kind="nvswitch" if is_switch else "gpu" if is_gpu and not code else None,
            numa_index=nodes[0] if len(nodes) == 1 else None,
            has_interface=self._read_devices(inside, address, vendor, device),
        )
        self._read_speed(element, address, is_told_by_nvml=any(map(osdevices.is_nvml, inside)))

    def _read_devices(
        self, inside: list[Element], address: str, vendor: str, device: str
    ) -> bool | None:
        """Read the OS devices of a function; tell whether one is a network interface."""
        gpu = osdevices.gpu_of(inside, address, capability_of_device(vendor, device))
        if gpu is not None:
            self._gpus.append(gpu)
            self._parts.setdefault(address, []).extend(osdevices.managed(inside))
        storage = osdevices.storage_of(inside, self._kinds, address)
        if storage is not None:
            self._storage.append(storage)
        self._memories.extend(osdevices.memories_of(inside, address))
        nic = osdevices.nic_of(inside, self._kinds, address)
        if nic is not None:
            self._nics.append(nic)
            return True
        return False if self._lists_interfaces else None

    def _read_speed(self, element: Element, address: str, *, is_told_by_nvml: bool) -> None:
        gigabytes = number(element.get("pci_link_speed")) or 0.0
        reading = read_bandwidth(gigabytes * 1e9)
        if reading is None:
            self._miss(address, "maximum", "hwloc recorded no link speed, or 0 for unknown.")
            return
        self._miss(address, "maximum", _NVMLS if is_told_by_nvml else _CURRENT)
        field = "current_or_maximum" if is_told_by_nvml else "current"
        self._functions[address] = msgspec.structs.replace(
            self._functions[address], **{field: reading.capability}
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

    def _read_loose(self) -> None:
        """Keep the ports and GPUs whose PCI functions the file does not have.

        Partitions of a GPU have functions of their own for its library, which do not exist on the
        bus: hwloc hangs them on what is above the GPU.
        """
        for element, around in self._loose:
            if osdevices.is_gpu(element):
                self._read_stray_gpu(element, self._only_gpu_in(around))
            elif self._kinds.is_network(element):
                port = osdevices.nic_ports([element], self._kinds)[0]
                self._nics.append(NicFact(key=port.name, ports=(port,)))

    def _read_stray_gpu(self, element: Element, whole: str | None) -> None:
        """Take it for a part of the GPU that is near, or for one without a place."""
        names = osdevices.managed([element])
        if whole is not None:
            self._address_of[element.get("gp_index", "")] = whole
            self._parts.setdefault(whole, []).extend(names)
        elif names and not self._functions:
            gpu = osdevices.gpu_of([element], f"gpu:{len(self._gpus)}", None)
            self._gpus.extend([gpu] if gpu else [])
        else:
            reason = "Its PCI function is not in the file, so it may be any GPU or a part of one."
            self._miss("host", f"GPU {element.get('name')}", reason)

    def _divided(self) -> Iterator[GpuFact]:
        """Yield the GPUs with the name of their mode, if their library knows several parts."""
        for gpu in self._gpus:
            count = len(self._parts.get(gpu.subject, ()))
            yield msgspec.structs.replace(gpu, partition_mode=osdevices.MODES.get(count))

    def _only_gpu_in(self, around: Element) -> str | None:
        """Return the GPU below a part of the machine, if there is one and no more."""
        addresses = (normal_address(o.get("pci_busid", "")) for o in around.iter("object"))
        inside = [self._functions[a] for a in addresses if a in self._functions]
        gpus = [f.address for f in inside if kind_of(f, has_storage=False) is Kind.GPU]
        return gpus[0] if len(gpus) == 1 else None

    def _tell_what_is_left_out(self) -> None:
        if not self._functions:
            made_up = self._infos.get("Backend") == "Synthetic"
            self._miss(
                "host",
                "PCI devices",
                "The machine is made up (synthetic) and has none."
                if made_up
                else "The file has none: it was written without I/O devices.",
            )
        elif not self._roots:
            reason = "The file was written without bridges."
            self._miss("host", "host bridges", reason)

    def _peers(self) -> list[PeerFact]:
        models = {gpu.subject: gpu.name for gpu in self._gpus if gpu.name}
        ends = Ends(self._address_of, self._numas_by_number(), self._functions, models)
        found = list(read_peers(self._root, ends))
        self._unknown.extend(item for item in found if isinstance(item, Missing))
        return [item for item in found if isinstance(item, PeerFact)]

    def _numas_by_number(self) -> dict[str, int]:
        """Return the NUMA node of each package and node, by the file's own numbers of objects."""
        places = objects(self._machine, "Package", "Socket", "NUMANode")
        near = {o.get("gp_index", ""): nodes_near(o, self._numas) for o in places}
        return {number: nodes[0] for number, nodes in near.items() if nodes}

    def _tell_twice(self, address: str, above: _Above) -> None:
        first = self._functions[address]
        self._contradictions.append(
            Contradiction(
                subject=address,
                fact="parent",
                readings=(
                    f"below {first.parent or first.root or 'the machine'}",
                    f"below {above.parent or above.root or 'the machine'}",
                ),
                meaning="The device stands in the file twice; its first place is used.",
            )
        )

    def _miss(self, subject: str, fact: str, reason: str) -> None:
        self._unknown.append(Missing(subject=subject, fact=fact, reason=reason))


def _os_devices(element: Element) -> list[Element]:
    return [o for o in element.findall("object") if o.get("type") == "OSDev"]


def _root_key(bridge: Element) -> str | None:
    """Return a host bridge's domain and first bus: told, or that of the first device below it."""
    match = _BRIDGE_PCI.fullmatch(bridge.get("bridge_pci", ""))
    if match is not None:
        return f"{int(match[1], 16):04x}:{int(match[2], 16):02x}"
    addresses = (normal_address(o.get("pci_busid", "")) for o in bridge.iter("object"))
    first = next((address for address in addresses if address), None)
    return None if first is None else first.rpartition(":")[0]
