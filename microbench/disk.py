"""The disk tier: reading and writing a scratch file, past the page cache where that is allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.storage.mounts import Storage, storage_under
from topoprobe.measure.devices.storage.scratch import ScratchFile, open_scratch, scratch_gap
from topoprobe.measure.series import Quantity, Trial, collect, require_any
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument

_MIB = 1 << 20
# 16 tokens of one layer of Llama-2-7B: 2 (K and V) * 16 * 32 heads * 128 * 2 bytes.
_KV_BLOCK_BYTES = 256 << 10
_FILE_BYTES = {"quick": 256 * _MIB}
_LONG_FILE_BYTES = 2048 * _MIB
# Wear and patience: all samples of one case together write no more than this.
_WRITTEN_BYTES = {"quick": 704 * _MIB}
_LONG_WRITTEN_BYTES = 4096 * _MIB
_READ_SAMPLE_BYTES = 32 * _MIB
_MIN_SAMPLE_BYTES = _MIB
# A series takes up to three times the samples that are wanted (topoprobe.measure.series).
_MOST_SAMPLES_RATIO = 3
_SERIES_S = {"quick": 0.5, "standard": 4.0}
# Drives tidy up behind their users' backs, and virtual ones share; memory is steadier.
_STEADY_RATIO = 0.1


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
    seconds: float = 1.0

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
        file_bytes = _FILE_BYTES.get(context.budget.suite, _LONG_FILE_BYTES)
        gap = scratch_gap(folder, file_bytes)
        if gap is not None:
            return Outcome((), Status.SKIPPED, gap)
        storage = storage_under(folder)
        context.progress(f"disk: writing a scratch file on {storage.name}")
        with open_scratch(folder) as scratch:
            scratch.prepare(file_bytes, context.clock)
            max_s = _SERIES_S.get(context.budget.suite)
            series = collect(
                context,
                [trial for case in _CASES for trial in _trials(scratch, case, storage, context)],
                tolerance_ratio=_STEADY_RATIO,
                max_series_s=max_s,
            )
        return Outcome(require_any(series))


def _trials(
    scratch: ScratchFile, case: _Case, storage: Storage, context: Context
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
