"""A Linux machine, read from `/sys` and `/proc` without any library or privilege.

The tree may be the live one or a recording. `host`, `cpu`, `pci` and `devices` each yield one kind
of facts.
"""

from __future__ import annotations

from topoprobe.machine.facts import Facts
from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.sysfs import cpu, devices, host, pci


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
    functions, roots, unknown = pci.read(files, {n.address for n in nics if n.address})
    return Facts(
        source=f"sysfs {name}".strip(),
        tree="full",
        host=host.read(files),
        packages=cpu.read_packages(files),
        numas=cpu.read_numas(files),
        roots=roots,
        functions=functions,
        nics=tuple(n for n in nics if n.address is not None),
        storage=devices.read_storage(files),
        unknown=unknown,
    )
