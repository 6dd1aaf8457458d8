"""CPUs, caches and NUMA nodes of a made-up machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machine.sources.sysfs.fake_root import FakeRoot
from topoprobe.machine.facts import NumaFact
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Numa, Package


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


def test_kernel_without_numa_has_one_memory(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path)
    root.cpus({-1: [0, 1]})
    root.write("proc/meminfo", "MemTotal:  1048576 kB\nMemFree: 5 kB")
    machine = root.machine()
    assert [(n.memory_bytes, n.cpus) for n in machine.all(Numa)] == [(1 << 30, (0, 1))]
    assert [p.os_index for p in machine.all(Package)] == [0]


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


def test_numa_nodes_keep_the_cpus_that_are_online(fake: FakeRoot) -> None:
    fake.write("sys/devices/system/cpu/online", "0-2,4-7")
    assert [numa.cpus for numa in fake.read().numas] == [(0, 1, 2), (4, 5, 6, 7)]


def test_masks_stand_in_for_lists_on_old_kernels(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path)
    root.cpus({0: [0, 1, 2, 3]})
    for cpu in range(4):
        for index, mask in ((0, "3" if cpu < 2 else "c"), (1, "0000,0000000f")):
            cache = f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
            (tmp_path / f"{cache}/shared_cpu_list").unlink()
            root.write(f"{cache}/shared_cpu_map", mask)
    root.write("sys/devices/system/node/node0/cpumap", "0000000f")
    facts = root.read()
    assert [(c.level, c.num_instances) for c in facts.packages[0].caches] == [(1, 2), (3, 1)]
    assert [numa.cpus for numa in facts.numas] == [(0, 1, 2, 3)]


@pytest.mark.parametrize(
    ("text", "architecture"),
    [
        ("flags\t\t: fpu lm sse2", "x86_64"),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8", "aarch64"),
        ("cpu\t\t: POWER9, altivec supported", None),
        ("", None),
    ],
)
def test_architecture_of_a_recording_is_not_that_of_the_reader(
    text: str, architecture: str | None, tmp_path: Path
) -> None:
    root = FakeRoot(tmp_path)
    root.cpus({0: [0]})
    (tmp_path / "proc/sys/kernel/arch").unlink()
    root.write("proc/cpuinfo", text)
    assert [p.architecture for p in root.read().packages] == [architecture]


def test_memory_nodes_say_whose_memory_they_are(fake: FakeRoot) -> None:
    for node in (2, 3, 4):
        fake.numa(node, "", 1 << 20, "")
    fake.write("proc/driver/nvidia/gpus/0009:01:00.0/numa_status", "Node:      2\nStatus:   online")
    fake.link(
        "sys/bus/dax/devices/dax0.0",
        "../../../devices/platform/ACPI0017:00/root0/region0/dax_region0/dax0.0",
    )
    fake.write("sys/devices/platform/ACPI0017:00/root0/region0/dax_region0/dax0.0/target_node", "3")
    assert fake.read().numas[2:] == (
        NumaFact(
            os_index=2, name="NUMA node 2 (memory of GPU 0009:01:00.0)", memory_bytes=1 << 30,
            memory_of="0009:01:00.0",
        ),
        NumaFact(os_index=3, name="NUMA node 3 (CXL memory)", memory_bytes=1 << 30),
        NumaFact(os_index=4, name="NUMA node 4 (memory without CPUs)", memory_bytes=1 << 30),
    )  # fmt: skip
