"""The environment, read from a made-up root."""

from __future__ import annotations

from pathlib import Path

from topoprobe.measure.devices.environment import available_memory_bytes, environment


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_environment_names_what_is_set_and_leaves_out_what_is_not(tmp_path: Path) -> None:
    write(tmp_path, "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
    write(
        tmp_path,
        "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23\nGCC version: 12\n",
    )
    found = environment(tmp_path)
    assert found.transparent_huge_pages == "madvise"
    assert found.driver == "570.86.15"
    assert found.governor is None
    assert found.numa_balancing is None
    assert "numpy" in found.packages


def test_available_memory_is_bounded_by_the_cgroup(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", "MemTotal: 8000 kB\nMemAvailable:    6000 kB\n")
    assert available_memory_bytes(tmp_path) == 6_144_000
    write(tmp_path, "sys/fs/cgroup/memory.max", "4096000\n")
    write(tmp_path, "sys/fs/cgroup/memory.current", "1000000\n")
    assert available_memory_bytes(tmp_path) == 3_096_000


def test_available_memory_with_no_limit_is_the_kernels(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", "MemAvailable: 10 kB\n")
    write(tmp_path, "sys/fs/cgroup/memory.max", "max\n")
    write(tmp_path, "sys/fs/cgroup/memory.current", "5\n")
    assert available_memory_bytes(tmp_path) == 10_240


def test_available_memory_untold_is_none(tmp_path: Path) -> None:
    assert available_memory_bytes(tmp_path) is None
