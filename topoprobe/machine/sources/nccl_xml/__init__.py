"""Topology files of NCCL and RCCL: what `NCCL_TOPO_DUMP_FILE` writes and clouds ship.

Such a file shows CPUs (NUMA nodes), the switches above GPUs and NICs, and the links between GPUs.
It leaves out host bridges, root ports, downstream ports and everything else on the bus. A link's
speed is the lesser of both ends' capabilities (of GPUs, the current speed since NCCL 2.30.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from topoprobe.errors import InputError
from topoprobe.machine.addresses import normal_address, parse_cpu_mask
from topoprobe.machine.facts import (
    Facts,
    GpuFact,
    NicFact,
    NumaFact,
    PciFact,
    PeerFact,
    RootFact,
)
from topoprobe.machine.pcie import capability, parse_speed, parse_width
from topoprobe.machine.sources.nccl_xml.nets import Net, ports_of, read_nets
from topoprobe.machine.sources.nccl_xml.peers import PEER_KINDS, read_peer
from topoprobe.machine.sources.nccl_xml.words import architecture, class_code, pci_id, processor
from topoprobe.machine.sources.xml import integer, parse
from topoprobe.records.base import Missing
from topoprobe.records.machine import Contradiction, PortRole

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# The engine of a ConnectX-8 that moves data for GPUs is a function of its own [nccl].
_DATA_DIRECT = "0801"
_MAX_NUMA = 1 << 12


class _Place(msgspec.Struct, frozen=True):
    """Where an element stands: below which CPU, and below which bridge."""

    root: str
    numa: int | None
    parent: str | None = None


def read(data: bytes, name: str) -> Facts:
    """Read an NCCL or RCCL topology file.

    Raises
    ------
    InputError
        If it is not well-formed XML, or has no ``system`` root with CPUs or PCI devices.
    """
    root = parse(data, name)
    if root.tag != "system" or not any(e.tag == "cpu" or e.get("busid") for e in root.iter()):
        raise InputError(
            f"{name} has no <system> element with <cpu> elements; expected a topology file of NCCL."
        )
    reader = _Reader()
    reader.read_system(root)
    return reader.facts(f"nccl-xml {name}")


class _Reader:
    """Collects the facts of one file."""

    def __init__(self) -> None:
        self._numas: dict[int, NumaFact] = {}
        self._roots: dict[str, RootFact] = {}
        self._hosts: set[str | None] = set()
        self._functions: dict[str, PciFact] = {}
        self._places: dict[str, _Place] = {}
        self._nets: dict[str, list[Net]] = {}  # by subject
        self._gpus: dict[str, GpuFact] = {}
        self._peers: list[PeerFact] = []
        self._unknown: list[Missing] = []
        self._contradictions: list[Contradiction] = []

    def facts(self, source: str) -> Facts:
        self._miss(
            "host",
            "host bridges",
            "NCCL's files do not tell the host bridges of one NUMA node apart: PHB may be NODE in "
            "truth.",
        )
        nics = tuple(self._nics())
        carrying = {nic.address for nic in nics}
        return Facts(
            source=source,
            tree="switches",
            numas=tuple(self._numas.values()),
            roots=tuple(self._roots.values()),
            functions=tuple(
                msgspec.structs.replace(f, has_interface=True) if f.address in carrying else f
                for f in self._functions.values()
            ),
            nics=nics,
            gpus=tuple(self._gpus.values()),
            peers=tuple(self._peers),
            unknown=tuple(self._unknown),
            contradictions=tuple(self._contradictions),
        )

    def read_system(self, system: Element) -> None:
        """Read all CPUs of the first machine: NCCL joins the files of an NVLink domain into one."""
        hosts = list(dict.fromkeys(h for c in system.iter("cpu") if (h := c.get("host_hash"))))
        if len(hosts) > 1:
            reason = f"The file joins {len(hosts)} machines; only the first is read."
            self._miss("host", "other machines", reason)
        self._hosts = {None, *hosts[:1]}
        for element in system:
            self._read(element, _Place("cpu?", None))

    def _read_cpu(self, cpu: Element) -> None:
        numa = integer(cpu.get("numaid"))
        if numa is not None and not 0 <= numa < _MAX_NUMA:
            numa = None
        cpus = parse_cpu_mask(cpu.get("affinity", ""))
        if numa is not None:
            what = processor(cpu)
            name = f"NUMA node {numa}" + (f" ({what})" if what else "")
            self._numas.setdefault(numa, NumaFact(os_index=numa, name=name, cpus=cpus))
        key = f"cpu{len(self._roots)}?" if numa is None else f"cpu{numa}"
        name = "Host bridges" if numa is None else f"Host bridges of NUMA node {numa}"
        self._roots.setdefault(key, RootFact(key=key, name=name, numa_index=numa, cpus=cpus))
        for child in cpu:
            self._read(child, _Place(key, numa))

    def _read(self, element: Element, place: _Place, subject: str | None = None) -> None:
        """Read an element below a CPU, or below the PCI device that is `subject`."""
        if element.tag == "cpu":
            if element.get("host_hash") in self._hosts:
                self._read_cpu(element)
        elif element.tag == "pci" or (element.tag != "gpu" and element.get("busid")):
            self._read_pci(element, place)
        elif element.tag == "gpu":
            self._read_gpu(element, place, subject)
        elif element.tag in {"nic", "net"}:
            self._read_nic(element, place, subject)
        elif element.tag == "pcilink":
            reason = "Links between the virtual switches of one chip are left out: classes between "
            what_is_below = "what hangs on them may be one step too far."
            self._miss(subject or "host", "pcilink", reason + what_is_below)
        elif element.tag in PEER_KINDS and subject is not None:
            self._read_peers([element], subject, place)
        else:
            for child in element:
                self._read(child, place, subject)

    def _read_pci(self, pci: Element, place: _Place) -> None:
        address = normal_address(pci.get("busid", ""))
        if address is None:
            reason = "It is no PCI address, so where the device stands is lost."
            self._miss("host", f"pci {pci.get('busid', '')!r}", reason)
            for child in pci:
                self._read(child, place)
            return
        has_devices = pci.find("pci") is not None
        if address in self._functions:
            self._tell_twice(address, place)
        else:
            self._functions[address] = self._function(pci, address, place, has_devices)
            self._places[address] = place
            self._explain(pci, address, place)
        below = msgspec.structs.replace(place, parent=address)
        for child in pci:
            self._read(child, below, address)

    def _function(self, pci: Element, address: str, place: _Place, has_devices: bool) -> PciFact:
        code = class_code(pci.get("class"))
        if code is None and has_devices:
            code = "0604"
        is_bridge = code is not None and code.startswith("0604")
        if code is None:
            self._miss(address, "pci_class", f"The file says class={pci.get('class')!r}.")
        return PciFact(
            address=address,
            root=place.root,
            parent=place.parent,
            class_code=code,
            vendor=pci_id(pci.get("vendor")),
            device=pci_id(pci.get("device")),
            role=PortRole.UPSTREAM if is_bridge else None,
            nominal=capability(
                parse_speed(pci.get("link_speed", "")), parse_width(pci.get("link_width", ""))
            ),
            numa_index=place.numa,
            kind="gpu" if pci.find("gpu") is not None else None,
        )

    def _explain(self, pci: Element, address: str, place: _Place) -> None:
        speed, width = pci.get("link_speed", ""), pci.get("link_width", "")
        if parse_speed(speed) is None or parse_width(width) is None:
            reason = f'The file says link_speed="{speed}" link_width="{width}".'
            self._miss(address, "maximum", reason)
        if place.numa is None:
            self._miss(address, "numa_index", "The file gives no NUMA node (-1).")

    def _read_gpu(self, gpu: Element, place: _Place, subject: str | None) -> None:
        subject = subject or self._unplaced(gpu, place)
        sm, gcn = integer(gpu.get("sm")), gpu.get("gcn")
        function = self._functions.get(subject)
        is_amd = gcn is not None or (function is not None and function.vendor == "1002")
        is_known = sm is not None and 30 <= sm < 1000 and not is_amd
        compute = f"{sm // 10}.{sm % 10}" if sm is not None and is_known else None
        self._gpus.setdefault(
            subject,
            GpuFact(
                subject=subject,
                numa_index=place.numa,
                compute_capability=compute,
                architecture=architecture(gcn),
            ),
        )
        self._read_peers([e for e in gpu if e.tag in PEER_KINDS], subject, place)

    def _unplaced(self, gpu: Element, place: _Place) -> str:
        """Return the subject of a GPU that stands below no PCI device."""
        address, number = normal_address(gpu.get("busid", "")), integer(gpu.get("dev"))
        if address is None:
            return f"gpu:{len(self._gpus) if number is None or number < 0 else number}"
        self._functions.setdefault(
            address,
            PciFact(address=address, root=place.root, numa_index=place.numa, kind="gpu"),
        )
        return address

    def _read_peers(self, elements: list[Element], subject: str, place: _Place) -> None:
        gpu = self._gpus.get(subject)
        compute = gpu.compute_capability if gpu else None
        for element in elements:
            found = read_peer(element, subject, compute, place.numa)
            if isinstance(found, PeerFact):
                self._peers.append(found)
            else:
                self._unknown.append(found)

    def _read_nic(self, nic: Element, place: _Place, subject: str | None) -> None:
        for net in read_nets(nic):
            where = subject or f"nic:{net.name}"
            if subject is None and where in self._nets and place != self._places[where]:
                self._tell_twice(where, place)
            self._places.setdefault(where, place)
            self._nets.setdefault(where, []).append(net)

    def _nics(self) -> Iterator[NicFact]:
        """Yield each NIC once: its engine for GPUs is no NIC if the NIC itself is in the file."""
        whole = {net.guid for s, nets in self._nets.items() if not self._moves(s) for net in nets}
        for subject, nets in self._nets.items():
            if self._moves(subject) and all(net.guid and net.guid in whole for net in nets):
                reason = "It moves data for a NIC that stands elsewhere in the file."
                self._miss(subject, "network ports", reason)
                continue
            ports = ports_of(nets)
            for port in ports:
                if port.rate_bits_per_s is None:
                    self._miss(subject, f"rate of {port.name}", "The file gives no speed.")
            is_placed = subject in self._functions
            yield NicFact(
                key=subject.removeprefix("nic:"),
                address=subject if is_placed else None,
                ports=ports,
            )

    def _moves(self, subject: str) -> bool:
        """Tell whether a function is the engine of a NIC that moves data for GPUs."""
        function = self._functions.get(subject)
        code = function.class_code if function else None
        return code is not None and code.startswith(_DATA_DIRECT)

    def _tell_twice(self, subject: str, place: _Place) -> None:
        self._contradictions.append(
            Contradiction(
                subject=subject,
                fact="parent",
                readings=(_said(self._places[subject]), _said(place)),
                meaning="The device stands in the file twice; its first place is used.",
            )
        )

    def _miss(self, subject: str, fact: str, reason: str) -> None:
        self._unknown.append(Missing(subject=subject, fact=fact, reason=reason))


def _said(place: _Place) -> str:
    cpu = "a CPU without a NUMA node" if place.numa is None else f"NUMA node {place.numa}"
    return f"below {place.parent} of {cpu}" if place.parent else f"below {cpu}"
