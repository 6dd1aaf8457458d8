"""What NVIDIA's driver leaves in /proc."""

from __future__ import annotations

import pytest

from tests.machine.sources.sysfs.fake_root import FakeRoot
from topoprobe.machine.facts import GpuFact

GPUS = "proc/driver/nvidia/gpus/0000:19:00.0"
INFORMATION = """\
Model: \t\t NVIDIA H100 80GB HBM3
IRQ:   \t\t 18
GPU UUID: \t {uuid}
Bus Location: \t 0000:19:00.0
GPU Excluded:\t No"""
UUID = "GPU-1b2c3d4e-0000-1111-2222-333344445555"


@pytest.mark.parametrize(
    ("version", "driver"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023",
         "nvidia 535.129.03"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.105  Release Build  (b)\n"
         "GCC version:  gcc version 12.3.0", "nvidia 580.105"),
        ("NVRM version: something else", None),
    ],
)  # fmt: skip
def test_gpu_is_read_with_its_driver(version: str, driver: str | None, fake: FakeRoot) -> None:
    fake.write("proc/driver/nvidia/version", version)
    fake.write(f"{GPUS}/information", INFORMATION.format(uuid=UUID))
    assert fake.read().gpus == (
        GpuFact(subject="0000:19:00.0", name="NVIDIA H100 80GB HBM3", uuid=UUID, driver=driver),
    )


def test_uuid_that_may_not_be_told_is_unknown(fake: FakeRoot) -> None:
    hidden = "GPU-????????-????-????-????-????????????"
    fake.write(f"{GPUS}/information", INFORMATION.format(uuid=hidden))
    assert fake.read().gpus[0].uuid is None


@pytest.mark.parametrize(
    ("status", "node"),
    [
        ("Node:      255\nStatus:    online\nSize:      3f0000000", 255),
        ("Node:      -1\nStatus:    disabled", None),
        ("Node:      2\nStatus:    offline", None),
        ("junk", None),
    ],
)
def test_memory_is_a_numa_node_once_it_is_online(
    status: str, node: int | None, fake: FakeRoot
) -> None:
    fake.write(f"{GPUS}/numa_status", status)
    assert fake.read().gpus[0].memory_numa_index == node
