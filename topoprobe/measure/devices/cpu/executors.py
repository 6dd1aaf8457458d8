"""What a CPU flow of the grammar does: its threads, its memory, its chunks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from topoprobe.errors import EnvironmentMissing, UsageError
from topoprobe.measure.concurrent import Lane
from topoprobe.measure.device import Stream
from topoprobe.measure.devices.cpu.buffer import GROUP_BYTES, CpuBuffer, fill_bytes, fill_floats
from topoprobe.measure.devices.cpu.device import CpuDevice, CpuStream
from topoprobe.measure.devices.cpu.gemm import gemm_variants, num_flop
from topoprobe.measure.devices.cpu.libraries import has_module
from topoprobe.measure.devices.cpu.ring import fill_ring
from topoprobe.measure.devices.cpu.stream import ARRAYS_MOVED, SCALAR, stream_variants
from topoprobe.measure.flows import Flow, Work

DEFAULT_SIZE_BYTES = 128 << 20
"""Size of each buffer of a flow that names none."""

UNITS = {
    Work.MEMCPY: "bytes_per_s",
    Work.STREAM: "bytes_per_s",
    Work.CHASE: "per_s",
    Work.GEMM: "flop_per_s",
}
"""Unit of a flow's rate, by what it does."""

_PAGE_BYTES = 4096
_CHUNK_BYTES = 16 << 20
_HOPS_PER_CHUNK = 20_000
# Three matrices of 1 MiB: they stay in a core's second-level cache.
_GEMM_SIZE = 512
# Chunks take milliseconds and the runner looks every millisecond.
_NUM_QUEUED = 4


@dataclass(frozen=True, slots=True)
class _Load:
    """Chunks that a lane repeats: a kernel with its arguments in turn, and the work of each."""

    kernel: Callable[..., Any]
    arguments: Iterator[tuple[Any, ...]]
    work: float


@dataclass(frozen=True, slots=True)
class OpenFlow:
    """A flow ready to run: its lanes, and the CPU of each."""

    lanes: tuple[Lane, ...]
    cpus: tuple[int, ...]


class CpuFlows:
    """Opens flows on a CPU device and keeps their streams and memory until closed.

    Parameters
    ----------
    device : CpuDevice
        Where they run.
    size_bytes : int
        Size of each buffer of a flow that names none.
    """

    def __init__(self, device: CpuDevice, size_bytes: int = DEFAULT_SIZE_BYTES) -> None:
        self._device = device
        self._size_bytes = size_bytes
        self._stack = ExitStack()

    def open(self, flow: Flow, index: int) -> OpenFlow:
        """Make a flow ready to run, its memory touched by the threads that will use it.

        Parameters
        ----------
        flow : Flow
            By the executor ``cpu``, between ``host`` and ``core`` ends.
        index : int
            Its position in the set: flows that name no core take the CPUs in turn.

        Raises
        ------
        UsageError
            If the flow asks for what a CPU cannot do, or for a CPU that may not be used.
        EnvironmentMissing
            If what it does needs a package that is not installed.
        """
        check(flow)
        lanes = []
        cpus = self._cpus(flow, index)
        for cpu in cpus:
            stream = self._stack.enter_context(self._device.open_stream(f"core:{cpu}"))
            load = self._load(flow, stream)
            lanes.append(
                Lane(
                    self._device,
                    stream,
                    _enqueuer(load),
                    load.work,
                    num_queued=_NUM_QUEUED,
                    cap_per_s=flow.cap_bytes_per_s,
                    delay_s=flow.delay_s or 0.0,
                )
            )
        return OpenFlow(tuple(lanes), cpus)

    def close(self) -> None:
        """End the threads of all flows."""
        self._stack.close()

    def _cpus(self, flow: Flow, index: int) -> tuple[int, ...]:
        core = next(
            (end.index for end in (flow.destination, flow.source) if end.kind == "core"), None
        )
        count = flow.executor.count or 1
        if core is not None:
            return (core,) * count
        cpus = self._device.cpus
        return tuple(cpus[(index + number) % len(cpus)] for number in range(count))

    def _load(self, flow: Flow, stream: CpuStream) -> _Load:
        """Prepare what one thread repeats, on that thread."""
        size_bytes = flow.size_bytes or self._size_bytes
        chunk_bytes = min(flow.chunk_bytes or _CHUNK_BYTES, size_bytes)
        make = {
            Work.MEMCPY: _memcpy,
            Work.STREAM: _stream,
            Work.CHASE: _chase,
            Work.GEMM: _gemm,
        }[flow.work]
        made: list[_Load] = []
        # Memory is placed by the thread that touches it first: the one that will use it.
        stream.launch(lambda: made.append(make(size_bytes, chunk_bytes)))
        stream.synchronize()
        return made[0]


