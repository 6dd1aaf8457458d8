"""The disk tier: reading and writing a scratch file, past the page cache where that is allowed."""

from __future__ import annotations

import errno
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Clock, Context, Outcome
from topoprobe.measure.devices.cpu.buffer import fill_bytes
from topoprobe.measure.series import Quantity, Trial, collect, require_any
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.units import format_bytes

from .mounts import Storage, storage_under

_MIB = 1 << 20
# 16 tokens of one layer of Llama-2-7B: 2 (K and V) * 16 * 32 heads * 128 * 2 bytes.
_KV_BLOCK_BYTES = 256 << 10
# The file is numbered in such units; every block is a whole number of them.
_UNIT_BYTES = _KV_BLOCK_BYTES
_FILE_BYTES = {"quick": 256 * _MIB}
_LONG_FILE_BYTES = 2048 * _MIB
# Preparing the file stops here, so that a slow disk gets a smaller one.
_PREPARE_S = 1.5
_MIN_FILE_BYTES = 16 * _MIB
# Wear and patience: all samples of one case together write no more than this.
_WRITTEN_BYTES = {"quick": 704 * _MIB}
_LONG_WRITTEN_BYTES = 4096 * _MIB
_READ_SAMPLE_BYTES = 32 * _MIB
_MIN_SAMPLE_BYTES = _MIB
# A series takes up to three times the samples that are wanted (topoprobe.measure.series).
_MOST_SAMPLES_RATIO = 3
_QUICK_SERIES_S = 1.0
# Drives tidy up behind their users' backs, and virtual ones share; memory is steadier.
_STEADY_RATIO = 0.1
_STAMP = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class _Case:
    """How the file is gone through: in blocks of a size, in order or at random."""

    block_bytes: int
    access: str


_CASES = (_Case(_MIB, "sequential"), _Case(_KV_BLOCK_BYTES, "random"))


@dataclass(frozen=True, slots=True)
class DiskBenchmark:
    """Rates of one thread with one request at a time; a write ends when it is on the disk."""

    name: str = "disk.file"
    summary: str = "Read and write a scratch file: large blocks in order, KV blocks at random."
    revision: int = 1
    seconds: float = 3.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Return None: what is under the scratch folder is seen when it runs."""
        return None

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure reading and writing, in alternation; the file is gone afterwards.

        Raises
        ------
        Interrupted
            If the person asked to stop.
        MeasurementFailed
            If nothing could be measured.
        """
        folder = Path(context.scratch)
        storage = storage_under(folder)
        gap = _gap(folder, storage, _FILE_BYTES.get(context.budget.suite, _LONG_FILE_BYTES))
        if gap is not None:
            return Outcome((), Status.SKIPPED, gap)
        context.progress(f"disk: writing a scratch file on {storage.name}")
        with _opened(folder) as scratch:
            wanted = _FILE_BYTES.get(context.budget.suite, _LONG_FILE_BYTES)
            scratch.prepare(wanted, context.clock)
            max_s = _QUICK_SERIES_S if context.budget.suite == "quick" else None
            series = collect(
                context,
                [trial for case in _CASES for trial in _trials(scratch, case, storage, context)],
                tolerance_ratio=_STEADY_RATIO,
                max_series_s=max_s,
            )
        return Outcome(require_any(series))


def _gap(folder: Path, storage: Storage, file_bytes: int) -> str | None:
    """Say why the folder cannot be measured, or None."""
    if storage.is_memory:
        return (
            f"the scratch folder {folder} is on {storage.file_system}, which is memory and no "
            "disk; set TMPDIR to a folder on the disk to be measured"
        )
    status = os.statvfs(folder)
    free_bytes = status.f_bavail * status.f_frsize
    if free_bytes < 2 * file_bytes:
        return (
            f"the scratch folder {folder} has {format_bytes(free_bytes)} free and the file takes "
            f"{format_bytes(file_bytes)}; free some space or set TMPDIR"
        )
    return None


