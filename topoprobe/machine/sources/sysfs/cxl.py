"""CXL memory expanders, and NUMA nodes that are memory behind DAX (CXL, persistent memory)."""

from __future__ import annotations

import re

from topoprobe.machine.addresses import normal_address
from topoprobe.machine.facts import MemoryDeviceFact
from topoprobe.machine.sources.files import Files

_HEXADECIMAL = re.compile(r"(?:0x)?[0-9a-fA-F]{1,15}")
_CXL, _DAX = "sys/bus/cxl/devices", "sys/bus/dax/devices"
# What a DAX device stands on, by a part of its path below /sys/devices.
_MAKINGS = (("ACPI0017", "CXL memory"), ("region", "CXL memory"), ("ndbus", "persistent memory"))


def read_memory_devices(files: Files) -> tuple[MemoryDeviceFact, ...]:
    """Read the memory expanders that hang on PCI functions."""
    found = {}
    for _, path in files.numbered(_CXL, "mem"):
        parts = (files.link(path) or "").split("/")
        addresses = [a for part in parts if (a := normal_address(part))]
        sizes = [_hexadecimal(files.text(f"{path}/{kind}/size")) for kind in ("ram", "pmem")]
        known = [size for size in sizes if size is not None]
        if addresses:
            found[addresses[-1]] = MemoryDeviceFact(
                address=addresses[-1], memory_bytes=sum(known) if known else None
            )
    return tuple(found.values())


def memory_kinds(files: Files) -> dict[int, str]:
    """Return in words what the memory of a NUMA node is, for nodes that come from DAX."""
    kinds: dict[int, str] = {}
    for name in files.names(_DAX):
        node = files.number(f"{_DAX}/{name}/target_node")
        if node is None or node < 0:
            continue
        path = files.link(f"{_DAX}/{name}") or ""
        kinds[node] = next((words for part, words in _MAKINGS if part in path), "DAX memory")
    return kinds


def _hexadecimal(text: str | None) -> int | None:
    return int(text, 16) if text and _HEXADECIMAL.fullmatch(text) else None
