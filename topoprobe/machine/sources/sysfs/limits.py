"""What the process that read the machine may use: CPUs, NUMA nodes, and whether it is contained."""

from __future__ import annotations

import re

from topoprobe.machine.addresses import parse_cpu_list
from topoprobe.machine.sources.files import Files

# Where a cgroup's folder is, by version 2 and 1 and by the cpusets before them, and its files.
_CPUSETS = (
    ("sys/fs/cgroup", "cpuset.{}.effective"),
    ("sys/fs/cgroup/cpuset", "cpuset.effective_{}"),
    ("sys/fs/cgroup/cpuset", "cpuset.{}"),
    ("dev/cpuset", "{}"),
)
_MARKS = (".dockerenv", "run/.containerenv", "run/systemd/container")
_CONTAINER_CGROUP = re.compile(r"/(?:docker|kubepods|libpod|lxc|containerd|crio|garden)\b")
_STATUS_BYTES, _MOUNTS_BYTES = 8192, 1 << 16


def allowed(files: Files) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the CPUs and NUMA nodes that the process may use; empty where nothing tells."""
    told = {}
    for line in (files.text("proc/self/status", _STATUS_BYTES) or "").splitlines():
        name, _, value = line.partition(":")
        told[name] = value
    return (
        parse_cpu_list(told.get("Cpus_allowed_list", "")) or _of_cgroup(files, "cpus"),
        parse_cpu_list(told.get("Mems_allowed_list", "")) or _of_cgroup(files, "mems"),
    )


def is_container(files: Files) -> bool | None:
    """Tell whether the process runs in a container; None if nothing tells reliably.

    A container's marks are also in virtual machines that were made of its image; those have a whole
    disk as their root.
    """
    if _CONTAINER_CGROUP.search(files.text("proc/self/cgroup") or ""):
        return True
    root = _root_mount(files)
    if root == "overlay":
        return True
    if root == "disk":
        return False
    if any(files.data(mark) is not None for mark in _MARKS):
        return True
    return False if files.text("proc/1/comm") in {"systemd", "init"} else None


def _of_cgroup(files: Files, what: str) -> tuple[int, ...]:
    groups = _cgroups(files)
    for folder, name in _CPUSETS:
        for group in groups:
            text = files.text(f"{folder}{group}/{name.format(what)}")
            if text:
                return parse_cpu_list(text)
    return ()


def _cgroups(files: Files) -> list[str]:
    """Return the paths of the process's cgroups that may limit CPUs, and of its older cpuset."""
    found = []
    for line in (files.text("proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers or "cpuset" in controllers.split(","):
            found.append(path)
    found.append(files.text("proc/self/cpuset") or "")
    return [path.rstrip("/") for path in found if path.startswith("/") and ".." not in path]


def _root_mount(files: Files) -> str | None:
    """Tell what is mounted at the root: an ``overlay``, a whole ``disk``, or None for the rest."""
    kind = None
    for line in (files.text("proc/self/mountinfo", _MOUNTS_BYTES) or "").splitlines():
        words, _, rest = line.partition(" - ")
        mount, file_system = words.split(), rest.split()
        if len(mount) < 5 or len(file_system) < 2 or mount[4] != "/":
            continue
        is_disk = mount[3] == "/" and file_system[1].startswith("/dev/")
        kind = "overlay" if file_system[0] == "overlay" else "disk" if is_disk else None
    return kind
