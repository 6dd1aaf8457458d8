"""Which file system and which drive a folder lies on, and where a drive may be written."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
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


def folder_on(drives: Collection[str], preferred: Path, root: Path = Path("/")) -> Path | None:
    """Return a folder on one of these drives that may be written, the roomiest; None without one.

    Parameters
    ----------
    drives : collection of str
        Names of block devices, as ``nvme0n1``.
    preferred : Path
        Taken if it lies on one of them.
    root : Path
        Folder that holds ``sys`` and ``proc``.
    """
    mounts = (root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    if _is_usable(preferred, drives, root):
        return preferred
    points = [Path(point) for _, point, _ in _mounts(mounts)]
    usable = [point for point in points if _is_usable(point, drives, root)]
    # A small partition, such as the one to boot from, is no place for large files.
    return max(usable, key=lambda point: os.statvfs(point).f_bavail, default=None)


def _is_usable(folder: Path, drives: Collection[str], root: Path) -> bool:
    try:
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            return False
        return storage_under(folder, root).drive in drives
    except OSError:  # a mount whose server or drive is gone
        return False


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
    above = [
        (numbers_ == numbers, len(point), kind)
        for numbers_, point, kind in _mounts(mountinfo)
        if folder == point or folder.startswith(f"{point.rstrip('/')}/")
    ]
    return max(above)[2] if above else None


def _mounts(mountinfo: str) -> Iterator[tuple[str, str, str]]:
    """Yield device numbers, mount point and file system of each mount."""
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        fields, kinds = left.split(), right.split()
        if separator and len(fields) >= 5 and kinds:
            # The kernel writes blanks in paths as octal escapes.
            yield fields[2], fields[4].replace("\\040", " "), kinds[0]


def _drive(entry: Path) -> str | None:
    """Return the whole drive of a block device, given its folder in sysfs."""
    if not entry.exists():
        return None
    device = entry.resolve()
    return device.parent.name if (device / "partition").exists() else device.name
