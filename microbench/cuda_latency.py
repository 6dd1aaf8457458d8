"""Latency of a GPU's caches and memory: dependent loads over rings, alone and under load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap
from topoprobe.measure.devices.cuda.chase import (
    BOARD_BYTES,
    LINE_BYTES,
    OUT_BYTES,
    Chase,
    LoadedChase,
    ring_words,
)
from topoprobe.measure.devices.cuda.inventory import OpenGpu
from topoprobe.measure.series import Quantity, Trial, collect
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor, Series

from .gpu_sizes import beyond_cache_bytes, cache_level, powers
from .gpus import measure_each

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice
    from topoprobe.measure.devices.cuda.memory import CudaBuffer

_SMALLEST_RING_BYTES = 16 << 10
_NUM_HOPS = 20_000
# By then the streamers beside the chase run at full rate.
_NUM_LOADED_WARM_HOPS = 10_000
_LOADED_STEADY_RATIO = 0.05
# Rest of each warp after each 16 KiB, from next to no load to as much as there can be.
_PAUSES_S = (1e-3, 300e-6, 100e-6, 50e-6, 25e-6, 12e-6, 6e-6, 3e-6, 1.5e-6, 700e-9, 300e-9, 0.0)
# Of 16 chunks, how many are written, and the mix of reads to writes that this is.
_MIXES = {0: "reads", 4: "3:1", 8: "1:1", 16: "writes"}
_QUICK_MIXES = (0, 8)


class CudaLatencyBenchmark:
    """Pointer chases by one thread.

    A ring has one stop per line of 128 bytes. The load of a loaded chase is what the streamers
    ask for, reads and writes together, between their first start and last end.
    """

    name: str = "cuda.latency"
    summary: str = "Chase pointers through each GPU's caches and memory, idle and under load."
    revision: int = 1
    seconds: float = 8.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every usable GPU."""
        names = (("latency.idle", "s"), ("latency.loaded", "s"), ("latency.load", "bytes_per_s"))
        return measure_each(machine, context, _measure, names)


def _measure(gpu: OpenGpu, context: Context) -> Iterator[Series]:
    ring_bytes = beyond_cache_bytes(gpu.device, num_arrays=4)
    step = 4 if context.budget.suite == "quick" else 2
    sizes = [*powers(_SMALLEST_RING_BYTES, ring_bytes - 1, step), ring_bytes]
    for num_bytes in sizes:
        context.progress(f"building a ring of {num_bytes >> 10} KiB")
        chaser = _Chaser(gpu.device, num_bytes)
        yield from collect(context, [_idle(gpu, chaser)])
    yield from _loaded(gpu, chaser, context)


def _idle(gpu: OpenGpu, chaser: _Chaser) -> Trial:
    factors: dict[str, Factor] = {
        "device": gpu.node.id,
        "ring_bytes": chaser.num_bytes,
        "level": cache_level(chaser.num_bytes, 1, gpu.device.l2_bytes),
    }
    return Trial(
        (
            Quantity("latency.idle", "s", factors, is_better_higher=False),
            Quantity("latency.cycles", "cycles", factors, is_better_higher=False),
        ),
        chaser.idle,
    )


def _loaded(gpu: OpenGpu, chaser: _Chaser, context: Context) -> tuple[Series, ...]:
    suite = context.budget.suite
    mixes = _QUICK_MIXES if suite == "quick" else tuple(_MIXES)
    load = gpu.device.reserve(chaser.num_bytes, "gpu")
    gpu.device.fill(load, seed=1)
    points = [(mix, pause_s) for mix in mixes for pause_s in _PAUSES_S]
    return collect(
        context,
        [
            Trial(_quantities(gpu, level, mix, chaser), chaser.loaded(load, mix, pause_s))
            for level, (mix, pause_s) in enumerate(points)
        ],
        tolerance_ratio=_LOADED_STEADY_RATIO,
    )


def _quantities(
    gpu: OpenGpu, level: int, write_sixteenths: int, chaser: _Chaser
) -> tuple[Quantity, Quantity]:
    factors: dict[str, Factor] = {
        "device": gpu.node.id,
        "level": level,
        "mix": _MIXES[write_sixteenths],
        "ring_bytes": chaser.num_bytes,
    }
    return (
        Quantity("latency.loaded", "s", factors, is_better_higher=False),
        Quantity("latency.load", "bytes_per_s", factors),
    )


class _Chaser:
    """A ring on a GPU, and the word where its chase stands: the next goes on from there.

    A chase that began anew each time would find the same few lines in the cache.
    """

    def __init__(self, device: CudaDevice, num_bytes: int) -> None:
        self._device = device
        self.num_bytes = num_bytes
        self._ring = device.reserve(num_bytes, "gpu")
        device.store(self._ring, ring_words(num_bytes, seed=1))
        self._board = device.reserve(max(OUT_BYTES, BOARD_BYTES), "gpu")
        self._stream = device.open_stream()
        self._word = 0

    def idle(self) -> tuple[float, float]:
        """Return seconds and cycles of one load; a ring that fits the cache is in it by then."""
        num_stops = self.num_bytes // LINE_BYTES
        in_cache = self.num_bytes <= self._device.l2_bytes
        num_warm_hops = num_stops if in_cache else 0
        self._stream.launch(
            self._device.kernels.chase,
            self._ring, self._board, _NUM_HOPS, num_warm_hops, self._word,
        )  # fmt: skip
        chase = Chase.of(self._told(), _NUM_HOPS)
        self._word = chase.last_word
        return chase.s_per_hop, chase.cycles_per_hop

    def loaded(
        self, load: CudaBuffer, write_sixteenths: int, pause_s: float
    ) -> Callable[[], tuple[float, float]]:
        """Return a measurement of seconds per load and of the load beside it."""

        def measure() -> tuple[float, float]:
            self._stream.launch(
                self._device.kernels.loaded_chase,
                self._ring, load, self._board, _NUM_HOPS, _NUM_LOADED_WARM_HOPS,
                write_sixteenths, pause_s, self._word,
            )  # fmt: skip
            found = LoadedChase.of(self._told(), _NUM_HOPS)
            self._word = found.chase.last_word
            return found.chase.s_per_hop, found.load_bytes_per_s

        return measure

    def _told(self) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        self._stream.synchronize()
        return self._device.read_back(self._board, 0, self._board.num_bytes).view(np.uint64)
