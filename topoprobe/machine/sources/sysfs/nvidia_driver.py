"""What NVIDIA's driver tells in /proc: its version, its GPUs, and their memory as NUMA nodes.

It needs no library and no privilege, and stands in recordings where NVML is absent.
"""

from __future__ import annotations

import re

from topoprobe.machine.addresses import normal_address
from topoprobe.machine.facts import GpuFact
from topoprobe.machine.sources.files import Files, whole_number

_FOLDER = "proc/driver/nvidia"
# `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.105.08  Release Build …`
_VERSION = re.compile(r"NVRM version:.*?\s([0-9]+\.[0-9]+(?:\.[0-9]+)?)\s")
_UUID = re.compile(r"GPU-[0-9a-f-]{36}")  # question marks where it may not be told


def read_gpus(files: Files) -> tuple[GpuFact, ...]:
    """Read the GPUs that the driver has."""
    match = _VERSION.search(f"{files.text(f'{_FOLDER}/version') or ''} ")
    found = {}
    for name in files.names(f"{_FOLDER}/gpus"):
        address = normal_address(name)
        if address is None:
            continue
        told = _fields(files.text(f"{_FOLDER}/gpus/{name}/information"))
        uuid = told.get("GPU UUID", "")
        found[address] = GpuFact(
            subject=address,
            name=told.get("Model") or None,
            uuid=uuid if _UUID.fullmatch(uuid) else None,
            driver=f"nvidia {match[1]}" if match else None,
            memory_numa_index=_memory_node(files.text(f"{_FOLDER}/gpus/{name}/numa_status")),
        )
    return tuple(found.values())


def _memory_node(text: str | None) -> int | None:
    """Return the NUMA node that a GPU's memory is; it is none before it is online."""
    told = _fields(text)
    node = whole_number(told.get("Node"))
    is_online = told.get("Status", "online") == "online"
    return node if node is not None and node >= 0 and is_online else None


def _fields(text: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in (text or "").splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found
