"""Topology files of NCCL and RCCL: what `NCCL_TOPO_DUMP_FILE` writes and clouds ship.

Such a file shows CPUs (NUMA nodes), the switches above GPUs and NICs, and the links between GPUs.
It leaves out host bridges, root ports, downstream ports and everything else on the bus. A link's
speed is the lesser of both ends' capabilities (of GPUs, the current speed since NCCL 2.30.3).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

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
from topoprobe.machine.nvlink import nvlink_bytes_per_s
from topoprobe.machine.pcie import capability, parse_speed, parse_width
from topoprobe.machine.sources.xml import integer, parse
from topoprobe.records.base import Missing
from topoprobe.records.machine import Contradiction, LinkKind, NicPort, PortRole

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_PEER_KINDS = {"nvlink": LinkKind.NVLINK, "xgmi": LinkKind.XGMI, "c2c": LinkKind.C2C}
_NVIDIA_FAMILY_SUM = {"143": "23 (17h)", "175": "25 (19h)"}


def read(data: bytes, name: str) -> Facts:
    """Read an NCCL or RCCL topology file.

    Raises
    ------
    InputError
        If it is not well-formed XML, or has no ``system`` root with ``cpu`` elements.
    """
    root = parse(data, name)
    if root.tag != "system" or root.find("cpu") is None:
        raise InputError(
            f"{name} has no <system> element with <cpu> elements; expected a topology file of NCCL."
        )
    reader = _Reader()
    for position, cpu in enumerate(root.iter("cpu")):
        reader.read_cpu(cpu, position)
    return reader.facts(f"nccl-xml {name}")


class _Reader:
    """Collects the facts of one file."""

    def __init__(self) -> None:
        self._numas: dict[int, NumaFact] = {}
        self._roots: dict[str, RootFact] = {}
        self._functions: dict[str, PciFact] = {}
        self._nics: dict[str, NicFact] = {}
        self._gpus: list[GpuFact] = []
        self._peers: list[PeerFact] = []
        self._unknown: list[Missing] = []
        self._contradictions: list[Contradiction] = []

    def facts(self, source: str) -> Facts:
        self._unknown.append(
            Missing(
                subject="host",
                fact="host bridges",
                reason="NCCL's files do not tell the host bridges of one NUMA node apart: PHB may "
                "be NODE in truth.",
            )
        )
        return Facts(
            source=source,
            tree="switches",
            numas=tuple(self._numas.values()),
            roots=tuple(self._roots.values()),
            functions=tuple(self._functions.values()),
            nics=tuple(self._nics.values()),
            gpus=tuple(self._gpus),
            peers=tuple(self._peers),
            unknown=tuple(self._unknown),
            contradictions=tuple(self._contradictions),
        )

    def read_cpu(self, cpu: Element, position: int) -> None:
        numa = integer(cpu.get("numaid"))
        if numa is not None and numa < 0:
            numa = None
        cpus = parse_cpu_mask(cpu.get("affinity", ""))
        if numa is not None:
            self._numas.setdefault(
                numa, NumaFact(os_index=numa, name=_processor(cpu, numa), cpus=cpus)
            )
        key = f"cpu{position if numa is None else numa}"
        self._roots.setdefault(
            key,
            RootFact(
                key=key,
                name="Host bridges" if numa is None else f"Host bridges of NUMA node {numa}",
                numa_index=numa,
                cpus=cpus,
            ),
        )
        for child in cpu:
            if child.tag == "pci":
                self._read_pci(child, key, None, numa)
            elif child.tag == "nic":
                self._read_nets(child, None)

    def _read_pci(self, pci: Element, root: str, parent: str | None, numa: int | None) -> None:
        address = normal_address(pci.get("busid", ""))
        if address is None:
            self._unknown.append(
                Missing(
                    subject="host",
                    fact=f"pci {pci.get('busid', '')!r}",
                    reason="It is no PCI address, so the device and what is below it are left out.",
                )
            )
            return
        if address in self._functions:
            self._contradictions.append(
                Contradiction(
                    subject=address,
                    fact="parent",
                    readings=(
                        f"below {self._functions[address].parent}",
                        f"below {parent}",
                    ),
                    meaning="The device stands in the file twice; its first place is used.",
                )
            )
            return
        class_code = _hex(pci.get("class"), 6)
        is_bridge = class_code is not None and class_code.startswith("0604")
        self._functions[address] = PciFact(
            address=address,
            root=root,
            parent=parent,
            class_code=class_code,
            vendor=_id(pci.get("vendor")),
            device=_id(pci.get("device")),
            role=PortRole.UPSTREAM if is_bridge else None,
            nominal=capability(
                parse_speed(pci.get("link_speed", "")), parse_width(pci.get("link_width", ""))
            ),
            numa_index=numa,
            kind="gpu" if pci.find("gpu") is not None else None,
            has_interface=True if pci.find("nic") is not None else None,
        )
        self._explain(pci, address, numa)
        for child in pci:
            if child.tag == "pci":
                self._read_pci(child, root, address, numa)
            elif child.tag == "gpu":
                self._read_gpu(child, address, numa)
            elif child.tag == "nic":
                self._read_nets(child, address)

    def _explain(self, pci: Element, address: str, numa: int | None) -> None:
        speed, width = pci.get("link_speed", ""), pci.get("link_width", "")
        if parse_speed(speed) is None or parse_width(width) is None:
            reason = f'The file says link_speed="{speed}" link_width="{width}".'
            self._unknown.append(Missing(subject=address, fact="maximum", reason=reason))
        if numa is None:
            self._unknown.append(
                Missing(
                    subject=address, fact="numa_index", reason="The file gives no NUMA node (-1)."
                )
            )

    def _read_gpu(self, gpu: Element, address: str, numa: int | None) -> None:
        sm = integer(gpu.get("sm"))
        is_amd = gpu.get("gcn") is not None
        compute = f"{sm // 10}.{sm % 10}" if sm is not None and sm > 0 and not is_amd else None
        self._gpus.append(GpuFact(subject=address, compute_capability=compute))
        for child in gpu:
            kind = _PEER_KINDS.get(child.tag)
            count = integer(child.get("count"))
            if kind is None or count is None or count < 1:
                continue
            self._peers.append(_peer(child, address, kind, count, compute, numa))

    def _read_nets(self, nic: Element, address: str | None) -> None:
        ports = []
        for net in nic.iter("net"):
            name = net.get("name") or f"net{net.get('dev', '')}"
            speed = integer(net.get("speed"))
            rate = speed * 1e6 if speed is not None and speed > 0 else None
            ports.append(NicPort(name=name, rate_bits_per_s=rate))
        if address is not None:
            earlier = self._nics.get(address)
            known = earlier.ports if earlier else ()
            self._nics[address] = NicFact(key=address, address=address, ports=(*known, *ports))
            return
        # Without a PCI device above it, a NIC that hangs on several CPUs is still one NIC.
        for port in ports:
            self._nics.setdefault(port.name, NicFact(key=port.name, ports=(port,)))


def _peer(
    element: Element,
    address: str,
    kind: LinkKind,
    count: int,
    compute: str | None,
    numa: int | None,
) -> PeerFact:
    target = normal_address(element.get("target", ""))
    target_class = _hex(element.get("tclass"), 6) or ""
    b_kind: Literal["gpu", "nvswitch", "cpu"] = "gpu"
    rate = nvlink_bytes_per_s(compute) if kind is LinkKind.NVLINK else None
    if kind is LinkKind.C2C or target_class == "068001":
        b_kind = "cpu"  # 068001 is IBM's link unit in a POWER9
        per_link = integer(element.get("bw"))  # MB/s
        if per_link is not None and per_link > 0:
            rate = per_link * 1e6
    elif target is None or target_class.startswith("0680"):
        b_kind = "nvswitch"
    return PeerFact(
        a=address,
        b=target,
        b_kind=b_kind,
        b_numa_index=numa if b_kind == "cpu" else None,
        kind=kind,
        count=count,
        bandwidth_bytes_per_s=None if rate is None else rate * count,
    )


def _processor(cpu: Element, numa: int) -> str:
    parts = [cpu.get("vendor", ""), cpu.get("arch", "")]
    family, model = cpu.get("familyid"), cpu.get("modelid")
    if family and model:
        # NCCL adds the extended family shifted by four, where CPUID adds it as it is.
        parts.append(f"family {_NVIDIA_FAMILY_SUM.get(family, family)} model {model}")
    known = " ".join(part for part in parts if part)
    return f"NUMA node {numa}" + (f" ({known})" if known else "")


def _id(text: str | None) -> str | None:
    """Return a vendor or device id; hand-made files fill in 0xffff for unknown."""
    found = _hex(text, 4)
    return None if found == "ffff" else found


def _hex(text: str | None, digits: int) -> str | None:
    match = re.fullmatch(rf"(?:0x)?([0-9a-f]{{{digits}}})", (text or "").strip().lower())
    return match[1] if match else None
