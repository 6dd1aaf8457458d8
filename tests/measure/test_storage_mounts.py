"""Which drive a folder lies on, and where a drive may be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from topoprobe.measure.devices.storage.mounts import (
    Storage,
    file_system_of,
    folder_on,
    storage_under,
)

MOUNTINFO = """\
22 1 254:2 / / rw,relatime shared:1 - ext4 /dev/vda2 rw
30 22 0:26 / /dev/shm rw,nosuid - tmpfs tmpfs rw
41 22 0:40 /@home /home rw,relatime - btrfs /dev/nvme0n1p3 rw
52 22 259:1 / /mnt/big\\040disk rw - xfs /dev/nvme1n1 rw
garbage
"""


def test_file_system_of_a_mount_point_is_found_by_path_and_numbers() -> None:
    assert file_system_of(MOUNTINFO, "254:2", "/tmp/scratch") == "ext4"
    assert file_system_of(MOUNTINFO, "0:26", "/dev/shm") == "tmpfs"
    assert file_system_of(MOUNTINFO, "259:1", "/mnt/big disk/out") == "xfs"


def test_file_system_of_a_btrfs_subvolume_falls_back_to_the_mount_above() -> None:
    assert file_system_of(MOUNTINFO, "0:99", "/home/user") == "btrfs"


def test_file_system_of_a_path_beside_a_mount_is_not_confused_by_its_prefix() -> None:
    assert file_system_of(MOUNTINFO, "254:2", "/homework") == "ext4"


def test_file_system_without_mounts_is_unknown() -> None:
    assert file_system_of("", "254:2", "/tmp") is None


def fake_root(tmp_path: Path, points: tuple[str, ...] = ("/",)) -> Path:
    """Make a machine on which all folders lie on a partition of nvme0n1, mounted at `points`."""
    number = tmp_path.stat().st_dev
    numbers = f"{os.major(number)}:{os.minor(number)}"
    partition = tmp_path / "sys/devices/nvme0n1/nvme0n1p2"
    partition.mkdir(parents=True)
    (partition / "partition").write_text("2\n")
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block" / numbers).symlink_to(partition)
    (tmp_path / "proc/self").mkdir(parents=True)
    lines = (f"1 0 {numbers} / {point} rw - xfs /dev/x rw\n" for point in points)
    (tmp_path / "proc/self/mountinfo").write_text("".join(lines))
    return tmp_path


def test_storage_under_a_partition_names_the_whole_drive(tmp_path: Path) -> None:
    assert storage_under(tmp_path, root=fake_root(tmp_path)) == Storage("xfs", "nvme0n1")


def test_folder_on_a_drive_is_the_preferred_one_or_a_mount(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    root = fake_root(tmp_path, ("/nonexistent", str(mount)))
    assert folder_on(("nvme0n1",), tmp_path, root) == tmp_path
    assert folder_on(("nvme0n1",), tmp_path / "gone", root) == mount


def test_folder_on_a_drive_that_holds_no_mount_is_none(tmp_path: Path) -> None:
    assert folder_on(("nvme1n1",), tmp_path, fake_root(tmp_path, (str(tmp_path),))) is None


def test_folder_on_a_drive_that_may_not_be_written_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fake_root(tmp_path, (str(tmp_path),))
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    assert folder_on(("nvme0n1",), tmp_path, root) is None


def test_storage_in_memory_says_so_and_is_named_by_its_file_system() -> None:
    assert Storage("tmpfs", None).is_memory
    assert Storage("tmpfs", None).name == "tmpfs"
    assert not Storage("ext4", "sda").is_memory
