"""The machine as a whole, its IOMMU and what the reading process may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machine.sources.sysfs.fake_root import FakeRoot
from topoprobe.machine.facts import HostFact


def host(fake: FakeRoot) -> HostFact:
    found = fake.read().host
    assert found is not None
    return found


def test_boot_options_that_shape_the_machine_are_kept(fake: FakeRoot) -> None:
    fake.write(
        "proc/cmdline",
        "BOOT_IMAGE=/vmlinuz root=UUID=1 ro iommu=pt intel_iommu=on pci=realloc,noacs quiet "
        "numa_balancing=disable nohz_full=1-7 isolcpus=1-7 default_hugepagesz=1G nosmt "
        "iommu.passthrough=1 crashkernel=auto pcie_aspm=off mem=8G memory_secret=1",
    )
    assert host(fake).kernel_options == (
        "iommu=pt", "intel_iommu=on", "pci=realloc,noacs", "numa_balancing=disable",
        "nohz_full=1-7", "isolcpus=1-7", "default_hugepagesz=1G", "nosmt", "iommu.passthrough=1",
        "pcie_aspm=off", "mem=8G",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("types", "mode", "is_explained"),
    [
        (["identity", "identity"], "identity", False),
        (["identity", "DMA-FQ"], "translated", False),
        (["DMA"], "translated", False),
        (["blocked", ""], None, True),
        ([], "off", False),
        (None, None, True),
    ],
)
def test_iommu_is_told_by_the_types_of_its_groups(
    types: list[str] | None, mode: str | None, is_explained: bool, fake: FakeRoot
) -> None:
    if types is not None:
        (fake.root / "sys/kernel/iommu_groups").mkdir(parents=True)
    for number, kind in enumerate(types or ()):
        fake.write(f"sys/kernel/iommu_groups/{number}/type", kind)
    assert host(fake).iommu == mode
    assert ("iommu" in {m.fact for m in fake.read().unknown}) is is_explained


def test_process_may_use_what_its_status_says(fake: FakeRoot) -> None:
    fake.write("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0,2-3\nMems_allowed_list:\t1")
    found = host(fake)
    assert (found.allowed_cpus, found.allowed_numas) == ((0, 2, 3), (1,))


@pytest.mark.parametrize(
    ("cgroup", "cpus", "mems"),
    [
        ("0::/job", "sys/fs/cgroup/job/cpuset.cpus.effective", "cpuset.mems.effective"),
        ("4:cpu,cpuset:/job", "sys/fs/cgroup/cpuset/job/cpuset.effective_cpus",
         "cpuset.effective_mems"),
        ("4:cpuset:/job", "sys/fs/cgroup/cpuset/job/cpuset.cpus", "cpuset.mems"),
        ("4:cpuset:/job", "dev/cpuset/job/cpus", "mems"),
    ],
)  # fmt: skip
def test_cgroup_tells_where_a_recording_has_no_status(
    cgroup: str, cpus: str, mems: str, fake: FakeRoot
) -> None:
    fake.write("proc/self/cgroup", cgroup)
    fake.write(cpus, "0-1")
    fake.write(f"{cpus.rpartition('/')[0]}/{mems}", "0")
    found = host(fake)
    assert (found.allowed_cpus, found.allowed_numas) == ((0, 1), (0,))


ROOT = "24 1 {} {} / rw,relatime - {} {} rw\n30 24 0:3 / /proc rw - proc proc rw"


@pytest.mark.parametrize(
    ("files", "is_contained"),
    [
        ({}, None),
        ({"proc/1/comm": "systemd"}, False),
        ({"proc/1/comm": "bash"}, None),
        ({".dockerenv": ""}, True),
        ({"run/.containerenv": "", "proc/1/comm": "systemd"}, True),
        ({"proc/self/cgroup": "4:cpuset:/kubepods/burstable/pod1"}, True),
        ({"proc/self/cgroup": "0::/user.slice", "proc/1/comm": "systemd"}, False),
        ({"proc/self/mountinfo": ROOT.format("0:50", "/", "overlay", "overlay")}, True),
        # A virtual machine made of a container's image.
        ({".dockerenv": "", "proc/self/mountinfo": ROOT.format("8:1", "/", "ext4", "/dev/vda")},
         False),
        ({".dockerenv": "",
          "proc/self/mountinfo": ROOT.format("8:1", "/subvolumes/7", "btrfs", "/dev/sda1")}, True),
    ],
)  # fmt: skip
def test_container_is_told_by_signs_that_are_reliable(
    files: dict[str, str], is_contained: bool | None, fake: FakeRoot
) -> None:
    for path, content in files.items():
        fake.write(path, content)
    assert host(fake).is_container is is_contained


def test_hwloc_s_notes_name_the_machine_where_proc_was_not_copied(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path)
    root.write(
        "proc/hwloc-nofile-info", "OSName: Linux\nOSRelease: 4.9.0\nHostName: node7\nPageSize: 4096"
    )
    found = host(root)
    assert (found.name, found.operating_system) == ("node7", "Linux 4.9.0")
