"""GPUs whose board has a switch of its own."""

from __future__ import annotations

import pytest

from tests.machine.sources.sysfs.fake_root import GEN4_X16, FakeRoot
from topoprobe.machine.pcie import capability
from topoprobe.records.machine import Gpu

GEN3_X8 = {
    "max_link_speed": "16.0 GT/s PCIe", "max_link_width": "16",
    "current_link_speed": "8.0 GT/s PCIe", "current_link_width": "8",
}  # fmt: skip
GEN1_X1 = {"max_link_speed": "2.5 GT/s PCIe", "max_link_width": "1"}


def board(fake: FakeRoot, maker: str, class_code: str) -> None:
    path = "pci0000:00/0000:00:01.0"
    fake.pci(path, "060400", "8086:352a", **GEN4_X16)
    for bridge, link in (("0000:01:00.0", GEN3_X8), ("0000:02:00.0", GEN1_X1)):
        path = f"{path}/{bridge}"
        fake.pci(path, "060400", f"{maker}:4fa1", **link)
    fake.pci(f"{path}/0000:03:00.0", class_code, f"{maker}:56a0", **GEN1_X1)


@pytest.mark.parametrize(("maker", "class_code"), [("8086", "030000"), ("1002", "038000")])
def test_link_inside_of_a_board_is_that_of_its_slot(
    maker: str, class_code: str, fake: FakeRoot
) -> None:
    board(fake, maker, class_code)
    machine = fake.machine()
    (gpu,) = machine.all(Gpu)
    link = machine.link_above(gpu.id)
    assert link is not None
    assert (link.nominal, link.current) == (capability(16e9, 16), capability(8e9, 8))


def test_switch_of_another_maker_is_not_on_the_board(fake: FakeRoot) -> None:
    board(fake, "1002", "038000")
    folder = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0"
    fake.write(f"{folder}/vendor", "0x1000")
    machine = fake.machine()
    link = machine.link_above(machine.all(Gpu)[0].id)
    assert link is not None
    assert link.nominal == capability(2.5e9, 1)


def test_root_port_of_the_gpu_s_maker_is_not_on_the_board(fake: FakeRoot) -> None:
    fake.pci("pci0000:00/0000:00:01.0", "060400", "8086:352a", **GEN4_X16)
    fake.pci("pci0000:00/0000:00:01.0/0000:01:00.0", "038000", "8086:0bd5", **GEN1_X1)
    machine = fake.machine()
    link = machine.link_above(machine.all(Gpu)[0].id)
    assert link is not None
    assert link.nominal == capability(2.5e9, 1)
