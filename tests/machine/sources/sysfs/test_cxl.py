"""CXL memory expanders."""

from __future__ import annotations

import pytest

from tests.machine.sources.sysfs.fake_root import FakeRoot
from topoprobe.records.machine import CxlMemory


@pytest.mark.parametrize(
    ("sizes", "total"),
    [
        ({"ram": "0x10000000"}, 256 << 20),
        ({"ram": "0x10000000", "pmem": "0x20000000"}, 768 << 20),
        ({"ram": "junk"}, None),
        ({}, None),
    ],
)
def test_expander_has_the_sizes_of_all_its_kinds(
    sizes: dict[str, str], total: int | None, fake: FakeRoot
) -> None:
    card = "pci0000:34/0000:34:00.0/0000:35:00.0"
    fake.pci("pci0000:34/0000:34:00.0", "060400")
    folder = fake.pci(card, "050210", "8086:0d93")
    fake.link("sys/bus/cxl/devices/mem0", f"../../../devices/{card}/mem0")
    fake.write(f"{folder}/mem0/serial", "0x1")
    for kind, size in sizes.items():
        fake.write(f"{folder}/mem0/{kind}/size", size)
    (memory,) = fake.machine().all(CxlMemory)
    assert (memory.pci_address, memory.memory_bytes) == ("0000:35:00.0", total)
