"""Network interfaces, verbs and Slingshot devices, and drives."""

from __future__ import annotations

import pytest

from tests.machine.sources.sysfs.fake_root import FakeRoot, server
from topoprobe.records.machine import Nic, Nvme


def test_network_ports_join_interfaces_and_verbs_devices(fake: FakeRoot) -> None:
    server(fake)
    (nic,) = fake.machine().all(Nic)
    assert [(p.name, p.net_interface, p.rate_bits_per_s, p.state) for p in nic.ports] == [
        ("mlx5_0:1", "ib1", 400e9, "active"), ("mlx5_0:2", "ib2", 400e9, "active"),
    ]  # fmt: skip


def test_drive_is_read_with_its_size(fake: FakeRoot) -> None:
    server(fake)
    (drive,) = fake.machine().all(Nvme)
    assert (drive.name, drive.block_devices, drive.size_bytes) == ("nvme0n1", ("nvme0n1",), 1 << 30)


def test_namespace_behind_multipath_belongs_to_its_controller(fake: FakeRoot) -> None:
    drive = "pci0000:00/0000:00:02.0"
    fake.pci(drive, "010802", numa_node="0")
    fake.write(f"sys/devices/{drive}/nvme/nvme3/nvme0c3n1/size", "8")
    fake.link("sys/class/nvme/nvme3", f"../../devices/{drive}/nvme/nvme3")
    fake.write("sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/size", "8")
    fake.link(
        "sys/block/nvme0n1", "../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1"
    )  # fmt: skip
    (found,) = fake.machine().all(Nvme)
    assert (found.block_devices, found.size_bytes) == (("nvme0n1",), 4096)


@pytest.mark.parametrize(
    ("speed", "rate"), [("100000", 100e9), ("-1", None), ("4294967295", None), ("junk", None)]
)
def test_interface_speed_that_means_unknown_is_unknown(
    speed: str, rate: float | None, fake: FakeRoot
) -> None:
    fake.pci("pci0000:00/0000:00:04.0", "020000")
    fake.write("sys/devices/pci0000:00/0000:00:04.0/net/eth0/speed", speed)
    fake.link("sys/class/net/eth0", "../../devices/pci0000:00/0000:00:04.0/net/eth0")
    (nic,) = fake.machine().all(Nic)
    assert [p.rate_bits_per_s for p in nic.ports] == [rate]


def test_slingshot_nic_is_called_by_its_device(fake: FakeRoot) -> None:
    for number, has_interface in ((0, True), (1, False)):
        card = f"pci0000:00/0000:00:0{number + 4}.0"
        folder = fake.pci(card, "028000", "17db:0501", numa_node="0")
        fake.link(f"sys/class/cxi/cxi{number}", f"../../devices/{card}/cxi/cxi{number}")
        if has_interface:
            fake.write(f"{folder}/net/hsi{number}/speed", "200000")
            fake.link(f"sys/class/net/hsi{number}", f"../../devices/{card}/net/hsi{number}")
    ports = [port for nic in fake.machine().all(Nic) for port in nic.ports]
    assert [(p.name, p.net_interface, p.verbs_device, p.rate_bits_per_s) for p in ports] == [
        ("cxi0", "hsi0", None, 200e9), ("cxi1", None, None, None),
    ]  # fmt: skip


@pytest.mark.parametrize("is_link", [True, False])
def test_interface_is_placed_where_its_class_has_folders(is_link: bool, fake: FakeRoot) -> None:
    fake.pci("pci0000:00/0000:00:04.0", "020000")
    fake.write("sys/class/net/eth0/speed", "10000")
    if is_link:
        fake.link("sys/class/net/eth0/device", "../../../devices/pci0000:00/0000:00:04.0")
    else:
        fake.write("sys/class/net/eth0/device/uevent", "DRIVER=ixgbe\nPCI_SLOT_NAME=0000:00:04.0")
    (nic,) = fake.machine().all(Nic)
    assert [p.name for p in nic.ports] == ["eth0"]
