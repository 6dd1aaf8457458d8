"""Which file system and which drive a folder lies on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}


@dataclass(frozen=True, slots=True)
class Storage:
    """What is under a folder.

    Attributes
    ----------
    file_system : str
        Its type, as ``ext4``.
    drive : str or None
        The block device, as ``nvme0n1``; None for a file system that is on none, or on several.
    """

    file_system: str
    drive: str | None

    @property
    def is_memory(self) -> bool:
        """Whether it is no storage at all, but memory."""
        return self.file_system in _IN_MEMORY

    @property
    def name(self) -> str:
        """The drive, or the file system where there is no drive to name."""
        return self.drive or self.file_system


def storage_under(folder: Path, root: Path = Path("/")) -> Storage:
    """Find out what a folder lies on.

    Parameters
    ----------
    folder : Path
        An existing folder.
    root : Path
        Folder that holds ``sys`` and ``proc``.
    """
    number = folder.stat().st_dev
    numbers = f"{os.major(number)}:{os.minor(number)}"
    mounts = (root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    file_system = file_system_of(mounts, numbers, str(folder.resolve()))
    return Storage(file_system or "unknown", _drive(root / "sys/dev/block" / numbers))


def file_system_of(mountinfo: str, numbers: str, folder: str) -> str | None:
    """Return the type of the file system with these device numbers, or of the mount above.

    Parameters
    ----------
    mountinfo : str
        Text of ``/proc/self/mountinfo``.
    numbers : str
        Major and minor of the folder's device, as ``254:0``.
    folder : str
        Absolute path; decides where several mounts, or none, have the numbers (btrfs subvolumes).
    """
    above: list[tuple[bool, int, str]] = []
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        fields, kinds = left.split(), right.split()
        if not separator or len(fields) < 5 or not kinds:
            continue
        # The kernel writes blanks in paths as octal escapes.
        point = fields[4].replace("\\040", " ").rstrip("/")
        if folder == point or folder.startswith(f"{point}/"):
            above.append((fields[2] == numbers, len(point), kinds[0]))
    return max(above)[2] if above else None


def _drive(entry: Path) -> str | None:
    """Return the whole drive of a block device, given its folder in sysfs."""
    if not entry.exists():
        return None
    device = entry.resolve()
    return device.parent.name if (device / "partition").exists() else device.name
