"""Memory latency: a chain of dependent loads, alone and while other CPUs draw bandwidth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.concurrent import Lane, run_together
from topoprobe.measure.device import Stream
from topoprobe.measure.devices.cpu.buffer import CpuBuffer, fill_floats
from topoprobe.measure.devices.cpu.device import CpuDevice, CpuStream
from topoprobe.measure.devices.cpu.libraries import numba_gap
from topoprobe.measure.devices.cpu.ring import fill_ring
from topoprobe.measure.series import Quantity, Trial, collect, require_any, skipped
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Series

from .sizes import ArraySize, array_size

_IDLE_HOPS = 200_000
_CHUNK_HOPS = 20_000
_WINDOW_S = {"quick": 0.1}
_LONG_WINDOW_S = 0.15
# Two rates at once, counted in chunks of milliseconds, scatter more than one alone.
_LOADED_STEADY_RATIO = 0.05
# The ring is built once and only read, so that it may be larger than the suite's arrays where
# there is time to build it.
_RING_SCALE = {"quick": 1}
_LONG_RING_SCALE = 2
_BLOCK = 4096
_LOAD_ARRAY_BYTES = 64 << 20
_LOAD_CHUNK = 1 << 20
_ALL_SPINS = (120_000, 60_000, 30_000, 15_000, 8_000, 4_000, 2_000, 1_000, 500, 0)
_SOME_SPINS = (30_000, 8_000, 4_000, 2_000, 1_000, 0)
_FEW_SPINS = (2_500, 0)
_SPINS = {"quick": (_FEW_SPINS, (0,)), "standard": (_SOME_SPINS, _FEW_SPINS)}
"""Of the mix that gives the curve, and of each other."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What the load threads do: `number` as `paced` wants it, and the arrays moved, as counted."""

    name: str
    number: int
    num_arrays: int


MIXES = (Mix("reads", 0, 1), Mix("2:1", 1, 3), Mix("1:1", 2, 2), Mix("writes", 3, 1))
"""Reads to writes. All stores go past the cache, so that no line is read to be overwritten."""

_CURVE_MIX = "2:1"


@dataclass(frozen=True, slots=True)
class Level:
    """A load: one of a mix, slowed by turns of spinning after each block of 32 KiB per array.

    A turn takes about a nanosecond and a block some microseconds. Numbers go through all mixes.
    """

    number: int
    mix: Mix
    num_spins: int


def levels(suite: str) -> tuple[Level, ...]:
    """Return the loads of a suite, for each mix from a light one to as much as it can."""
    curve, others = _SPINS.get(suite, (_ALL_SPINS, _ALL_SPINS))
    loads = [(mix, num) for mix in MIXES for num in (curve if mix.name == _CURVE_MIX else others)]
    return tuple(Level(number, mix, num) for number, (mix, num) in enumerate(loads))


@dataclass(frozen=True, slots=True)
class LatencyBenchmark:
    """Pointer chase over one closed random cycle, one load per cache line."""

    name: str = "cpu.latency"
    summary: str = "Measure memory latency by pointer chase, idle and under load."
    revision: int = 2
    seconds: float = 6.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Ask for numba: Python itself cannot chase pointers."""
        return numba_gap()

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure idle latency, then latency and load together at each level of load."""
        device = CpuDevice.of(machine, context.cpus)
        scale = _RING_SCALE.get(context.budget.suite, _LONG_RING_SCALE)
        size = array_size(machine, context.budget, num_arrays=2, scale=scale)
        context.progress(f"building a ring of {size.num_bytes >> 20} MiB")
        with device.open_stream(f"core:{device.cpus[0]}") as stream:
            ring = CpuBuffer(size.num_bytes, "host").view("uint64")
            stream.launch(fill_ring, ring, 1)
            chaser = Chaser(stream, ring)
            series = [*_idle(chaser, size, context), *_loaded(device, chaser, size, context)]
        return Outcome(require_any(series))


class Chaser:
    """A pinned stream, a ring of pointers, and the place where the chase stands."""

    def __init__(self, stream: CpuStream, ring: NDArray[np.uint64]) -> None:
        self.stream = stream
        self._ring = ring
        self._slot = 0
        stream.launch(self.walk, 1)  # compiles
        stream.synchronize()

    def walk(self, num_hops: int) -> None:
        """Follow the ring from where the last walk ended."""
        from topoprobe.measure.devices.cpu.plain_loops import chase

        self._slot = chase(self._ring, self._slot, num_hops)

    def time_per_hop_s(self) -> float:
        """Return the seconds of one load, alone."""
        start = self.stream.record()
        self.stream.launch(self.walk, _IDLE_HOPS)
        end = self.stream.record()
        self.stream.synchronize()
        return (end.time_s() - start.time_s()) / _IDLE_HOPS


