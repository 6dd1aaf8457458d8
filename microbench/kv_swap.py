"""KV-block swap: moving 16-token blocks between a device pool and a host pool, by block tables."""

from __future__ import annotations

import itertools
import statistics
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cpu.blocks import Move, Pool, Table, move_variants
from topoprobe.measure.devices.cpu.buffer import CpuBuffer, fill_floats
from topoprobe.measure.devices.cpu.device import CpuDevice, CpuStream
from topoprobe.measure.devices.cpu.libraries import library_threads
from topoprobe.measure.series import Quantity, Trial, collect, require_any, skipped
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Series

from .sizes import ArraySize, array_size

_KIB = 1 << 10
# 16 tokens of one layer and of a whole model: 2 (K and V) * 16 * heads * head size * bytes, from a
# small model's layer (4 heads of 64 in float32) to all layers of one with 7e9 parameters.
_LONG_BLOCK_BYTES = tuple(size * _KIB for size in (16, 64, 256, 1024, 2048))
# As few as a law of latency and bandwidth can be fitted to.
_BLOCK_BYTES = {"quick": tuple(size * _KIB for size in (16, 256, 2048))}
_DIRECTIONS = ("out", "in")
_LAYOUTS = ("contiguous", "scattered")
_SAMPLE_BYTES = {"quick": 16 << 20}
_LONG_SAMPLE_BYTES = 128 << 20
# Moved before the clock starts, so that a variant meets its own dirty cache lines and not those of
# the variant before it.
_LEAD_BYTES = 4 << 20
# Pools are larger than other experiments' arrays, so that even a large cache holds no second visit.
_POOL_SCALE = 2
_SERIES_S = {"quick": 0.07, "standard": 0.3}
_STEADY_RATIO = 0.05
# No block's number: what a block that never arrived still has at its ends.
_POISON = -1.0
# The matrix of the decode-like load, as large as a small model's weights, is read in slices of this
# many rows of this many columns: 8 MiB, or about a millisecond.
_LOAD_BYTES = 128 << 20
_LOAD_ROWS, _LOAD_COLUMNS = 512, 4096