def _trials(
    scratch: _Scratch, case: _Case, storage: Storage, context: Context
) -> tuple[Trial, Trial]:
    """Return the trials of reading and writing in one way."""
    budget = context.budget
    quota = _WRITTEN_BYTES.get(budget.suite, _LONG_WRITTEN_BYTES) // len(_CASES)
    per_sample = quota // (_MOST_SAMPLES_RATIO * budget.num_samples)
    write_bytes = max(_MIN_SAMPLE_BYTES, per_sample // _MIB * _MIB)
    walk = _Walk(scratch.num_bytes // case.block_bytes, case.access)
    factors: dict[str, str | int | float] = {
        "device": "host",
        "name": storage.name,
        "file_system": storage.file_system,
        "direct": int(scratch.buffered_because is None),
        "block_bytes": case.block_bytes,
        "access": case.access,
    }
    if scratch.buffered_because is not None:
        factors["buffered_because"] = scratch.buffered_because

    def rate(
        transfer: Callable[[int, int], None], finish: Callable[[], None], num_bytes: int
    ) -> Callable[[], float]:
        num_blocks = max(1, min(num_bytes, scratch.num_bytes) // case.block_bytes)

        def measure() -> float:
            blocks = walk.take(num_blocks)
            scratch.forget()
            started_s = context.clock()
            for block in blocks:
                transfer(block * case.block_bytes, case.block_bytes)
            finish()
            return num_blocks * case.block_bytes / (context.clock() - started_s)

        return measure

    read = rate(scratch.read, lambda: None, _READ_SAMPLE_BYTES)
    write = rate(scratch.write, scratch.flush, write_bytes)
    return (
        Trial.of(Quantity("disk.read", "bytes_per_s", factors), read),
        Trial.of(Quantity("disk.write", "bytes_per_s", factors), write),
    )


class _Walk:
    """The order in which blocks are visited: all of them before one comes again."""

    def __init__(self, num_blocks: int, access: str) -> None:
        self._rng = np.random.default_rng(num_blocks)
        self._num_blocks = num_blocks
        self._access = access
        self._waiting: list[int] = []

    def take(self, num_blocks: int) -> list[int]:
        """Return the next blocks."""
        while len(self._waiting) < num_blocks:
            order = (
                self._rng.permutation(self._num_blocks).tolist()
                if self._access == "random"
                else range(self._num_blocks)
            )
            self._waiting.extend(order)
        taken, self._waiting = self._waiting[:num_blocks], self._waiting[num_blocks:]
        return taken


class _Scratch:
    """An open file without a name, and one aligned block of random bytes to write and read with.

    Every unit of the file begins with its number and with how often it was written, so that a
    read that brings old or foreign data is noticed.

    Attributes
    ----------
    num_bytes : int
        Size, once prepared.
    buffered_because : str or None
        Why the page cache is between, None where it is not.
    """

    def __init__(self, descriptor: int, buffered_because: str | None) -> None:
        self.num_bytes = 0
        self.buffered_because = buffered_because
        self._descriptor = descriptor
        self._blocks: dict[int, memoryview] = {}
        self._generations: dict[int, int] = {}

    def prepare(self, num_bytes: int, clock: Clock) -> None:
        """Write the file, as much of it as a moment allows."""
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
        for start in range(0, num_bytes, _UNIT_BYTES):
            unit = (offset + start) // _UNIT_BYTES
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
        for start in range(0, num_bytes, _UNIT_BYTES):
            unit = (offset + start) // _UNIT_BYTES
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
        # O_DIRECT wants addresses aligned to the disk's blocks; a mapping begins on a page.
        if num_bytes not in self._blocks:
            memory = memoryview(mmap.mmap(-1, num_bytes))
            fill_bytes(np.frombuffer(memory, dtype=np.uint8), seed=num_bytes)
            self._blocks[num_bytes] = memory
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
def _opened(folder: Path) -> Iterator[_Scratch]:
    """Open a file in the folder and remove its name at once: it goes however this ends."""
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
        yield _Scratch(descriptor, buffered_because)
    finally:
        os.close(descriptor)
