"""PCI functions: what they are, where they hang, and why something is unknown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.machine.config_bytes import Space, gpu
from tests.machine.sources.sysfs.fake_root import GEN4_X16, FakeRoot, server
from topoprobe.machine.building import build
from topoprobe.machine.facts import PciFact
from topoprobe.machine.pcie import capability
from topoprobe.machine.sources import sysfs
from topoprobe.machine.sources.files import Folder
from topoprobe.records.base import Tool
from topoprobe.records.machine import (
    Gpu,
    Host,
    HostBridge,
    Nic,
    Nvme,
    Other,
    Partition,
    PcieSwitch,
    PortRole,
)


def test_pci_tree_is_read_from_the_symlink_paths(fake: FakeRoot) -> None:
    server(fake)
    machine = fake.machine()
    (switch,) = machine.all(PcieSwitch)
    assert [(p.address[5:7], p.role) for p in switch.ports] == [
        ("81", PortRole.UPSTREAM), ("82", PortRole.DOWNSTREAM), ("82", PortRole.DOWNSTREAM),
    ]  # fmt: skip
    assert [b.id for b in machine.all(HostBridge)] == ["host_bridge@0000:00", "host_bridge@0000:80"]
    assert [b.parent for b in machine.all(HostBridge)] == ["numa:0", "numa:1"]
    (gpu,) = machine.all(Gpu)
    assert (gpu.numa_index, gpu.cpus) == (1, (4, 5, 6, 7))
    link = machine.link_above(gpu.id)
    assert link is not None
    assert link.nominal == capability(16e9, 16)
    assert link.b_capability == capability(32e9, 16)
    assert link.current == capability(2.5e9, 16)
    classes = {(p.a[4:], p.b): p.path_class for p in machine.document.pairs}
    assert classes == {
        ("0000:83:00.0", "nic@0000:84:00.0"): "PIX",
        ("0000:83:00.0", "nvme@0000:01:00.0"): "SYS",
    }


def config_of(port_type: int) -> bytes:
    """A configuration space whose second capability is PCI Express."""
    config = bytearray(256)
    config[0x06] = 0x10
    config[0x34] = 0x40
    config[0x40:0x42] = bytes([0x01, 0x60])
    config[0x60:0x64] = bytes([0x10, 0x00, port_type << 4 | 2, 0x00])
    return bytes(config)


@pytest.mark.parametrize(
    ("config", "role"),
    [
        (config_of(4), PortRole.ROOT),
        (config_of(5), PortRole.UPSTREAM),
        (config_of(7), PortRole.BRIDGE),
        (config_of(6)[:64], PortRole.ROOT),  # what an ordinary user sees: the place decides
        (bytes(256), PortRole.ROOT),
        (config_of(5)[:0x41] + bytes([0x40]) + config_of(5)[0x42:], PortRole.ROOT),  # a circle
    ],
)
def test_port_role_is_read_from_config_space_where_readable(
    config: bytes, role: PortRole, fake: FakeRoot
) -> None:
    folder = fake.pci("pci0000:00/0000:00:01.0", "060400")
    fake.write(f"{folder}/config", config)
    machine = fake.machine()
    owners = (*machine.all(HostBridge), *machine.all(PcieSwitch))
    assert [p.role for owner in owners for p in owner.ports] == [role]


def test_domain_of_five_digits_below_another_device_is_a_tree_of_its_own(fake: FakeRoot) -> None:
    fake.pci("pci0000:00/0000:00:0e.0", "010400")
    inside = "pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0"
    fake.pci(inside, "060400")
    fake.pci(f"{inside}/10000:e1:00.0", "010802")
    (drive,) = fake.machine().all(Nvme)
    assert drive.id == "nvme@10000:e1:00.0"
    assert drive.parent == "host_bridge@10000:e0"


def test_guest_without_pcie_capabilities_is_normal_and_says_what_is_unknown(
    fake: FakeRoot,
) -> None:
    fake.cpus({0: [0, 1]}, flags="hypervisor")
    for slot in (4, 5):
        fake.pci(
            f"pci0000:00/0000:00:0{slot}.0", "030200", "10de:2330", numa_node="-1",
            local_cpulist="0-7",
        )  # fmt: skip
    document = fake.document()
    host = document.nodes[0]
    assert isinstance(host, Host)
    assert (host.is_virtual, host.virtualization) == (True, "unnamed hypervisor")
    reasons = {(m.subject, m.fact): m.reason for m in document.unknown}
    assert "-1" in reasons["gpu@0000:00:04.0", "numa_index"]
    assert "no PCI Express capability" in reasons["pcie@0000:00:04.0", "nominal"]
    assert [p.path_class for p in document.pairs] == [None]
    assert "guest" in reasons["gpu@0000:00:04.0 gpu@0000:00:05.0", "class"]


def test_speed_that_sysfs_calls_unknown_is_quoted(fake: FakeRoot) -> None:
    fake.pci(
        "pci0000:00/0000:00:04.0", "030200", "10de:2330", numa_node="0",
        max_link_speed="Unknown", max_link_width="0",
    )  # fmt: skip
    reasons = {(m.subject, m.fact): m.reason for m in fake.document().unknown}
    assert "'Unknown'" in reasons["pcie@0000:00:04.0", "nominal"]


def test_virtual_function_is_no_nic(fake: FakeRoot) -> None:
    fake.pci("pci0000:00/0000:00:04.0", "020000")
    folder = fake.pci("pci0000:00/0000:00:04.1", "020000")
    fake.link(f"{folder}/physfn", "../0000:00:04.0")
    machine = fake.machine()
    assert [part.partition_kind for part in machine.all(Partition)] == ["virtual_function"]
    assert [nic.id for nic in machine.all(Nic)] == ["nic@0000:00:04.0"]


def test_network_function_counts_once_a_driver_carries_it(fake: FakeRoot) -> None:
    for slot, driver in ((4, "mlx5_core"), (5, "vfio-pci"), (6, None)):
        folder = fake.pci(f"pci0000:00/0000:00:0{slot}.0", "020000")
        if driver:
            fake.link(f"{folder}/driver", f"../../../bus/pci/drivers/{driver}")
    machine = fake.machine()
    assert [nic.id for nic in machine.all(Nic)] == ["nic@0000:00:04.0"]
    assert [n.role for n in machine.all(Other)] == ["network function without an interface"] * 2


def test_screen_of_a_management_controller_is_no_gpu(fake: FakeRoot) -> None:
    fake.pci("pci0000:00/0000:00:04.0", "030000", "1a03:2000")
    assert fake.machine().all(Gpu) == ()


def test_dead_device_has_no_vendor(fake: FakeRoot) -> None:
    fake.pci("pci0000:00/0000:00:04.0", "ffffff", "ffff:ffff")
    (dead,) = fake.machine().all(Other)
    assert (dead.pci_vendor, dead.pci_device) == (None, None)


def test_empty_root_gives_a_document_that_says_nothing_is_known(tmp_path: Path) -> None:
    document = build([sysfs.read(Folder(tmp_path))], origin="live", tool=Tool(tool_version="0"))
    assert [node.id for node in document.nodes] == ["host"]
    assert {m.fact for m in document.unknown} == {"packages", "numa", "iommu"}


def fact(fake: FakeRoot, address: str) -> PciFact:
    return next(f for f in fake.read().functions if f.address == address)


def reasons(fake: FakeRoot, address: str) -> dict[str, str]:
    return {m.fact: m.reason for m in fake.read().unknown if m.subject == address}


def test_config_space_tells_what_old_kernels_have_no_files_for(fake: FakeRoot) -> None:
    folder = fake.pci("pci0000:00/0000:00:04.0", "030200", "10de:2330", numa_node="0")
    fake.write(f"{folder}/config", bytes(gpu().data))
    found = fact(fake, "0000:00:04.0")
    assert (found.maximum, found.power_state) == (capability(32e9, 16), "D3hot")
    assert found.access_control == ("SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd")
    assert (found.max_payload_bytes, found.max_read_request_bytes) == (256, 4096)
    assert found.max_bar_bytes == 128 << 30


def test_link_files_go_before_config_space(fake: FakeRoot) -> None:
    folder = fake.pci(
        "pci0000:00/0000:00:04.0", "030200", **GEN4_X16,
        current_link_speed="Unknown", current_link_width="63",
    )  # fmt: skip
    fake.write(f"{folder}/config", bytes(gpu().data))
    found = fact(fake, "0000:00:04.0")
    assert (found.maximum, found.current) == (capability(16e9, 16), capability(2.5e9, 16))


def test_current_link_without_a_maximum_is_said_to_be_so(fake: FakeRoot) -> None:
    fake.pci(
        "pci0000:00/0000:00:04.0", "030200", current_link_speed="8 GT/s", current_link_width="4"
    )
    found = fact(fake, "0000:00:04.0")
    assert (found.maximum, found.current) == (None, capability(8e9, 4))
    assert "less was readable" in reasons(fake, "0000:00:04.0")["maximum"]


@pytest.mark.parametrize(
    ("lines", "largest"),
    [
        (["0x1000 0x1fff 0x40200", "0x0 0x0 0x0", "0x2000000000 0x3fffffffff 0x14220c"], 128 << 30),
        (["0xe000 0xe0ff 0x40101", "0x0 0x0 0x0"], None),  # ports are no window
        (["0x0 0x0 0x0"] * 7 + ["0x2000000000 0x3fffffffff 0x14220c"], None),  # of SR-IOV
        (["junk"], None),
    ],
)
def test_largest_window_is_of_the_function_itself(
    lines: list[str], largest: int | None, fake: FakeRoot
) -> None:
    fake.pci("pci0000:00/0000:00:04.0", "030200", resource="\n".join(lines))
    assert fact(fake, "0000:00:04.0").bar_bytes == largest


def test_slot_group_and_power_state_are_read(fake: FakeRoot) -> None:
    for number in (4, 5):
        folder = fake.pci(f"pci0000:00/0000:00:0{number}.0", "030200", power_state="D0")
        fake.link(f"{folder}/iommu_group", f"../../../kernel/iommu_groups/{number}7")
    fake.write("sys/bus/pci/slots/GPU-1/address", "0000:00:04")
    found = fact(fake, "0000:00:04.0")
    assert (found.slot, found.iommu_group, found.power_state) == ("GPU-1", 47, "D0")
    assert fact(fake, "0000:00:05.0").slot is None


def test_slot_of_a_whole_bus_holds_all_that_is_on_it(fake: FakeRoot) -> None:
    fake.pci("pci0000:00/0000:00:01.0/0000:01:00.0", "030200")
    fake.write("sys/bus/pci/slots/2/address", "0000:01")
    assert fact(fake, "0000:01:00.0").slot == "2"


def test_sleeping_device_is_not_woken_and_its_link_not_believed(fake: FakeRoot) -> None:
    folder = fake.pci(
        "pci0000:00/0000:00:04.0", "030200", **GEN4_X16, power_state="D3cold",
        current_link_speed="2.5 GT/s PCIe", current_link_width="1",
    )  # fmt: skip
    fake.write(f"{folder}/config", bytes(gpu().data))
    found = fact(fake, "0000:00:04.0")
    assert (found.power_state, found.current, found.access_control) == ("D3cold", None, None)
    assert "sleeps (D3cold)" in reasons(fake, "0000:00:04.0")["current"]


@pytest.mark.parametrize(
    ("config", "ids", "about", "words"),
    [
        (b"\xff" * 64, "10de:2330", "config", "all ones"),
        (bytes(64), "10de:2330", "config", "zeros"),
        (b"", "ffff:ffff", "pci_vendor", "did not answer"),
        (b"", "0000:0000", "pci_vendor", "did not answer"),
    ],
)
def test_device_that_does_not_answer_is_unknown_with_a_reason(
    config: bytes, ids: str, about: str, words: str, fake: FakeRoot
) -> None:
    folder = fake.pci(
        "pci0000:00/0000:00:04.0", "030200", ids,
        max_link_speed="Unknown", max_link_width="63",
    )  # fmt: skip
    fake.write(f"{folder}/config", config)
    assert words in reasons(fake, "0000:00:04.0")[about]
    assert fact(fake, "0000:00:04.0").maximum is None


def test_functions_are_in_the_order_of_their_numbers(fake: FakeRoot) -> None:
    for domain in ("0000", "10000", "2000"):
        fake.pci(f"pci{domain}:00/{domain}:00:04.0", "010802")
    assert [f.address for f in fake.read().functions] == [
        "0000:00:04.0", "2000:00:04.0", "10000:00:04.0",
    ]  # fmt: skip


def test_bridge_that_is_left_out_of_the_list_is_found_on_the_way(fake: FakeRoot) -> None:
    server(fake)
    (fake.root / "sys/bus/pci/devices/0000:82:00.0").unlink()
    assert fact(fake, "0000:82:00.0").maximum == capability(16e9, 16)
    assert fact(fake, "0000:83:00.0").parent == "0000:82:00.0"


def test_parent_that_is_nowhere_gives_way_to_its_own(fake: FakeRoot) -> None:
    server(fake)
    (fake.root / "sys/bus/pci/devices/0000:82:00.0").unlink()
    (fake.root / "sys/devices/pci0000:80/0000:80:01.0/0000:81:00.0/0000:82:00.0/class").unlink()
    assert fact(fake, "0000:83:00.0").parent == "0000:81:00.0"


def without_links(fake: FakeRoot) -> None:
    """Put folders in place of the links, as `cp -L` does."""
    for entry in sorted((fake.root / "sys/bus/pci/devices").iterdir()):
        target = entry.resolve()
        entry.unlink()
        shutil.copytree(target, entry, ignore=shutil.ignore_patterns("0000:*"))


def test_copy_without_links_is_placed_by_the_buses_of_its_bridges(fake: FakeRoot) -> None:
    port = fake.pci("pci0000:00/0000:00:01.0", "060400")
    fake.write(f"{port}/config", bytes(Space(is_bridge=True).put(0x18, 3, 0x010100).data[:64]))
    fake.pci("pci0000:00/0000:00:01.0/0000:01:00.0", "030200", "10de:2330")
    without_links(fake)
    (bridge,) = fake.machine().all(HostBridge)
    assert (bridge.id, [p.address for p in bridge.ports]) == (
        "host_bridge@0000:00", ["0000:00:01.0"],
    )  # fmt: skip
    assert fact(fake, "0000:01:00.0").parent == "0000:00:01.0"


def test_copy_without_links_tells_virtual_functions_by_their_numbers(fake: FakeRoot) -> None:
    nic = fake.pci("pci0000:00/0000:00:04.0", "020000")
    fake.write(f"{nic}/config", bytes(gpu().data))
    for number in range(4, 8):
        fake.pci(f"pci0000:00/0000:00:04.{number}", "020000")
    without_links(fake)
    owners = [f.physical_function for f in fake.read().functions]
    assert owners == [None, *["0000:00:04.0"] * 4]


def test_virtual_function_has_no_link_of_its_own(fake: FakeRoot) -> None:
    folder = fake.pci(
        "pci0000:00/0000:00:04.1", "020000", max_link_speed="Unknown", max_link_width="0"
    )
    fake.link(f"{folder}/physfn", "../0000:00:04.0")
    fake.write(f"{folder}/config", bytes(gpu().data))
    assert fact(fake, "0000:00:04.1").maximum is None
    assert "virtual function" in reasons(fake, "0000:00:04.1")["maximum"]


def test_gpu_is_what_the_driver_calls_one(fake: FakeRoot) -> None:
    fake.pci("pci0000:00/0000:00:04.0", "030000", "")
    fake.write("proc/driver/nvidia/gpus/0000:00:04.0/information", "Model: \t NVIDIA L4")
    (found,) = fake.machine().all(Gpu)
    assert (found.name, found.driver) == ("NVIDIA L4", "nvidia")