def check(flow: Flow) -> None:
    """Check that the CPU can run a flow.

    Raises
    ------
    EnvironmentMissing
        If it is not one of the CPU.
    UsageError
        If it names a transaction size, or a size that is not whole pages.
    """
    ends = (flow.source, flow.destination)
    if flow.executor.kind != "cpu" or any(end.kind not in ("host", "core") for end in ends):
        raise EnvironmentMissing(
            f"{flow} cannot be run: only flows by the executor cpu between host:N and core:N can."
        )
    if flow.txn_bytes is not None:
        raise UsageError(f"{flow}: the CPU has no transaction size to choose; leave out txn.")
    if flow.size_bytes is not None and flow.size_bytes % _PAGE_BYTES:
        raise UsageError(f"{flow}: the size is no multiple of {_PAGE_BYTES} bytes; round it up.")


def memory_bytes(flow: Flow, size_bytes: int) -> int:
    """Return the memory that a flow takes; `size_bytes` is for a flow that names no size."""
    num_buffers = {Work.MEMCPY: 2, Work.STREAM: 3, Work.CHASE: 1, Work.GEMM: 0}[flow.work]
    return num_buffers * (flow.size_bytes or size_bytes) * (flow.executor.count or 1)


def _enqueuer(load: _Load) -> Callable[[Stream], None]:
    def enqueue(stream: Stream) -> None:
        stream.launch(load.kernel, *next(load.arguments))

    return enqueue


def _memcpy(size_bytes: int, chunk_bytes: int) -> _Load:
    target, source = CpuBuffer(size_bytes, "host").array, CpuBuffer(size_bytes, "host").array
    fill_bytes(source, seed=1)
    fill_bytes(target, seed=2)
    parts = [
        (target[start : start + chunk_bytes], source[start : start + chunk_bytes])
        for start in range(0, size_bytes - chunk_bytes + 1, chunk_bytes)
    ]
    return _Load(np.copyto, itertools.cycle(parts), chunk_bytes)


def _stream(size_bytes: int, chunk_bytes: int) -> _Load:
    by_name = {variant.name: variant for variant in stream_variants()}
    variant = by_name["numba_nt"] if by_name["numba_nt"].missing is None else by_name["numpy"]
    arrays = [CpuBuffer(size_bytes, "host").view("float64") for _ in range(3)]
    for seed, array in enumerate(arrays):
        fill_floats(array, seed)
    # The vector loop takes whole groups only.
    num = max(chunk_bytes // GROUP_BYTES, 1) * GROUP_BYTES // arrays[0].itemsize
    parts: list[tuple[Any, ...]] = [
        (*(array[start : start + num] for array in arrays), SCALAR)
        for start in range(0, arrays[0].size - num + 1, num)
    ]
    kernel: Callable[..., Any] = variant.kernels["triad"]
    kernel(*parts[0])  # compiles
    return _Load(kernel, itertools.cycle(parts), float(ARRAYS_MOVED["triad"] * num * 8))


def _chase(size_bytes: int, chunk_bytes: int) -> _Load:
    if not has_module("numba"):
        raise EnvironmentMissing(
            "A pointer chase needs numba, which is not installed; pip install 'topoprobe[bench]'."
        )
    from topoprobe.measure.devices.cpu.plain_loops import chase

    ring = CpuBuffer(size_bytes, "host").view("uint64")
    fill_ring(ring, seed=1)
    position = chase(ring, 0, 1)  # compiles

    def walk() -> None:
        nonlocal position
        position = chase(ring, position, _HOPS_PER_CHUNK)

    return _Load(walk, itertools.repeat(()), float(_HOPS_PER_CHUNK))


def _gemm(size_bytes: int, chunk_bytes: int) -> _Load:
    usable = [one.multiply for one in gemm_variants() if one.multiply is not None]
    if not usable:
        raise EnvironmentMissing(
            "A gemm flow needs torch or a numpy with OpenBLAS; pip install 'topoprobe[torch]'."
        )
    multiply = usable[-1]
    num_bytes = _GEMM_SIZE * _GEMM_SIZE * 4
    matrices = [
        CpuBuffer(num_bytes, "host").view("float32").reshape(_GEMM_SIZE, _GEMM_SIZE)
        for _ in range(3)
    ]
    for seed, matrix in enumerate(matrices):
        fill_floats(matrix.reshape(-1), seed)
    multiply(*matrices)
    return _Load(multiply, itertools.repeat(tuple(matrices)), float(num_flop(_GEMM_SIZE)))
