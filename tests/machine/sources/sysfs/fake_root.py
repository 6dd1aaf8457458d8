"""A made-up /sys and /proc, written file by file."""

from __future__ import annotations

from pathlib import Path

from topoprobe.machine.building import build
from topoprobe.machine.facts import Facts
from topoprobe.machine.sources import sysfs
from topoprobe.machine.sources.files import Folder
from topoprobe.machine.view import Machine
from topoprobe.records.base import Tool
from topoprobe.records.machine import MachineDocument

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
