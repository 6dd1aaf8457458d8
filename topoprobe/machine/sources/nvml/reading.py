"""Reading all GPUs that the driver shows, each call guarded on its own.

Drivers, guests and containers each refuse different calls; a refused one becomes an unknown fact
with the library's own words.
"""

from __future__ import annotations

from typing import Any

from topoprobe.machine import nvidia
from topoprobe.machine.addresses import normal_address
from topoprobe.machine.facts import Facts, HostFact, NumaFact
from topoprobe.machine.sources.nvml.device import Device, member, number, text
from topoprobe.machine.sources.nvml.gpu import GpuFacts, read_gpu
from topoprobe.machine.sources.nvml.peer_access import read_pairs
from topoprobe.machine.sources.nvml.provider import Provider
from topoprobe.records.base import Missing

SOURCE = "nvml"
_MAX_GPUS = 1024


def unavailable(reason: str) -> Facts:
    """Return the facts of a library that could not be loaded: none, and why."""
    return Facts(source=SOURCE, unknown=(Missing(subject="host", fact="nvml", reason=reason),))


def read(provider: Provider) -> Facts:
    """Ask a driver everything.

    Parameters
    ----------
    provider : Provider
        The live driver, a recording of one, or a made-up one.
    """
    count = provider.ask("nvmlDeviceGetCount")
    num_gpus = number(count.value)
    if num_gpus is None:
        return unavailable(count.reason or "NVML gives no number of devices.")
    driver = text(provider.ask("nvmlSystemGetDriverVersion").value)
    devices: list[Device] = []
    found: list[GpuFacts] = []
    absent: list[Missing] = []
    for index in range(min(num_gpus, _MAX_GPUS)):
        opened = _open(provider, index)
        if isinstance(opened, Missing):
            absent.append(opened)
            continue
        device, pci = opened
        if any(device.subject == other.subject for other in devices):
            reason = f"NVML gives it the address of another, {device.subject}."
            absent.append(Missing(subject="host", fact=f"NVML GPU {index}", reason=reason))
            continue
        devices.append(device)
        found.append(read_gpu(device, pci, driver))
    is_guest = any(one.gpu.virtualization in nvidia.GUEST_MODES for one in found)
    pairs = tuple(read_pairs(devices, is_guest=is_guest))
    return Facts(
        source=SOURCE,
        host=HostFact(is_virtual=True) if is_guest else None,
        numas=tuple(
            NumaFact(os_index=one.gpu.memory_numa_index, memory_of=one.gpu.subject)
            for one in found
            if one.gpu.memory_numa_index is not None
        ),
        functions=tuple(one.function for one in found),
        gpus=tuple(one.gpu for one in found),
        partitions=tuple(p for one in found for p in one.partitions),
        peers=tuple(p for one in found for p in one.peers),
        pairs=pairs,
        unknown=(*absent, *(m for device in devices for m in device.unknown)),
        contradictions=tuple(c for one in found for c in one.contradictions),
    )


def _open(provider: Provider, index: int) -> tuple[Device, Any] | Missing:
    """Find a GPU's address; one that has fallen off the bus still counts, and others answer."""
    answer = provider.ask("nvmlDeviceGetHandleByIndex", index)
    handle = answer.value
    if isinstance(handle, str):
        answer = provider.ask("nvmlDeviceGetPciInfo", handle)
        address = normal_address(text(member(answer.value, "busId")) or "")
        if address is not None:
            return Device(provider, handle, address), answer.value
    reason = answer.reason or "NVML gives no PCI address for it."
    return Missing(subject="host", fact=f"NVML GPU {index}", reason=reason)
