"""The live Linux machine, read from `/sys` and `/proc` without any library or privilege.

Everything is read below a root folder, so that a recorded tree can be read as well. `files` reads,
`host`, `cpu`, `pci` and `devices` each yield one kind of facts.
"""

from __future__ import annotations

from pathlib import Path

from topoprobe.machine.facts import Facts
from topoprobe.machine.sources.sysfs import cpu, devices, host, pci
from topoprobe.machine.sources.sysfs.files import Files


def read(root: Path = Path("/")) -> Facts:
    """Read what Linux tells about the machine.

    Parameters
    ----------
    root : Path
        Folder that holds ``sys`` and ``proc``. Absent files are normal; nothing here raises.
    """
    files = Files(root)
    nics = devices.read_nics(files)
    functions, roots, unknown = pci.read(files, {n.address for n in nics if n.address})
    return Facts(
        source="sysfs",
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
