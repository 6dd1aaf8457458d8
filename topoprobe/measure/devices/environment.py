"""Software and settings of the machine that a reader of results needs to judge them."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from topoprobe.records.results import Environment

_PACKAGES = ("numpy", "numba", "llvmlite", "torch", "cupy-cuda12x", "cupy-cuda13x", "msgspec")
_HUGE_PAGES = "sys/kernel/mm/transparent_hugepage/enabled"
_GOVERNOR = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
_NUMA_BALANCING = "proc/sys/kernel/numa_balancing"
_DRIVER = "proc/driver/nvidia/version"
# Where a process finds the limit of its cgroup: version 2 with its own name space, then version 1.
_MEMORY_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
_MEMORY_IN_USE = ("sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory/memory.usage_in_bytes")


def environment(root: Path = Path("/")) -> Environment:
    """Read the environment; `root` is where ``proc`` and ``sys`` are, another folder in tests."""
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    return Environment(
        kernel=platform.release() or None,
        python=platform.python_version(),
        packages=_packages(),
        affinity_cpus=cpus,
        governor=_text(root / _GOVERNOR.format(cpus[0])),
        transparent_huge_pages=_chosen(_text(root / _HUGE_PAGES)),
        numa_balancing=_text(root / _NUMA_BALANCING),
        driver=_driver(_text(root / _DRIVER)),
    )


def available_memory_bytes(root: Path = Path("/")) -> int | None:
    """Return the memory that this process could still take, None where the kernel does not tell.

    The lesser of what the kernel calls available and what the cgroup leaves.
    """
    lines = (_text(root / "proc/meminfo") or "").splitlines()
    candidates = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    for limit_path, usage_path in zip(_MEMORY_LIMITS, _MEMORY_IN_USE, strict=True):
        limit, usage = _text(root / limit_path), _text(root / usage_path)
        if limit is not None and limit.isdecimal() and usage is not None and usage.isdecimal():
            candidates.append(max(int(limit) - int(usage), 0))
    return min(candidates, default=None)


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _chosen(choices: str | None) -> str | None:
    """Return the word in brackets of ``always [madvise] never``."""
    if choices is None or "[" not in choices:
        return choices
    return choices.partition("[")[2].partition("]")[0]


def _driver(version: str | None) -> str | None:
    """Return the number after ``Kernel Module`` in the first line of the driver's own text."""
    words = version.splitlines()[0].split() if version else []
    return next((word for word in words if word[:1].isdigit() and "." in word), None)
