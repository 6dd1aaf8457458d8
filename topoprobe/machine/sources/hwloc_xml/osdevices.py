"""What hwloc's OS devices tell of the function that they hang on: GPUs, ports, drives, memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from topoprobe.machine.facts import (
    GpuFact,
    MemoryDeviceFact,
    NicFact,
    StorageFact,
)
from topoprobe.machine.sources.hwloc_xml.dialect import (
    OsKind,
    OsKinds,
    infos,
    kibibytes,
    subtype,
)
from topoprobe.records.machine import NicPort

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Management libraries see a whole GPU; compute libraries may see a part, or nothing.
_MANAGED = re.compile(r"(?:nvml|rsmi)[0-9]+")
_COMPUTED = re.compile(r"(?:cuda|ze|opencl)[0-9]")
_MEMORY_KEYS = (
    "CUDAGlobalMemorySize",
    "NVMLGlobalMemorySize",
    "RSMIVRAMSize",
    "LevelZeroHBMSize",
    "LevelZeroDDRSize",
    "OpenCLGlobalMemorySize",
)
# How an MI300 is divided, by the number of its parts.
MODES = {2: "DPX", 3: "TPX", 4: "QPX", 6: "CPX", 8: "CPX"}
_PORT_STATES = {"1": "down", "2": "init", "3": "armed", "4": "active"}
_NOT_DRIVES = ("sr", "fd", "st", "loop", "pmem", "dax")


def is_gpu(element: Element) -> bool:
    """Tell whether an OS device is what a GPU's library calls it."""
    name = element.get("name", "")
    return bool(_MANAGED.match(name) or _COMPUTED.match(name))


def is_nvml(element: Element) -> bool:
    """Tell whether an OS device is a GPU as NVML knows it."""
    return element.get("name", "").startswith("nvml")


def gpu_of(devices: Sequence[Element], subject: str, capability: str | None) -> GpuFact | None:
    """Return what the libraries say of a GPU, or None if there is none among the devices."""
    gpus = sorted(
        (o for o in devices if is_gpu(o)), key=lambda o: not _MANAGED.match(o.get("name", ""))
    )
    if not gpus:
        return None
    told: dict[str, str] = {}
    for element in reversed(gpus):
        told.update(infos(element))
    hive = told.get("XGMIHiveID", "").lower().removeprefix("0x")
    return GpuFact(
        subject=subject,
        name=told.get("GPUModel"),
        uuid=told.get("NVIDIAUUID") or told.get("AMDUUID"),
        memory_bytes=next((size for k in _MEMORY_KEYS if (size := kibibytes(told.get(k)))), None),
        compute_capability=capability,
        hive_id=hive.zfill(16) if hive.strip("0") else None,
    )


def managed(devices: Sequence[Element]) -> list[str]:
    """Return what a management library calls the devices: one name for each part of a GPU."""
    return [name for o in devices if _MANAGED.match(name := o.get("name", ""))]


def nic_of(devices: Sequence[Element], kinds: OsKinds, address: str) -> NicFact | None:
    """Return the network ports on a function, or None if there are none."""
    networks = [o for o in devices if kinds.is_network(o)]
    if not networks:
        return None
    return NicFact(key=address, address=address, ports=nic_ports(networks, kinds))


def nic_ports(networks: Sequence[Element], kinds: OsKinds) -> tuple[NicPort, ...]:
    """Pair each verbs device with the interface of the same function."""
    verbs = [o for o in networks if kinds.is_verbs(o)]
    interfaces = [o.get("name", "") for o in networks if not kinds.is_verbs(o)]
    ports = []
    for index in range(max(len(verbs), len(interfaces))):
        # One verbs device may have several ports.
        device = verbs[index] if index < len(verbs) else verbs[0] if len(verbs) == 1 else None
        interface = interfaces[index] if index < len(interfaces) else None
        name = None if device is None else device.get("name", "")
        number = 1 if index < len(verbs) else index + 1
        told = {} if device is None else infos(device)
        ports.append(
            NicPort(
                name=name or interface or "",
                net_interface=interface,
                verbs_device=name,
                state=_PORT_STATES.get(told.get(f"Port{number}State", "")),
            )
        )
    return tuple(ports)


def storage_of(devices: Sequence[Element], kinds: OsKinds, address: str) -> StorageFact | None:
    """Return the drives on a function, or None if there are none."""
    disks = [o for o in devices if _is_disk(o, kinds)]
    if not disks:
        return None
    sizes = [kibibytes(infos(o).get("Size")) for o in disks]
    known = [size for size in sizes if size is not None]
    return StorageFact(
        address=address,
        block_devices=tuple(sorted(o.get("name", "") for o in disks)),
        size_bytes=sum(known) if len(known) == len(sizes) else None,
    )


def memories_of(devices: Sequence[Element], address: str) -> Iterator[MemoryDeviceFact]:
    """Yield the CXL memory on a function."""
    for told in (infos(o) for o in devices if subtype(o) == "CXLMem"):
        sizes = [kibibytes(told.get(key)) for key in ("CXLRAMSize", "CXLPMEMSize")]
        total = sum(size for size in sizes if size is not None)
        yield MemoryDeviceFact(address=address, memory_bytes=total or None)


def _is_disk(element: Element, kinds: OsKinds) -> bool:
    what = subtype(element)
    if what:
        return what == "Disk"
    is_storage = bool(kinds.of(element) & OsKind.STORAGE)
    return is_storage and not element.get("name", "").startswith(_NOT_DRIVES)