def _idle(chaser: Chaser, size: ArraySize, context: Context) -> tuple[Series, ...]:
    quantity = Quantity(
        "latency.idle",
        "s",
        {"device": "host", **size.factors("ring_bytes")},
        is_better_higher=False,
    )
    return collect(context, [Trial.of(quantity, chaser.time_per_hop_s)])


def _loaded(
    device: CpuDevice, chaser: Chaser, size: ArraySize, context: Context
) -> tuple[Series, ...]:
    cpus = device.cpus[1:]
    loads = levels(context.budget.suite)
    quantities = [_quantities(level, len(cpus), size) for level in loads]
    if not cpus:
        reason = "one CPU only: nothing can load the memory while it waits"
        return tuple(skipped(one, reason) for pair in quantities for one in pair)
    window_s = _WINDOW_S.get(context.budget.suite, _LONG_WINDOW_S)
    with _load_threads(device, cpus) as threads:
        return collect(
            context,
            [
                Trial(pair, _at_level(device, chaser, threads, level, window_s))
                for pair, level in zip(quantities, loads, strict=True)
            ],
            tolerance_ratio=_LOADED_STEADY_RATIO,
        )


def _quantities(level: Level, num_threads: int, size: ArraySize) -> tuple[Quantity, Quantity]:
    factors = {
        "device": "host",
        "level": level.number,
        "mix": level.mix.name,
        "load_threads": num_threads,
        **size.factors("ring_bytes"),
    }
    return (
        Quantity("latency.loaded", "s", factors, is_better_higher=False),
        Quantity("latency.load", "bytes_per_s", factors),
    )


@dataclass(frozen=True, slots=True)
class _LoadThread:
    stream: CpuStream
    parts: tuple[tuple[Any, ...], ...]


@contextmanager
def _load_threads(device: CpuDevice, cpus: tuple[int, ...]) -> Iterator[list[_LoadThread]]:
    with ExitStack() as stack:
        threads = []
        for cpu in cpus:
            stream = stack.enter_context(device.open_stream(f"core:{cpu}"))
            arrays = [CpuBuffer(_LOAD_ARRAY_BYTES, "host").view("float64") for _ in range(3)]
            for seed, array in enumerate(arrays):
                stream.launch(fill_floats, array, seed)
            stream.launch(_compile, arrays)
            parts = tuple(
                tuple(array[start : start + _LOAD_CHUNK] for array in arrays)
                for start in range(0, arrays[0].size, _LOAD_CHUNK)
            )
            stream.synchronize()
            threads.append(_LoadThread(stream, parts))
        yield threads


def _compile(arrays: list[NDArray[Any]]) -> None:
    from topoprobe.measure.devices.cpu.vector_loops import paced

    out, x, y = (array[:_BLOCK] for array in arrays)
    paced(0, out, x, y, _BLOCK, 0)


def _at_level(
    device: CpuDevice,
    chaser: Chaser,
    threads: list[_LoadThread],
    level: Level,
    window_s: float,
) -> Callable[[], tuple[float, float]]:
    """Return a measurement of (seconds per hop, load in bytes per second)."""
    from topoprobe.measure.devices.cpu import vector_loops

    paced: Callable[..., Any] = vector_loops.paced
    moved = level.mix.num_arrays * _LOAD_CHUNK * 8

    def load_lane(thread: _LoadThread) -> Lane:
        turn = iter(_endless(thread.parts))

        def enqueue(stream: Stream) -> None:
            stream.launch(paced, level.mix.number, *next(turn), _BLOCK, level.num_spins)

        return Lane(device, thread.stream, enqueue, float(moved))

    def chase_lane(stream: Stream) -> None:
        stream.launch(chaser.walk, _CHUNK_HOPS)

    def measure() -> tuple[float, float]:
        flows = [
            [Lane(device, chaser.stream, chase_lane, float(_CHUNK_HOPS), num_queued=4)],
            [load_lane(thread) for thread in threads],
        ]
        hops_per_s, load = run_together(flows, window_s, clock=time.monotonic, pause=time.sleep)
        return 1.0 / hops_per_s, load

    return measure


def _endless(parts: tuple[tuple[Any, ...], ...]) -> Iterator[tuple[Any, ...]]:
    while True:
        yield from parts