@dataclass(frozen=True, slots=True)
class KvSwapBenchmark:
    """Gather and scatter of blocks, idle and beside a decode-like load on another CPU."""

    name: str = "kv.swap"
    summary: str = "Swap KV blocks between two pools: sizes, layouts, directions, beside compute."
    revision: int = 1
    seconds: float = 3.5

    def missing(self, machine: MachineDocument) -> str | None:
        """Return None: numpy is always there, and variants that lack a package say so."""
        return None

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every variant idle, then the fastest of each case beside the load.

        Raises
        ------
        Interrupted
            If the person asked to stop.
        MeasurementFailed
            If nothing could be measured.
        """
        device = CpuDevice.of(machine, context.cpus)
        # Two pools; the load and the staging area are smaller than a third.
        size = array_size(machine, context.budget, num_arrays=3, scale=_POOL_SCALE)
        context.progress(f"filling two pools of {size.num_bytes >> 20} MiB")
        series: list[Series] = []
        with (
            library_threads(1),
            device.open_stream(f"core:{device.cpus[0]}") as stream,
            _opened_load(device, min(_LOAD_BYTES, size.num_bytes // 2)) as load,
        ):
            swapper = _Swapper(stream, size, context.budget.suite)
            for block_bytes in _BLOCK_BYTES.get(context.budget.suite, _LONG_BLOCK_BYTES):
                if swapper.sample_bytes % block_bytes == 0:
                    series.extend(_measure(swapper, block_bytes, load, context))
        return Outcome(require_any(series))


def _measure(
    swapper: _Swapper, block_bytes: int, load: _Load | None, context: Context
) -> Iterator[Series]:
    """Measure one block size: all variants idle, then the fastest of each case under load."""
    swapper.begin(block_bytes)
    cases = [(direction, layout) for direction in _DIRECTIONS for layout in _LAYOUTS]
    variants = {variant.name: variant for variant in move_variants()}
    rivals = list(itertools.product(cases, variants.values()))
    for case, variant in rivals:
        if variant.missing is not None:
            yield skipped(_quantity(swapper, *case, "idle", variant.name), variant.missing)
    for variant in variants.values():
        if variant.move is not None:
            swapper.warm_up(variant.move)
    idle = _collected(
        [
            _trial(swapper, *case, "idle", variant.name, variant.move)
            for case, variant in rivals
            if variant.move is not None
        ],
        context,
    )
    yield from idle
    fastest = [(case, variants[_fastest(idle, *case)]) for case in cases]
    if load is None:
        for case, variant in fastest:
            quantity = _quantity(swapper, *case, "beside_compute", variant.name)
            yield skipped(quantity, "one CPU only: nothing can compute beside the swap")
        return
    with load.running():
        yield from _collected(
            [
                _trial(swapper, *case, "beside_compute", variant.name, variant.move)
                for case, variant in fastest
                if variant.move is not None
            ],
            context,
        )


def _collected(trials: Sequence[Trial], context: Context) -> tuple[Series, ...]:
    max_s = _SERIES_S.get(context.budget.suite)
    return collect(context, trials, tolerance_ratio=_STEADY_RATIO, max_series_s=max_s)


def _fastest(series: Sequence[Series], direction: str, layout: str) -> str:
    """Return the variant with the highest median among the idle series of a case."""
    rates = {
        str(one.factors["variant"]): statistics.median(sample.value for sample in one.samples)
        for one in series
        if one.name == f"swap.{direction}" and one.factors["layout"] == layout and one.samples
    }
    if not rates:
        raise MeasurementFailed(f"No variant could swap {direction} {layout} blocks.")
    return max(rates, key=lambda name: rates[name])


def _quantity(swapper: _Swapper, direction: str, layout: str, load: str, variant: str) -> Quantity:
    return Quantity(
        f"swap.{direction}",
        "bytes_per_s",
        {
            "device": "host",
            "layout": layout,
            "load": load,
            "variant": variant,
            **swapper.factors(),
        },
    )


def _trial(
    swapper: _Swapper, direction: str, layout: str, load: str, variant: str, move: Move
) -> Trial:
    return Trial.of(
        _quantity(swapper, direction, layout, load, variant),
        lambda: swapper.bytes_per_s(direction, layout, move),
    )


class _Swapper:
    """Two pools, the thread that moves blocks between them, and the tables it moves by."""

    def __init__(self, stream: CpuStream, size: ArraySize, suite: str) -> None:
        wanted = _SAMPLE_BYTES.get(suite, _LONG_SAMPLE_BYTES)
        self.sample_bytes = min(wanted, size.num_bytes // 4)
        self._stream = stream
        self._size = size
        self._memory: list[NDArray[np.float64]] = []
        # The moving thread touches all pages first, so that they lie near it.
        for seed, num_bytes in enumerate((size.num_bytes, size.num_bytes, self.sample_bytes)):
            memory = CpuBuffer(num_bytes, "host").view("float64")
            stream.launch(fill_floats, memory, seed)
            self._memory.append(memory)
        stream.synchronize()

    def begin(self, block_bytes: int) -> None:
        """Divide the pools into blocks, and number every block in its first and last word."""
        self._block_bytes = block_bytes
        device_pool, host_pool, self._staging = (
            memory.reshape(-1, block_bytes // memory.itemsize) for memory in self._memory
        )
        num_blocks = len(device_pool)
        for first, pool in ((0, device_pool), (num_blocks, host_pool)):
            pool[:, 0] = pool[:, -1] = np.arange(first, first + num_blocks)
        self._target_source = {
            "out": (host_pool, device_pool),
            "in": (device_pool, host_pool),
        }
        self._num_lead = max(1, min(_LEAD_BYTES, self.sample_bytes // 2) // block_bytes)
        num_entries = self._num_lead + self.sample_bytes // block_bytes
        self._tables = BlockTables(num_blocks, num_entries, seed=block_bytes)

    def factors(self) -> dict[str, str | int | float]:
        """Return what the series of this block size have in common."""
        return {
            "block_bytes": self._block_bytes,
            "num_blocks": self.sample_bytes // self._block_bytes,
            **self._size.factors("pool_bytes"),
        }

    def bytes_per_s(self, direction: str, layout: str, move: Move) -> float:
        """Move one table's blocks and return the rate; the table is new to the caches.

        Raises
        ------
        MeasurementFailed
            If a block did not arrive.
        """
        target, source = self._target_source[direction]
        target_blocks, source_blocks = self._tables.take(layout)
        target[target_blocks, 0] = target[target_blocks, -1] = _POISON
        lead, rest = slice(0, self._num_lead), slice(self._num_lead, None)
        self._launch(move, target, source, target_blocks[lead], source_blocks[lead])
        start = self._stream.record()
        self._launch(move, target, source, target_blocks[rest], source_blocks[rest])
        end = self._stream.record()
        self._stream.synchronize()
        _check(target, source, target_blocks, source_blocks)
        return self.sample_bytes / (end.time_s() - start.time_s())

    def warm_up(self, move: Move) -> None:
        """Let a variant compile and load what it needs."""
        target, source = self._target_source["out"]
        blocks = np.arange(self._num_lead)
        self._launch(move, target, source, blocks, blocks)
        self._stream.synchronize()

    def _launch(
        self, move: Move, target: Pool, source: Pool, target_blocks: Table, source_blocks: Table
    ) -> None:
        staging = self._staging[: len(target_blocks)]
        self._stream.launch(move, target, source, target_blocks, source_blocks, staging)


def _check(target: Pool, source: Pool, target_blocks: Table, source_blocks: Table) -> None:
    """Compare both ends of every block, and one block in full."""
    for word in (0, -1):
        is_bad = target[target_blocks, word] != source[source_blocks, word]
        if is_bad.any():
            entry = int(np.argmax(is_bad))
            raise MeasurementFailed(
                f"Block {source_blocks[entry]} did not arrive at {target_blocks[entry]} "
                f"({int(is_bad.sum())} of {len(is_bad)} blocks are wrong)."
            )
    middle = len(target_blocks) // 2
    if not np.array_equal(target[target_blocks[middle]], source[source_blocks[middle]]):
        raise MeasurementFailed(f"Block {source_blocks[middle]} arrived damaged.")


class BlockTables:
    """Hands out pairs of block tables that walk through both pools before they come back.

    Parameters
    ----------
    num_blocks : int
        Blocks of each pool.
    num_entries : int
        Blocks of one table.
    seed : int
        Of the order.
    """

    def __init__(self, num_blocks: int, num_entries: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._num_blocks = num_blocks
        self._num_entries = num_entries
        self._num_turns = num_blocks // num_entries
        self._turn = self._num_turns

    def take(self, layout: str) -> tuple[Table, Table]:
        """Return blocks to write and blocks to read.

        Parameters
        ----------
        layout : str
            ``contiguous``: one run of blocks in each pool; ``scattered``: blocks in random order
            from everywhere in each.
        """
        if self._turn == self._num_turns:
            self._turn = 0
            self._shift = int(self._rng.integers(self._num_turns))
            self._orders = [self._rng.permutation(self._num_blocks) for _ in range(2)]
        turn = self._turn
        self._turn += 1
        if layout == "scattered":
            first, second = (order[self._span(turn)] for order in self._orders)
            return first, second
        shifted = (turn + self._shift) % self._num_turns
        blocks = np.arange(self._num_blocks)
        return blocks[self._span(shifted)], blocks[self._span(turn)]

    def _span(self, turn: int) -> slice:
        return slice(turn * self._num_entries, (turn + 1) * self._num_entries)


class _Load:
    """A matrix-vector product over and over, as decoding does: reads much, computes little."""

    def __init__(self, stream: CpuStream, num_bytes: int) -> None:
        self._stream = stream
        words = CpuBuffer(num_bytes, "host").view("float32")
        stream.launch(fill_floats, words, 1)
        num_words = _LOAD_ROWS * _LOAD_COLUMNS
        self._parts = [
            words[start : start + num_words].reshape(_LOAD_ROWS, _LOAD_COLUMNS)
            for start in range(0, words.size - num_words + 1, num_words)
        ]
        self._vector = np.ones(_LOAD_COLUMNS, dtype=np.float32)
        self._product = np.empty(_LOAD_ROWS, dtype=np.float32)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep it running on its CPU."""
        is_over = threading.Event()

        def multiply() -> None:
            for part in itertools.cycle(self._parts):
                if is_over.is_set():
                    return
                np.dot(part, self._vector, out=self._product)

        self._stream.launch(multiply)
        try:
            yield
        finally:
            is_over.set()
            self._stream.synchronize()


@contextmanager
def _opened_load(device: CpuDevice, num_bytes: int) -> Iterator[_Load | None]:
    """Open the load on the second CPU; None where there is only one."""
    if len(device.cpus) < 2:
        yield None
        return
    with device.open_stream(f"core:{device.cpus[1]}") as stream:
        yield _Load(stream, num_bytes)
