"""KV-block swaps between each GPU and host memory: idle, and beside a decode-like kernel."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap
from topoprobe.measure.devices.cuda.inventory import OpenGpu
from topoprobe.measure.devices.cuda.loads import Gemv
from topoprobe.measure.series import Quantity, Trial, collect, skipped
from topoprobe.measure.window import Trace, Window, work_in
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor, Series

from .cuda_host_memory import host_factors
from .cuda_timing import Repeated
from .gpu_sizes import beyond_cache_bytes
from .gpus import measure_each
from .kv_swap import BlockTables

if TYPE_CHECKING:
    from topoprobe.measure.device import Latch
    from topoprobe.measure.devices.cuda.blocks import Direction, Pools, Swap, Table, Variant
    from topoprobe.measure.devices.cuda.device import CudaEvent
    from topoprobe.measure.devices.cuda.memory import CudaBuffer

_KIB = 1 << 10
# 16 tokens of one layer and of a whole model: 2 (K and V) * 16 * heads * head size * bytes.
_BLOCK_BYTES = {"quick": (16 * _KIB, 256 * _KIB, 2048 * _KIB)}
_ALL_BLOCK_BYTES = tuple(size * _KIB for size in (4, 16, 64, 256, 1024, 2048))
_WAYS: dict[str, tuple[Direction, ...]] = {"out": ("out",), "in": ("in",), "both": ("out", "in")}
_LAYOUTS = ("contiguous", "scattered")
_MAX_SWAP_BYTES = 64 << 20
_MAX_POOL_BYTES = 1 << 30
_SEED = 31
# No block holds it at its ends: words of the pattern are random.
_POISON_WORD = np.zeros(1, dtype=np.uint64)
_WORD_BYTES = 8
# With a time stamp behind each, well inside the driver's queue of 1024.
_MAX_LAUNCHES = 256
_STEADY_RATIO = 0.05

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _Case:
    """What is moved: a way (``out``, ``in`` or ``both``), a layout, and a variant."""

    way: str
    layout: str
    variant: Variant


class CudaKvSwapBenchmark:
    """Blocks of one size by tables that walk through both pools.

    Bytes are the payload: blocks times their size, of both ways together for ``both``. All copies
    and kernels of a swap are queued before it starts, so that neither Python's nor the driver's
    pace of enqueuing counts. A variant that copies once or runs a kernel has its blocks next to
    each other in the host's pool, also where the layout scatters those of the GPU. ``swap.decode``
    is what the decode-like kernel reads, alone and in the time of each swap.
    """

    name: str = "cuda.kv_swap"
    summary: str = "Swap KV blocks between each GPU and the host: sizes, layouts, ways, variants."
    revision: int = 1
    seconds: float = 14.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every usable GPU."""
        names = tuple((f"swap.{way}", "bytes_per_s") for way in _WAYS)
        return measure_each(machine, context, _measure, names)


def _measure(gpu: OpenGpu, context: Context) -> Iterator[Series]:
    # cupy is optional: this line is reached only where `cuda_gap` found it.
    from topoprobe.measure.devices.cuda.blocks import Pools, block_variants

    device = gpu.device
    pool_bytes = _pool_bytes(gpu, context.budget.memory_bytes)
    context.progress(f"filling two pools of {pool_bytes >> 20} MiB")
    local, host = (device.allocate(pool_bytes, place, _SEED) for place in ("gpu", gpu.pinned_place))
    staging = {
        way: device.reserve(min(_MAX_SWAP_BYTES, pool_bytes), "gpu") for way in _WAYS["both"]
    }
    load = _Load(gpu, Gemv(device, pool_bytes))
    yield from collect(context, [load.alone()])
    suite = context.budget.suite
    for block_bytes in _BLOCK_BYTES.get(suite, _ALL_BLOCK_BYTES):
        pools = Pools(device, local, host, staging, block_bytes)
        if pools.num_blocks < 4:
            continue
        swapper = _Swapper(gpu, pools, load)
        yield from _of_size(swapper, block_variants(), context)


