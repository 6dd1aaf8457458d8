"""Flows by the executor ``cpu``: their threads, their memory, their chunks."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topoprobe.errors import MeasurementFailed, UsageError
from topoprobe.measure.concurrent import Lane
from topoprobe.measure.device import Stream
from topoprobe.measure.devices.cpu.buffer import GROUP_BYTES, CpuBuffer, fill_bytes, fill_floats
from topoprobe.measure.devices.cpu.device import CpuDevice, CpuStream
from topoprobe.measure.devices.cpu.gemm import gemm_variants, num_flop
from topoprobe.measure.devices.cpu.libraries import (
    can_limit_blas,
    compute_alone,
    has_module,
    numba_gap,
)
from topoprobe.measure.devices.cpu.placement import buffer_on_node
from topoprobe.measure.devices.cpu.ring import fill_ring
from topoprobe.measure.devices.cpu.stream import ARRAYS_MOVED, SCALAR, stream_variants
from topoprobe.measure.devices.flows import OpenFlow, Place
from topoprobe.measure.devices.storage.scratch import UNIT_BYTES, open_scratch, scratch_gap
from topoprobe.measure.flows import CHUNKED_WORKS, LEAST_CHUNK_BYTES, End, Flow, Work
from topoprobe.units import format_bytes

_UNITS = {
    Work.MEMCPY: "bytes_per_s",
    Work.STREAM: "bytes_per_s",
    Work.CHASE: "per_s",
    Work.GEMM: "flop_per_s",
    Work.GEMV: "bytes_per_s",
    Work.DISK: "bytes_per_s",
}
# Of those whose size can be chosen.
_NUM_BUFFERS = {Work.MEMCPY: 2, Work.STREAM: 3, Work.CHASE: 1, Work.GEMV: 1}
_PAGE_BYTES = 4096
_CHUNK_BYTES = 16 << 20
_HOPS_PER_CHUNK = 20_000
_DISK_BLOCK_BYTES = 1 << 20
# Three matrices of 1 MiB: they stay in a core's second-level cache.
_GEMM_SIZE = 512
_GEMM_BYTES = 4 * _GEMM_SIZE * _GEMM_SIZE
_NUM_MATRICES = 3
# Hidden size of a model of some 7e9 parameters.
_GEMV_COLUMNS = 4096
# Chunks take milliseconds and the runner looks every millisecond.
_NUM_QUEUED = 4


@dataclass(frozen=True, slots=True)
class _Load:
    """Chunks that a lane repeats: a kernel with its arguments in turn, and the work of each.

    `check` raises if what they moved has not arrived.
    """

    kernel: Callable[..., Any]
    arguments: Iterator[tuple[Any, ...]]
    work: float
    check: Callable[[], None] = lambda: None


class CpuFlows:
    """Opens flows on CPU threads and keeps their streams and memory until closed."""

    def __init__(self, place: Place) -> None:
        self._device = CpuDevice.of(place.machine, place.cpus)
        self._scratch = place.scratch
        self._stack = ExitStack()

    def missing(self, flow: Flow) -> str | None:
        """Say which package or CPU a flow would need, or None.

        Raises
        ------
        UsageError
            If it is none between ``host`` and ``core`` ends of this machine, or has a transaction
            size, a size that is not whole pages, or a rate in bytes where none are moved.
        """
        for end in (flow.source, flow.destination):
            if end.kind not in ("host", "core"):
                raise UsageError(
                    f"{flow}: a CPU moves bytes between host:N and core:N; {end} is neither."
                )
            self._device.check_place(str(end))
        self._check_threads(flow)
        if flow.txn_bytes is not None or flow.peer is not None:
            raise UsageError(f"{flow}: a CPU chooses no transaction size and knows no peer.")
        if flow.size_bytes is not None and flow.size_bytes % _PAGE_BYTES:
            raise UsageError(
                f"{flow}: the size is no multiple of {_PAGE_BYTES} bytes; round it up."
            )
        self._check_chunks(flow)
        if flow.cap_bytes_per_s is not None and self.unit(flow) != "bytes_per_s":
            raise UsageError(f"{flow}: {flow.work} moves no bytes that cap could limit.")
        if flow.work is Work.DISK:
            if flow.chunk_bytes is not None and flow.chunk_bytes % UNIT_BYTES:
                raise UsageError(
                    f"{flow}: chunk is no multiple of {UNIT_BYTES} bytes; round it up."
                )
            return scratch_gap(self._scratch, flow.size_bytes or 0)
        return _gap(flow.work)

    def unit(self, flow: Flow) -> str:
        """Return the unit of a flow's rate, by what it does."""
        return _UNITS[flow.work]

    def memory_bytes(self, flow: Flow, size_bytes: int) -> int:
        """Return the memory of all its threads' buffers; the file of a disk flow is not there."""
        each_bytes = {
            Work.GEMM: _NUM_MATRICES * _GEMM_BYTES,
            Work.DISK: flow.chunk_bytes or _DISK_BLOCK_BYTES,
        }.get(flow.work, _NUM_BUFFERS.get(flow.work, 0) * (flow.size_bytes or size_bytes))
        return each_bytes * (flow.executor.count or 1)

    def scratch_folder(self, flow: Flow) -> Path | None:
        """Return the folder of a disk flow's file."""
        return self._scratch if flow.work is Work.DISK else None

    def open(self, flow: Flow, index: int, size_bytes: int) -> OpenFlow:
        """Start its threads and let each touch its own memory.

        Raises
        ------
        EnvironmentMissing
            If memory cannot be placed on the node that it names.
        MeasurementFailed
            If the disk is full or refuses.
        """
        cpus = self._cpus(flow, index)
        lanes, loads = [], []
        for cpu in cpus:
            stream = self._stack.enter_context(self._device.open_stream(f"core:{cpu}"))
            load = self._load(flow, stream, flow.size_bytes or size_bytes)
            loads.append(load)
            num_repeats = self._num_repeats(flow, size_bytes)
            lanes.append(
                Lane(
                    self._device,
                    stream,
                    _enqueuer(load, num_repeats),
                    load.work * num_repeats,
                    num_queued=_NUM_QUEUED,
                )
            )

        def check() -> None:
            for load in loads:
                load.check()

        return OpenFlow(tuple(lanes), cpus, check=check)

    def close(self) -> None:
        """End the threads of all flows."""
        self._stack.close()

    def _check_chunks(self, flow: Flow) -> None:
        least_bytes = min(flow.size_bytes or _CHUNK_BYTES, flow.chunk_bytes or _CHUNK_BYTES)
        if flow.work in CHUNKED_WORKS and least_bytes < LEAST_CHUNK_BYTES:
            raise UsageError(
                f"{flow}: {format_bytes(least_bytes)} are moved faster than a CPU is told to; give "
                f"size and chunk {format_bytes(LEAST_CHUNK_BYTES)} at least."
            )

    def _check_threads(self, flow: Flow) -> None:
        if _core(flow) is not None:  # whoever names a core wants its threads there
            return
        num_cpus = len(self._near(flow))
        if (flow.executor.count or 1) > num_cpus:
            raise UsageError(
                f"{flow}: {flow.executor} asks for {flow.executor.count} threads and {num_cpus} "
                f"CPU{'s' * (num_cpus > 1)} may be used; give cpu:{num_cpus} at most."
            )

    def _near(self, flow: Flow) -> tuple[int, ...]:
        """Return the CPUs for threads that name no core: they write nearest."""
        node = flow.destination.index  # of a host end
        return self._device.cpus if node is None else self._device.cpus_near(node)

    def _cpus(self, flow: Flow, index: int) -> tuple[int, ...]:
        core = _core(flow)
        count = flow.executor.count or 1
        if core is not None:
            return (core,) * count
        cpus = self._near(flow)
        return tuple(cpus[(index + number) % len(cpus)] for number in range(count))

    def _num_repeats(self, flow: Flow, size_bytes: int) -> int:
        """Count the chunks between two time stamps: the runner looks once in a millisecond."""
        if flow.work is Work.DISK:
            return math.ceil(_DISK_BLOCK_BYTES / (flow.chunk_bytes or _DISK_BLOCK_BYTES))
        if flow.work in CHUNKED_WORKS:
            return math.ceil(_CHUNK_BYTES / _chunk_bytes(flow, size_bytes))
        return 1

    def _load(self, flow: Flow, stream: CpuStream, size_bytes: int) -> _Load:
        """Prepare what one thread repeats, on that thread: it places memory of ``core:N``."""
        chunk_bytes = _chunk_bytes(flow, size_bytes)
        make = {
            Work.MEMCPY: _memcpy,
            Work.STREAM: _stream,
            Work.CHASE: _chase,
            Work.GEMM: _gemm,
            Work.GEMV: _gemv,
            Work.DISK: self._disk,
        }[flow.work]
        made: list[_Load] = []
        stream.launch(lambda: made.append(make(flow, size_bytes, chunk_bytes)))
        stream.synchronize()
        return made[0]

    def _disk(self, flow: Flow, size_bytes: int, chunk_bytes: int) -> _Load:
        def allocate(num_bytes: int) -> memoryview:
            return _bytes(flow.destination, num_bytes, num_bytes).data

        file = self._stack.enter_context(open_scratch(self._scratch, allocate))
        file.prepare(size_bytes, time.monotonic)
        block_bytes = flow.chunk_bytes or _DISK_BLOCK_BYTES
        offsets = itertools.cycle(range(0, file.num_bytes - block_bytes + 1, block_bytes))

        def read() -> None:
            file.forget()
            file.read(next(offsets), block_bytes)

        return _Load(read, itertools.repeat(()), block_bytes)


