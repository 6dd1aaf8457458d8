"""A Linux machine, read from `/sys` and `/proc` without any library or privilege.

The tree may be the live one or a recording. `host`, `cpu`, `pci`, `devices`, `cxl` and
`nvidia_driver` each yield one kind of facts; `locality` says which of them cannot be.
"""

from __future__ import annotations

from topoprobe.machine.facts import Facts
from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.sysfs import (
    cpu,
    cxl,
    devices,
    host,
    locality,
    nvidia_driver,
    pci,
)


def matches(files: Files) -> bool:
    """Tell whether this is a copy of `/sys`."""
    return bool(files.names("sys/devices/system") or files.names("sys/bus/pci/devices"))


def read(files: Files, name: str = "") -> Facts:
    """Read what Linux tells about the machine.

    Parameters
    ----------
    files : Files
        The tree that holds ``sys`` and ``proc``. Absent files are normal; nothing here raises.
    name : str
        Of a recording.
    """
    nics = devices.read_nics(files)
    gpus = nvidia_driver.read_gpus(files)
    tree = pci.read(files, {n.address for n in nics if n.address}, {gpu.subject for gpu in gpus})
    packages = cpu.read_packages(files)
    owners = {g.memory_numa_index: g.subject for g in gpus if g.memory_numa_index is not None}
    numas = cpu.read_numas(files, owners, cxl.memory_kinds(files))
    judged = locality.judge(tree.functions, packages, numas)
    machine, silent = host.read(files)
    return Facts(
        source=f"sysfs {name}".strip(),
        tree="full" if tree.is_whole else "none",
        host=machine,
        packages=packages,
        numas=numas,
        roots=tree.roots,
        functions=judged.functions,
        nics=tuple(n for n in nics if n.address is not None),
        storage=devices.read_storage(files),
        memory_devices=cxl.read_memory_devices(files),
        gpus=gpus,
        unknown=(*tree.unknown, *judged.unknown, *silent),
        contradictions=judged.contradictions,
    )