def _pool_bytes(gpu: OpenGpu, memory_bytes: int) -> int:
    """Return the size of each pool, of which the GPU also holds a matrix as large."""
    wanted = min(beyond_cache_bytes(gpu.device, num_arrays=4), _MAX_POOL_BYTES, memory_bytes // 2)
    largest = max(_ALL_BLOCK_BYTES)
    return wanted // largest * largest or wanted


def _of_size(swapper: _Swapper, variants: Sequence[Variant], context: Context) -> Iterator[Series]:
    cases = [
        _Case(way, layout, variant)
        for way, layout, variant in itertools.product(_WAYS, _LAYOUTS, variants)
        if layout == "contiguous" or not variant.needs_gpu_run
    ]
    for case in cases:
        if case.variant.missing is not None:
            yield skipped(swapper.quantity(case, "idle"), case.variant.missing)
    usable = [case for case in cases if case.variant.missing is None]
    idle = collect(context, [swapper.idle(case) for case in usable], tolerance_ratio=_STEADY_RATIO)
    yield from idle
    beside = usable if context.budget.suite != "quick" else list(_fastest(usable, idle))
    yield from collect(
        context, [swapper.beside(case) for case in beside], tolerance_ratio=_STEADY_RATIO
    )


def _fastest(cases: Sequence[_Case], idle: Sequence[Series]) -> Iterator[_Case]:
    """Yield the fastest case of each way and layout."""
    rates = {
        id(case): statistics.median(sample.value for sample in one.samples) if one.samples else 0.0
        for case, one in zip(cases, idle, strict=True)
    }
    for way, layout in itertools.product(_WAYS, _LAYOUTS):
        rivals = [case for case in cases if (case.way, case.layout) == (way, layout)]
        yield max(rivals, key=lambda case: rates[id(case)])


class _Swapper:
    """Takes samples of swaps between two pools of one block size."""

    def __init__(self, gpu: OpenGpu, pools: Pools, load: _Load) -> None:
        from topoprobe.measure.devices.cuda.blocks import MAX_BLOCKS

        self._gpu = gpu
        self._device = gpu.device
        self._pools = pools
        self._load = load
        fitting = _MAX_SWAP_BYTES // pools.block_bytes
        self.num_blocks = min(MAX_BLOCKS, fitting, pools.num_blocks // 4)
        # Both ways take a table each, of blocks that the other way does not touch.
        self._tables = BlockTables(pools.num_blocks, 2 * self.num_blocks, seed=pools.block_bytes)
        self._streams = [gpu.device.open_stream() for _ in range(2)]

    def quantity(self, case: _Case, load: str, name: str | None = None) -> Quantity:
        """Return the quantity of a case: a rate of the swap, or of the load beside it."""
        factors: dict[str, Factor] = {
            "device": self._gpu.node.id,
            "layout": case.layout,
            "load": load,
            "variant": case.variant.name,
            "block_bytes": self._pools.block_bytes,
            "num_blocks": self.num_blocks,
            "pool_bytes": self._pools.local.num_bytes,
            **host_factors(self._pools.host),
        }
        if name is not None:
            factors["way"] = case.way
        return Quantity(name or f"swap.{case.way}", "bytes_per_s", factors)

    def idle(self, case: _Case) -> Trial:
        """Return the measurement with nothing else on the GPU."""

        def bytes_per_s() -> float:
            window = self._run(case, None)
            return self._num_bytes(case) / window.duration_s

        return Trial.of(self.quantity(case, "idle"), bytes_per_s)

    def beside(self, case: _Case) -> Trial:
        """Return the measurement of a swap, and of what the load reads in its time."""

        def rates() -> tuple[float, float]:
            while True:
                window = self._run(case, self._load)
                trace = self._load.trace()
                if trace.ends_s[-1] >= window.end_s:
                    break
                self._load.lengthen()
            return (
                self._num_bytes(case) / window.duration_s,
                work_in(trace, window) / window.duration_s,
            )

        return Trial(
            (
                self.quantity(case, "beside_compute"),
                self.quantity(case, "beside_swap", "swap.decode"),
            ),
            rates,
        )

    def _run(self, case: _Case, load: _Load | None) -> Window:
        """Run one swap of each way, and the load if there is one; return the time that they took.

        Raises
        ------
        MeasurementFailed
            If a block did not arrive.
        """
        swaps = self._next(case)
        for swap in swaps:
            self._poison(swap)
            self._pools.prepare(swap)
        streams = self._streams[: len(swaps)]
        latch = self._device.latch()
        try:
            if load is not None:
                load.enqueue(latch)
            for stream in streams:
                stream.hold(latch)
            starts = [stream.record() for stream in streams]
            for stream, swap in zip(streams, swaps, strict=True):
                case.variant.enqueue(self._pools, stream, swap)
            ends = [stream.record() for stream in streams]
        finally:  # streams that wait could not be closed
            latch.open()
        for stream in streams:
            stream.synchronize()
        if load is not None:
            load.wait()
        for swap in swaps:
            self._check(swap)
        return Window(max(one.time_s() for one in starts), max(one.time_s() for one in ends))

    def _num_bytes(self, case: _Case) -> int:
        return len(_WAYS[case.way]) * self.num_blocks * self._pools.block_bytes

    def _next(self, case: _Case) -> list[Swap]:
        """Return what to move: blocks that were not moved for long, none of them twice."""
        from topoprobe.measure.devices.cuda.blocks import Swap

        host, local = self._tables.take(case.layout)
        if case.variant.needs_host_run and case.layout == "scattered":
            host = self._tables.take("contiguous")[0]
        halves = (slice(None, self.num_blocks), slice(self.num_blocks, None))
        return [
            Swap(direction, host[half], local[half])
            for direction, half in zip(_WAYS[case.way], halves, strict=False)
        ]

    def _poison(self, swap: Swap) -> None:
        """Overwrite both ends of every block that is to be replaced."""
        target, blocks = self._target(swap)
        for at in self._ends_of(blocks):
            self._device.store(target, _POISON_WORD, at)

    def _check(self, swap: Swap) -> None:
        """Compare both ends of every block with its source's, and one block in full."""
        target, target_blocks = self._target(swap)
        source, source_blocks = self._source(swap)
        found, expected = (
            np.array([self._words(pool, at, 1)[0] for at in self._ends_of(blocks)])
            for pool, blocks in ((target, target_blocks), (source, source_blocks))
        )
        is_wrong = found != expected
        if is_wrong.any():
            entry = int(np.argmax(is_wrong)) // 2
            raise MeasurementFailed(
                f"Block {source_blocks[entry]} did not arrive at {target_blocks[entry]} "
                f"({int(is_wrong.reshape(-1, 2).any(axis=1).sum())} of {len(target_blocks)} are "
                "wrong)."
            )
        size, middle = self._pools.block_bytes, len(target_blocks) // 2
        num_words = size // _WORD_BYTES
        arrived = self._words(target, int(target_blocks[middle]) * size, num_words)
        sent = self._words(source, int(source_blocks[middle]) * size, num_words)
        if not np.array_equal(arrived, sent):
            raise MeasurementFailed(f"Block {source_blocks[middle]} arrived damaged.")

    def _target(self, swap: Swap) -> tuple[CudaBuffer, Table]:
        return self._side(swap, swap.direction == "out")

    def _source(self, swap: Swap) -> tuple[CudaBuffer, Table]:
        return self._side(swap, swap.direction == "in")

    def _side(self, swap: Swap, is_host: bool) -> tuple[CudaBuffer, Table]:
        if is_host:
            return self._pools.host, swap.host_blocks
        return self._pools.local, swap.gpu_blocks

    def _ends_of(self, blocks: Table) -> Iterator[int]:
        """Yield where the first and the last word of every block are."""
        size = self._pools.block_bytes
        for block in blocks.tolist():
            yield block * size
            yield (block + 1) * size - _WORD_BYTES

    def _words(self, pool: CudaBuffer, start_bytes: int, num_words: int) -> Words:
        return self._device.read_back(pool, start_bytes, num_words * _WORD_BYTES).view(np.uint64)


class _Load:
    """A decode-like matrix-vector product, over and over, for as long as a swap takes."""

    def __init__(self, gpu: OpenGpu, gemv: Gemv) -> None:
        self._gpu = gpu
        self._gemv = gemv
        self._stream = gpu.device.open_stream()
        self._num_launches = 8
        self._start: CudaEvent | None = None
        self._ends: list[CudaEvent] = []

    def alone(self) -> Trial:
        """Return the measurement without a swap beside it."""
        timed = Repeated(self._gpu.device, self._gemv.enqueue, check=self._gemv.check)
        factors: dict[str, Factor] = {"device": self._gpu.node.id, "load": "alone"}
        quantity = Quantity("swap.decode", "bytes_per_s", factors)
        return Trial.of(quantity, timed.rate_of(self._gemv.work))

    def enqueue(self, latch: Latch) -> None:
        """Put launches behind a latch, with a time stamp after each."""
        self._stream.hold(latch)
        self._start = self._stream.record()
        self._ends = []
        for _ in range(self._num_launches):
            self._gemv.enqueue(self._stream)
            self._ends.append(self._stream.record())

    def wait(self) -> None:
        """Wait for the launches."""
        self._stream.synchronize()

    def trace(self) -> Trace:
        """Return when each launch ended."""
        assert self._start is not None
        return Trace(
            self._start.time_s(), tuple(event.time_s() for event in self._ends), self._gemv.work
        )

    def lengthen(self) -> None:
        """Launch twice as often from now on.

        Raises
        ------
        MeasurementFailed
            If the driver's queue holds no more.
        """
        if self._num_launches >= _MAX_LAUNCHES:
            raise MeasurementFailed("The decode-like load ended before the swap beside it did.")
        self._num_launches *= 2