def _chunk_bytes(flow: Flow, size_bytes: int) -> int:
    return min(flow.chunk_bytes or _CHUNK_BYTES, flow.size_bytes or size_bytes)


def _core(flow: Flow) -> int | None:
    """Return the CPU that a flow is bound to."""
    ends = (flow.destination, flow.source)
    return next((end.index for end in ends if end.kind == "core"), None)


def _gap(work: Work) -> str | None:
    """Say what a kind of work needs that is not installed, or None."""
    if work is Work.CHASE:
        return numba_gap()
    if work is Work.GEMM and not (has_module("torch") or can_limit_blas()):
        return "a gemm needs torch or a numpy with OpenBLAS; pip install 'topoprobe[torch]'"
    return None


def _memory(end: End, num_bytes: int, fill: Callable[[NDArray[np.uint8]], object]) -> CpuBuffer:
    """Return memory that lies on the NUMA node of a ``host`` end, or near the calling thread."""
    if end.kind == "host":
        return buffer_on_node(num_bytes, int(end.name), fill)
    buffer = CpuBuffer(num_bytes, str(end))
    fill(buffer.array)
    return buffer


def _bytes(end: End, num_bytes: int, seed: int) -> NDArray[np.uint8]:
    return _memory(end, num_bytes, lambda array: fill_bytes(array, seed)).array


