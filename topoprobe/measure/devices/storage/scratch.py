"""A scratch file to read and write, past the page cache where that is allowed."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Clock
from topoprobe.measure.devices.cpu.buffer import fill_bytes
from topoprobe.measure.devices.storage.mounts import storage_under
from topoprobe.units import format_bytes

UNIT_BYTES = 256 << 10
"""The file is numbered in such units; every block is a whole number of them."""

Allocate = Callable[[int], memoryview]

_MIB = 1 << 20
# Preparing the file stops here, so that a slow disk gets a smaller one.
_PREPARE_S = 1.5
_MIN_FILE_BYTES = 16 * _MIB
_STAMP = struct.Struct("<QQ")


def scratch_gap(folder: Path, file_bytes: int) -> str | None:
    """Say why no scratch file of a size can be in a folder, or None."""
    try:
        storage = storage_under(folder)
        status = os.statvfs(folder)
    except OSError as error:
        return f"the scratch folder {folder} cannot be used: {error.strerror}; set TMPDIR"
    if storage.is_memory:
        return (
            f"the scratch folder {folder} is on {storage.file_system}, which is memory and no "
            "disk; set TMPDIR to a folder on the disk to be measured"
        )
    free_bytes = status.f_bavail * status.f_frsize
    if free_bytes < 2 * file_bytes:
        return (
            f"the scratch folder {folder} has {format_bytes(free_bytes)} free and the file takes "
            f"{format_bytes(file_bytes)}; free some space or set TMPDIR"
        )
    return None


def random_block(num_bytes: int) -> memoryview:
    """Return random bytes that begin on a page, wherever the calling thread's memory lies."""
    memory = memoryview(mmap.mmap(-1, num_bytes))
    fill_bytes(np.frombuffer(memory, dtype=np.uint8), seed=num_bytes)
    return memory


class ScratchFile:
    """An open file without a name, and aligned blocks of random bytes to write and read with.

    Every unit of the file begins with its number and with how often it was written, so that a
    read that brings old or foreign data is noticed.

    Parameters
    ----------
    descriptor : int
        Of the file.
    buffered_because : str or None
        Why the page cache is between, None where it is not.
    allocate : callable
        Returns zeroed memory for one block, at a page's start: O_DIRECT wants it aligned.

    Attributes
    ----------
    num_bytes : int
        Size, once prepared.
    buffered_because : str or None
        Why the page cache is between, None where it is not.
    """

    def __init__(self, descriptor: int, buffered_because: str | None, allocate: Allocate) -> None:
        self.num_bytes = 0
        self.buffered_because = buffered_because
        self._descriptor = descriptor
        self._allocate = allocate
        self._blocks: dict[int, memoryview] = {}
        self._generations: dict[int, int] = {}

    def prepare(self, num_bytes: int, clock: Clock) -> None:
        """Write the file, as much of it as a moment allows: a slow disk gets a smaller one.

        Raises
        ------
        MeasurementFailed
            If the disk is full or refuses.
        """
        started_s = clock()
        for offset in range(0, num_bytes, _MIB):
            self.write(offset, _MIB)
            self.num_bytes = offset + _MIB
            if self.num_bytes >= _MIN_FILE_BYTES and clock() - started_s > _PREPARE_S:
                break
        self.flush()

    def write(self, offset: int, num_bytes: int) -> None:
        """Write one block, its units numbered anew.

        Raises
        ------
        MeasurementFailed
            If the disk is full or refuses.
        """
        block = self._block(num_bytes)
        for start in range(0, num_bytes, UNIT_BYTES):
            unit = (offset + start) // UNIT_BYTES
            self._generations[unit] = self._generations.get(unit, 0) + 1
            _STAMP.pack_into(block, start, unit, self._generations[unit])
        self._transfer(os.pwritev, block, offset)

    def read(self, offset: int, num_bytes: int) -> None:
        """Read one block and check the numbers in it.

        Raises
        ------
        MeasurementFailed
            If it is not what was written last.
        """
        block = self._block(num_bytes)
        self._transfer(os.preadv, block, offset)
        for start in range(0, num_bytes, UNIT_BYTES):
            unit = (offset + start) // UNIT_BYTES
            if _STAMP.unpack_from(block, start) != (unit, self._generations[unit]):
                raise MeasurementFailed(
                    f"The scratch file gave back something else than was written at offset "
                    f"{offset + start}."
                )

    def flush(self) -> None:
        """Wait until everything written is on the disk."""
        os.fdatasync(self._descriptor)

    def forget(self) -> None:
        """Drop the file from the page cache, so that a buffered read goes to the disk."""
        if self.buffered_because is not None:
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def _block(self, num_bytes: int) -> memoryview:
        if num_bytes not in self._blocks:
            self._blocks[num_bytes] = self._allocate(num_bytes)
        return self._blocks[num_bytes]

    def _transfer(
        self, call: Callable[[int, list[memoryview], int], int], block: memoryview, offset: int
    ) -> None:
        try:
            moved = call(self._descriptor, [block], offset)
        except OSError as error:
            raise MeasurementFailed(f"The disk refused: {error.strerror}.") from error
        if moved != len(block):
            raise MeasurementFailed(f"The disk moved {moved} of {len(block)} bytes; is it full?")


@contextmanager
def open_scratch(folder: Path, allocate: Allocate = random_block) -> Iterator[ScratchFile]:
    """Open a file in the folder and remove its name at once: it goes however this ends.

    Raises
    ------
    MeasurementFailed
        If the folder takes no file.
    """
    path = folder / f"topoprobe-disk-{os.getpid()}"
    flags = os.O_RDWR | os.O_CREAT
    buffered_because = None
    try:
        try:
            descriptor = os.open(path, flags | os.O_DIRECT, 0o600)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
            buffered_because = f"O_DIRECT: {error.strerror}"
            descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise MeasurementFailed(f"No scratch file can be opened at {path}: {error}.") from error
    finally:
        path.unlink(missing_ok=True)
    try:
        yield ScratchFile(descriptor, buffered_because, allocate)
    finally:
        os.close(descriptor)
