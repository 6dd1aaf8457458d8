"""The live source on a made-up /sys and /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from topoprobe.machine.building import build
from topoprobe.machine.facts import Facts
from topoprobe.machine.pcie import capability
from topoprobe.machine.sources import sysfs
from topoprobe.machine.sources.files import Folder
from topoprobe.machine.view import Machine
from topoprobe.records.base import Tool
from topoprobe.records.machine import (
    Gpu,
    Host,
    HostBridge,
    MachineDocument,
    Nic,
    Numa,
    Nvme,
    Other,
    Package,
    Partition,
    PcieSwitch,
    PortRole,
)

GEN4_X16 = {"max_link_speed": "16.0 GT/s PCIe", "max_link_width": "16"}


class FakeRoot:
    """Writes the files and links of a machine below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, content: str | bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else f"{content}\n".encode()
        target.write_bytes(data)

    def link(self, path: str, target: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def cpus(self, packages: dict[int, list[int]], flags: str = "avx2 fma") -> None:
        every = [cpu for cpus in packages.values() for cpu in cpus]
        self.write("sys/devices/system/cpu/online", f"0-{max(every)}")
        self.write(
            "proc/cpuinfo",
            f"vendor_id\t: GenuineIntel\nmodel name\t: Xeon @ 2.50GHz\nflags\t\t: fpu {flags} x",
        )
        self.write("proc/sys/kernel/osrelease", "6.1.0")
        self.write("proc/sys/kernel/hostname", "box")
        self.write("proc/sys/kernel/arch", "x86_64")
        for package, cpus in packages.items():
            listed = ",".join(str(cpu) for cpu in cpus)
            for cpu in cpus:
                folder = f"sys/devices/system/cpu/cpu{cpu}"
                self.write(f"{folder}/topology/physical_package_id", str(package))
                self.write(f"{folder}/topology/die_id", "0")
                self.write(f"{folder}/topology/core_id", str(cpu // 2))
                core = ",".join(str(c) for c in cpus if c // 2 == cpu // 2)
                for index, (level, kind, size, shared) in enumerate(
                    [("1", "Data", "48K", core), ("3", "Unified", "30M", listed)]
                ):
                    cache = f"{folder}/cache/index{index}"
                    self.write(f"{cache}/level", level)
                    self.write(f"{cache}/type", kind)
                    self.write(f"{cache}/size", size)
                    self.write(f"{cache}/shared_cpu_list", shared)

    def numa(self, index: int, cpus: str, kilobytes: int, distances: str) -> None:
        folder = f"sys/devices/system/node/node{index}"
        self.write(f"{folder}/cpulist", cpus)
        self.write(f"{folder}/meminfo", f"Node {index} MemTotal:  {kilobytes} kB")
        self.write(f"{folder}/distance", distances)

    def pci(self, path: str, class_code: str, ids: str = "8086:1234", **files: str) -> str:
        """Add a function; `path` is the chain of addresses below the host bridge's folder."""
        address = path.rpartition("/")[2]
        folder = f"sys/devices/{path}"
        vendor, _, device = ids.partition(":")
        self.write(f"{folder}/class", f"0x{class_code}")
        self.write(f"{folder}/vendor", f"0x{vendor}")
        self.write(f"{folder}/device", f"0x{device}")
        for name, content in files.items():
            self.write(f"{folder}/{name}", content)
        self.link(f"sys/bus/pci/devices/{address}", f"../../../devices/{path}")
        return folder

    def read(self) -> Facts:
        return sysfs.read(Folder(self.root))

    def document(self) -> MachineDocument:
        return build([self.read()], origin="live", tool=Tool(tool_version="0"))

    def machine(self) -> Machine:
        return Machine(self.document())


@pytest.fixture
def fake(tmp_path: Path) -> FakeRoot:
    root = FakeRoot(tmp_path)
    root.cpus({0: [0, 1, 2, 3], 1: [4, 5, 6, 7]})
    root.numa(0, "0-3", 1 << 20, "10 21")
    root.numa(1, "4-7", 1 << 20, "21 10")
    return root


def server(fake: FakeRoot) -> None:
    """A switch on NUMA 1 with a GPU and a two-port NIC below it, and a drive at a root port."""
    near = {"numa_node": "1", "local_cpulist": "4-7"}
    port = "pci0000:80/0000:80:01.0"
    fake.pci(port, "060400", **near, **GEN4_X16)
    up = f"{port}/0000:81:00.0"
    fake.pci(up, "060400", **near, **GEN4_X16)
    fake.pci(f"{up}/0000:82:00.0", "060400", **near, **GEN4_X16)
    fake.pci(f"{up}/0000:82:01.0", "060400", **near, **GEN4_X16)
    fake.pci(
        f"{up}/0000:82:00.0/0000:83:00.0", "030200", "10de:2330", **near,
        max_link_speed="32.0 GT/s PCIe", max_link_width="16",
        current_link_speed="2.5 GT/s PCIe", current_link_width="16",
    )  # fmt: skip
    nic = f"{up}/0000:82:01.0/0000:84:00.0"
    fake.pci(nic, "020700", "15b3:1021", **near, **GEN4_X16)
    for number in (1, 2):
        ports = f"sys/devices/{nic}/infiniband/mlx5_0/ports/{number}"
        fake.write(f"{ports}/rate", "400 Gb/sec (4X NDR)")
        fake.write(f"{ports}/state", "4: ACTIVE")
        fake.write(f"{ports}/link_layer", "InfiniBand")
        net = f"sys/devices/{nic}/net/ib{number}"
        fake.write(f"{net}/dev_port", str(number - 1))
        fake.link(f"sys/class/net/ib{number}", f"../../devices/{nic}/net/ib{number}")
    fake.link("sys/class/infiniband/mlx5_0", f"../../devices/{nic}/infiniband/mlx5_0")
    drive_port = "pci0000:00/0000:00:02.0"
    fake.pci(drive_port, "060400", numa_node="0", **GEN4_X16)
    drive = f"{drive_port}/0000:01:00.0"
    fake.pci(drive, "010802", "144d:a808", numa_node="0", **GEN4_X16)
    block = f"sys/devices/{drive}/nvme/nvme0/nvme0n1"
    fake.write(f"{block}/size", str(2 << 20))
    fake.link("sys/block/nvme0n1", f"../devices/{drive}/nvme/nvme0/nvme0n1")
    fake.write("sys/devices/virtual/net/lo/type", "772")
    fake.link("sys/class/net/lo", "../../devices/virtual/net/lo")


def test_processors_caches_and_memory_are_read(fake: FakeRoot) -> None:
    machine = fake.machine()
    packages, numas = machine.all(Package), machine.all(Numa)
    assert [(p.num_cores, p.num_threads, p.cpus) for p in packages] == [
        (2, 4, (0, 1, 2, 3)), (2, 4, (4, 5, 6, 7)),
    ]  # fmt: skip
    first = packages[0]
    assert (first.vendor, first.architecture) == ("GenuineIntel", "x86_64")
    assert first.base_clock_hz == 2.5e9
    assert first.instruction_sets == ("fma", "avx2")
    assert [(c.level, c.type, c.size_bytes, c.num_instances) for c in first.caches] == [
        (1, "data", 48 << 10, 2), (3, "unified", 30 << 20, 1),
    ]  # fmt: skip
    assert [(n.memory_bytes, n.cpus, n.distances) for n in numas] == [
        (1 << 30, (0, 1, 2, 3), (10, 21)), (1 << 30, (4, 5, 6, 7), (21, 10)),
    ]  # fmt: skip
    assert [n.parent for n in numas] == ["package:0", "package:1"]


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


def test_kernel_without_numa_has_one_memory(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path)
    root.cpus({-1: [0, 1]})
    root.write("proc/meminfo", "MemTotal:  1048576 kB\nMemFree: 5 kB")
    machine = root.machine()
    assert [(n.memory_bytes, n.cpus) for n in machine.all(Numa)] == [(1 << 30, (0, 1))]
    assert [p.os_index for p in machine.all(Package)] == [0]


def test_empty_root_gives_a_document_that_says_nothing_is_known(tmp_path: Path) -> None:
    document = build([sysfs.read(Folder(tmp_path))], origin="live", tool=Tool(tool_version="0"))
    assert [node.id for node in document.nodes] == ["host"]
    assert {m.fact for m in document.unknown} == {"packages", "numa", "iommu"}


def test_memory_added_after_boot_is_reported_and_given_to_the_only_node(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path)
    root.cpus({0: [0, 1]})
    root.numa(0, "0-1", 8 << 20, "10")
    root.write("proc/meminfo", "MemTotal:  25165824 kB")
    document = root.document()
    (numa,) = Machine(document).all(Numa)
    assert numa.memory_bytes == 24 << 30
    (contradiction,) = document.contradictions
    assert contradiction.readings == (
        "24.0 GiB in the whole machine",
        "8.00 GiB in its NUMA nodes",
    )


@pytest.mark.parametrize(("kilobytes", "is_reported"), [(2 << 20, False), (3 << 20, True)])
def test_memory_of_several_nodes_is_compared_with_the_whole(
    fake: FakeRoot, kilobytes: int, is_reported: bool
) -> None:
    fake.write("proc/meminfo", f"MemTotal:  {kilobytes} kB")
    document = fake.document()
    assert bool(document.contradictions) is is_reported
    assert [numa.memory_bytes for numa in Machine(document).all(Numa)] == [1 << 30, 1 << 30]