def _floats(end: End, num_bytes: int, seed: int, dtype: str = "float64") -> NDArray[Any]:
    buffer = _memory(end, num_bytes, lambda array: fill_floats(array.view(dtype), seed))
    return buffer.view(dtype)


def _enqueuer(load: _Load, num_repeats: int) -> Callable[[Stream], None]:
    def enqueue(stream: Stream) -> None:
        stream.launch(_repeat, load.kernel, tuple(itertools.islice(load.arguments, num_repeats)))

    return enqueue


def _repeat(kernel: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> None:
    for each in arguments:
        kernel(*each)


def _memcpy(flow: Flow, size_bytes: int, chunk_bytes: int) -> _Load:
    source, target = _bytes(flow.source, size_bytes, 1), _bytes(flow.destination, size_bytes, 2)
    parts = [
        (target[start : start + chunk_bytes], source[start : start + chunk_bytes])
        for start in range(0, size_bytes - chunk_bytes + 1, chunk_bytes)
    ]
    copies = _Copies(flow, parts)
    return _Load(np.copyto, copies, chunk_bytes, copies.check)


class _Copies:
    """Pairs of a target and a source in turn, which is remembered to see that all arrived.

    The target held other bytes before.
    """

    def __init__(self, flow: Flow, parts: Sequence[tuple[NDArray[np.uint8], ...]]) -> None:
        self._flow = flow
        self._parts = parts
        self._num_taken = 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self

    def __next__(self) -> tuple[Any, ...]:
        self._num_taken += 1
        return self._parts[(self._num_taken - 1) % len(self._parts)]

    def check(self) -> None:
        """Compare what was to arrive, once the stream is done.

        Raises
        ------
        MeasurementFailed
            If it has not; the message tells from which byte on.
        """
        for number, (target, source) in enumerate(self._parts[: self._num_taken]):
            if not np.array_equal(target, source):
                offset = sum(one.size for one, _ in self._parts[:number])
                offset += int(np.argmax(target != source))
                raise MeasurementFailed(
                    f"{self._flow}: what was moved arrived wrong, from offset {offset} on."
                )


def _stream(flow: Flow, size_bytes: int, chunk_bytes: int) -> _Load:
    by_name = {variant.name: variant for variant in stream_variants()}
    variant = by_name["numba_nt"] if by_name["numba_nt"].missing is None else by_name["numpy"]
    ends = (flow.destination, flow.source, flow.source)  # a = b + s * c
    arrays = [_floats(end, size_bytes, seed) for seed, end in enumerate(ends)]
    # The vector loop takes whole groups only.
    num = max(chunk_bytes // GROUP_BYTES, 1) * GROUP_BYTES // arrays[0].itemsize
    parts: list[tuple[Any, ...]] = [
        (*(array[start : start + num] for array in arrays), SCALAR)
        for start in range(0, arrays[0].size - num + 1, num)
    ]
    kernel: Callable[..., Any] = variant.kernels["triad"]
    kernel(*parts[0])  # compiles
    return _Load(kernel, itertools.cycle(parts), float(ARRAYS_MOVED["triad"] * num * 8))


def _chase(flow: Flow, size_bytes: int, chunk_bytes: int) -> _Load:
    from topoprobe.measure.devices.cpu.plain_loops import chase

    buffer = _memory(flow.source, size_bytes, lambda array: fill_ring(array.view("uint64"), 1))
    ring = buffer.view("uint64")
    position = chase(ring, 0, 1)  # compiles

    def walk() -> None:
        nonlocal position
        position = chase(ring, position, _HOPS_PER_CHUNK)

    return _Load(walk, itertools.repeat(()), float(_HOPS_PER_CHUNK))


def _gemm(flow: Flow, size_bytes: int, chunk_bytes: int) -> _Load:
    compute_alone()
    multiply = _multipliers()[-1]
    matrices = [
        _floats(flow.source, _GEMM_BYTES, seed, "float32").reshape(_GEMM_SIZE, _GEMM_SIZE)
        for seed in range(_NUM_MATRICES)
    ]
    multiply(*matrices)
    return _Load(multiply, itertools.repeat(tuple(matrices)), float(num_flop(_GEMM_SIZE)))


def _gemv(flow: Flow, size_bytes: int, chunk_bytes: int) -> _Load:
    """Multiply rows of a matrix with a vector, as decoding does: it reads much, computes little."""
    row_bytes = 4 * _GEMV_COLUMNS
    num_rows = max(1, min(chunk_bytes, size_bytes) // row_bytes)
    num_parts = max(1, size_bytes // (num_rows * row_bytes))
    matrix = _floats(flow.source, num_parts * num_rows * row_bytes, 1, "float32")
    vector = np.ones(_GEMV_COLUMNS, dtype=np.float32)
    product = np.empty(num_rows, dtype=np.float32)
    parts = [(part, vector, product) for part in matrix.reshape(num_parts, num_rows, -1)]
    np.dot(*parts[0])
    return _Load(np.dot, itertools.cycle(parts), float(num_rows * row_bytes))


def _multipliers() -> list[Callable[..., Any]]:
    return [variant.multiply for variant in gemm_variants() if variant.multiply is not None]
