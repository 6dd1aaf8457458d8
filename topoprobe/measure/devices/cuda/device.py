"""A GPU behind the asynchronous device interface, through CuPy.

Imported only where `availability.cuda_gap` finds nothing missing: it imports cupy at its top.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt

from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.measure.device import Buffer, Latch
from topoprobe.measure.devices.cuda.batch import Addresses, copy_batch
from topoprobe.measure.devices.cuda.bindings import PRELOAD_BYTES, Kernels
from topoprobe.measure.devices.cuda.floats import FloatType
from topoprobe.measure.devices.cuda.kernels import FAMILIES, architecture_for, compile_family
from topoprobe.measure.devices.cuda.memory import (
    CUDA_ERRORS,
    CudaBuffer,
    gpu_memory,
    host_memory,
    mapped_errors,
)
from topoprobe.measure.devices.cuda.pattern import Mismatch, compare, pattern_words

LATCH_TIMEOUT_S = 20.0
"""A stream held longer than this goes on by itself, and its measurement fails."""

MAX_COPIES_BEHIND_LATCH = 256
"""The driver's queue holds about 1024 entries and a copy may take three; past it, enqueuing blocks,
and would block for ever behind a latch that only the blocked thread can open."""

_WORD_BYTES = 8
_REPORT_BYTES = 3 * _WORD_BYTES
_NUM_ANCHOR_TRIES = 5


@dataclass(frozen=True, slots=True)
class _Anchor:
    """One moment on both clocks: an event of the GPU, and the host's monotonic seconds."""

    event: Any
    host_s: float


class CudaEvent:
    """A point in a CUDA stream; its time is converted through the anchor before it."""

    __slots__ = ("_anchor", "_event")

    def __init__(self, event: Any, anchor: _Anchor) -> None:
        self._event = event
        self._anchor = anchor

    def wait(self) -> None:
        """Block the calling thread until the stream has passed it."""
        with mapped_errors("wait for an event"):
            self._event.synchronize()

    def is_done(self) -> bool:
        """Tell whether the stream has passed it."""
        with mapped_errors("query an event"):
            return bool(self._event.done)

    def time_s(self) -> float:
        """Return when it was passed, in seconds of the host's monotonic clock.

        Good to a few microseconds: the width of the anchor, and float32 milliseconds since then.
        For the duration between two events of one GPU use `seconds_since`.

        Raises
        ------
        MeasurementFailed
            If the stream has not passed it yet.
        """
        if not self.is_done():
            raise MeasurementFailed("The event has not happened yet; synchronize its stream first.")
        with mapped_errors("read an event's time"):
            elapsed_ms: float = cupy.cuda.get_elapsed_time(self._anchor.event, self._event)
        return self._anchor.host_s + elapsed_ms * 1e-3

    def seconds_since(self, earlier: CudaEvent) -> float:
        """Return the time between two passed events of the same GPU, by its own clock."""
        with mapped_errors("read the time between events"):
            return float(cupy.cuda.get_elapsed_time(earlier._event, self._event)) * 1e-3


class CudaLatch:
    """Holds CUDA streams, of any GPU, by a kernel that polls pinned host memory.

    Word 0 of the memory is the flag; every held stream has a word of its own after it, in which
    its kernel notes whether it saw the latch open (1) or gave up (2).
    """

    _MAX_HOLDS = 255

    def __init__(self) -> None:
        size = 4 * (self._MAX_HOLDS + 1)
        flags = cupy.cuda.runtime.hostAllocPortable | cupy.cuda.runtime.hostAllocMapped
        with mapped_errors("allocate pinned memory for a latch"):
            memory = cupy.cuda.pinned_memory.PinnedMemory(size, flags)
        self._buffer = CudaBuffer(size, "pinned:0", memory)
        self._words = self._buffer.host_view("uint32")
        self._words[:] = 0
        self._num_holds = 0

    @property
    def is_open(self) -> bool:
        """Whether `open` was called."""
        return bool(self._words[0])

    def open(self) -> None:
        """Let the streams go."""
        self._words[0] = 1

    def add(self) -> tuple[int, int]:
        """Return the addresses of the flag and of a new outcome word."""
        if self._num_holds == self._MAX_HOLDS:
            raise UsageError(f"A latch holds at most {self._MAX_HOLDS} streams.")
        self._num_holds += 1
        return self._buffer.pointer, self._buffer.pointer + 4 * self._num_holds

    def require_seen(self) -> None:
        """Check, once its streams are done, that all of them saw the latch open.

        Raises
        ------
        MeasurementFailed
            If one gave up waiting, and so started early.
        """
        if (self._words[1 : self._num_holds + 1] == 2).any():
            raise MeasurementFailed(
                f"A CUDA stream waited {LATCH_TIMEOUT_S:.0f} s for its latch and started alone."
            )


class CudaStream:
    """A CUDA stream that neither waits for the default stream nor makes it wait."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        with device.current(), mapped_errors("create a stream"):
            self._stream = cupy.cuda.Stream(non_blocking=True)
        self._latch: CudaLatch | None = None
        self._num_copies_held = 0

    def hold(self, latch: Latch) -> None:
        """Make the stream wait for the latch.

        Raises
        ------
        UsageError
            If the latch belongs to another kind of device.
        """
        if not isinstance(latch, CudaLatch):
            raise UsageError(f"A CUDA stream cannot wait for a {type(latch).__name__}.")
        flag, outcome = latch.add()
        self._latch, self._num_copies_held = latch, 0
        self.launch(self._device.kernels.wait_for, flag, outcome, LATCH_TIMEOUT_S)

    @property
    def handle(self) -> int:
        """The CUDA stream's handle, by which other libraries use it."""
        return int(self._stream.ptr)

    def copy_async(self, destination: Buffer, source: Buffer, num_bytes: int) -> None:
        """Copy the first `num_bytes` of `source` by a copy engine.

        Raises
        ------
        UsageError
            If a buffer is not CUDA's or is shorter than that; if it is pageable and a closed latch
            holds the stream, since the driver stages such a copy when the stream gets there, in
            the calling thread; or if more copies are queued behind a closed latch than the
            driver's queue can hold.
        """
        if not isinstance(destination, CudaBuffer) or not isinstance(source, CudaBuffer):
            raise UsageError("A CUDA stream copies between GPU and pinned host buffers only.")
        if num_bytes > min(destination.num_bytes, source.num_bytes):
            raise UsageError(f"{num_bytes} bytes do not fit: {source!r} to {destination!r}.")
        if (destination.is_pageable or source.is_pageable) and self._is_held:
            raise UsageError("A copy of pageable memory would wait for a latch for ever.")
        self._count_copies(1)
        with self._device.current(), mapped_errors("copy"):
            cupy.cuda.runtime.memcpyAsync(
                destination.pointer, source.pointer, num_bytes,
                cupy.cuda.runtime.memcpyDefault, self.handle,
            )  # fmt: skip

    def copy_pieces(self, targets: Addresses, sources: Addresses, num_bytes: int) -> None:
        """Copy pieces of equal size, one call of the driver for each.

        Parameters
        ----------
        targets, sources : ndarray, shape (num_pieces,), uint64
            Addresses, as of `CudaBuffer.pointer` and behind it.
        num_bytes : int
            Of each piece.
        """
        self._count_copies(len(targets))
        copy, handle = cupy.cuda.runtime.memcpyAsync, self.handle
        kind = cupy.cuda.runtime.memcpyDefault
        with self._device.current(), mapped_errors("copy"):
            for target, source in zip(targets.tolist(), sources.tolist(), strict=True):
                copy(target, source, num_bytes, kind, handle)

    def copy_batch(self, targets: Addresses, sources: Addresses, num_bytes: int) -> None:
        """Copy pieces as `copy_pieces`, by one call for all; see `batch.batch_gap`."""
        self._count_copies(len(targets))
        sizes = np.full(len(targets), num_bytes, dtype=np.uint64)
        with self._device.current(), mapped_errors("copy"):
            copy_batch(targets, sources, sizes, self.handle)

    def launch(self, kernel: Callable[..., Any], *arguments: Any) -> None:
        """Enqueue a binding of `CudaDevice.kernels`."""
        with self._device.current(), self._stream, mapped_errors("launch a kernel"):
            kernel(*arguments)

    def record(self) -> CudaEvent:
        """Return an event that marks the work enqueued so far."""
        with self._device.current(), mapped_errors("record an event"):
            event = cupy.cuda.Event()
            event.record(self._stream)
        return CudaEvent(event, self._device.anchor)

    def synchronize(self) -> None:
        """Block until all work is done; raise here what the work raised."""
        with self._device.current(), mapped_errors("finish its work"):
            self._stream.synchronize()
        latch, self._latch = self._latch, None
        if latch is not None:
            latch.require_seen()

    def close(self) -> None:
        """Finish outstanding work; CuPy destroys the stream with the object."""
        self.synchronize()

    @property
    def _is_held(self) -> bool:
        return self._latch is not None and not self._latch.is_open

    def _count_copies(self, num_copies: int) -> None:
        if not self._is_held:
            return
        self._num_copies_held += num_copies
        if self._num_copies_held > MAX_COPIES_BEHIND_LATCH:
            raise UsageError(
                f"More than {MAX_COPIES_BEHIND_LATCH} copies behind a closed latch would block; "
                "open it first."
            )

    def __enter__(self) -> CudaStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class CudaDevice:
    """One GPU, with every kernel loaded.

    Parameters
    ----------
    node_id : str
        Its node in the machine document.
    pci_address : str
        As ``0000:1b:00.0``.
    numa_cpus : mapping
        CPUs of each NUMA node by its index, from which memory of the host is placed.

    Raises
    ------
    EnvironmentMissing
        If CUDA does not show the GPU, or its kernels cannot be compiled or loaded.
    """

    def __init__(
        self,
        node_id: str,
        pci_address: str,
        numa_cpus: Mapping[int, tuple[int, ...]] | None = None,
    ) -> None:
        self.node_id = node_id
        self._numa_cpus = dict(numa_cpus or {})
        try:
            self._device = cupy.cuda.Device(cupy.cuda.runtime.deviceGetByPCIBusId(pci_address))
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise EnvironmentMissing(
                f"CUDA does not show the GPU at {pci_address} ({error}): "
                "CUDA_VISIBLE_DEVICES, MIG or the container may hide it."
            ) from error
        try:
            with self._device:
                attributes = self._device.attributes
                self.num_sms: int = attributes["MultiProcessorCount"]
                self.l2_bytes: int = attributes["L2CacheSize"]
                self.num_copy_engines: int = attributes["AsyncEngineCount"]
                self._work = cupy.cuda.Stream(non_blocking=True)
                self._modules, functions = _load(self._device.compute_capability)
                self.kernels = Kernels(functions, self.num_sms)
                self._preload()
        except CUDA_ERRORS as error:
            raise EnvironmentMissing(
                f"The kernels could not be loaded on the GPU at {pci_address}: {error}."
            ) from error
        self.anchor = self._new_anchor()

    @property
    def ordinal(self) -> int:
        """Its number among the devices that CUDA shows, which other libraries count alike."""
        return int(self._device.id)

    @property
    def host_nodes(self) -> tuple[int, ...]:
        """NUMA nodes that have CPUs: those of the host, and not the memory of a GPU."""
        return tuple(node for node, cpus in self._numa_cpus.items() if cpus)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make it the calling thread's current GPU."""
        with self._device:
            yield

    def free_bytes(self) -> int:
        """Return how much of its memory is free."""
        with self._device, mapped_errors("ask for free memory"):
            return int(self._device.mem_info[0])

    def open_stream(self, place: str | None = None) -> CudaStream:
        """Open a stream; a GPU has no places, so `place` must be None or ``gpu``.

        Raises
        ------
        UsageError
            If it is another place.
        """
        if place not in (None, "gpu"):
            raise UsageError(f"A CUDA stream has no place {place!r}; expected none.")
        return CudaStream(self)

    def latch(self) -> Latch:
        """Return a closed latch, and align the GPU's clock with the host's anew."""
        self.anchor = self._new_anchor()
        return CudaLatch()

    def reserve(self, num_bytes: int, place: str) -> CudaBuffer:
        """Return memory with whatever it holds: ``gpu``, or the host's, such as ``pinned:0``.

        Raises
        ------
        UsageError
            If the place is another.
        EnvironmentMissing
            If memory of the host came to lie on another NUMA node.
        MeasurementFailed
            If there is not enough memory.
        """
        with self._device:
            if place == "gpu":
                return gpu_memory(num_bytes)
            return host_memory(num_bytes, place, self._numa_cpus)

    def allocate(self, num_bytes: int, place: str, seed: int) -> CudaBuffer:
        """Return memory filled with the verification pattern of `seed`.

        Raises
        ------
        UsageError
            If the place is another, or the size no multiple of 8.
        MeasurementFailed
            If there is not enough memory.
        """
        buffer = self.reserve(num_bytes, place)
        self.fill(buffer, seed)
        return buffer

    def fill(self, buffer: CudaBuffer, seed: int) -> None:
        """Fill with the verification pattern; the GPU writes pinned memory too, being quicker."""
        if buffer.is_pageable:  # kernels do not reach it
            buffer.host_view("uint64")[:] = pattern_words(seed, 0, buffer.num_bytes // _WORD_BYTES)
            return
        self._run("fill memory", self.kernels.fill_pattern, buffer, seed)

    def fill_floats(self, buffer: CudaBuffer, seed: int, float_type: FloatType = "fp64") -> None:
        """Fill with random numbers in [1, 2)."""
        self._run("fill memory", self.kernels.fill_floats, buffer, seed, float_type)

    def fill_value(self, buffer: CudaBuffer, value: float) -> None:
        """Fill with one float64."""
        self._run("fill memory", self.kernels.write, buffer, value)

    def flush_l2(self, scratch: CudaBuffer) -> None:
        """Drive everything else out of the L2 cache; `scratch` is at least as large."""
        self._run("flush the L2 cache", self.kernels.flush_l2, scratch, self.l2_bytes)

    def verify(self, buffer: CudaBuffer, seed: int, poison_seed: int) -> Mismatch | None:
        """Compare all of a buffer with the pattern of `seed`, where it lies.

        The GPU checks its own memory and the host checks pinned memory, so that no further
        transfer is trusted.
        """
        if not buffer.is_on_gpu:
            return compare(buffer.host_view("uint64"), seed, poison_seed)
        with self._device, mapped_errors("verify memory"):
            report = gpu_memory(_REPORT_BYTES)
            host = np.array([np.iinfo(np.uint64).max, 0, 0], dtype=np.uint64)
            cupy.cuda.runtime.memcpy(
                report.pointer, host.ctypes.data, _REPORT_BYTES, cupy.cuda.runtime.memcpyDefault
            )
            self._run("verify", self.kernels.verify_pattern, buffer, seed, poison_seed, report)
            cupy.cuda.runtime.memcpy(
                host.ctypes.data, report.pointer, _REPORT_BYTES, cupy.cuda.runtime.memcpyDefault
            )
        first, num_unwritten, num_corrupted = (int(value) for value in host)
        if num_unwritten + num_corrupted == 0:
            return None
        return Mismatch(
            first_bad_offset_bytes=first * _WORD_BYTES,
            num_unwritten_bytes=num_unwritten * _WORD_BYTES,
            num_corrupted_bytes=num_corrupted * _WORD_BYTES,
        )

    def store(self, buffer: CudaBuffer, values: npt.NDArray[Any], start_bytes: int = 0) -> None:
        """Write an array of the host into a buffer, and wait for it."""
        source = np.ascontiguousarray(values)
        with self._device, mapped_errors("write memory"):
            cupy.cuda.runtime.memcpy(
                buffer.pointer + start_bytes, source.ctypes.data, source.nbytes,
                cupy.cuda.runtime.memcpyDefault,
            )  # fmt: skip

    def read_back(self, buffer: CudaBuffer, start_bytes: int, num_bytes: int) -> npt.NDArray[Any]:
        """Return a piece of a buffer on the host, for checking.

        Returns
        -------
        ndarray, shape (num_bytes / 8,), float64
        """
        piece = np.empty(num_bytes // _WORD_BYTES, dtype=np.float64)
        with self._device, mapped_errors("read memory back"):
            cupy.cuda.runtime.memcpy(
                piece.ctypes.data, buffer.pointer + start_bytes, piece.nbytes,
                cupy.cuda.runtime.memcpyDefault,
            )  # fmt: skip
        return piece

    def _run(self, action: str, kernel: Callable[..., Any], *arguments: Any) -> None:
        """Run one kernel on the device's own stream and wait for it."""
        with self._device, self._work, mapped_errors(action):
            kernel(*arguments)
            self._work.synchronize()

    def _new_anchor(self) -> _Anchor:
        """Align the clocks: the narrowest of several looks at both."""
        best: tuple[float, _Anchor] | None = None
        with self._device, mapped_errors("align its clock with the host's"):
            for _ in range(_NUM_ANCHOR_TRIES):
                event = cupy.cuda.Event()
                before_s = time.monotonic()
                event.record(self._work)
                event.synchronize()
                after_s = time.monotonic()
                if best is None or after_s - before_s < best[0]:
                    middle_s = (before_s + after_s) / 2
                    best = (after_s - before_s, _Anchor(event, middle_s))
        assert best is not None
        return best[1]

    def _preload(self) -> None:
        scratch = gpu_memory(PRELOAD_BYTES)
        latch = CudaLatch()
        latch.open()
        with self._work:
            self.kernels.preload(scratch, *latch.add())
            self._work.synchronize()


def _load(compute_capability: str) -> tuple[list[Any], dict[str, Any]]:
    """Compile every family for the GPU and load it; the modules must outlive their functions."""
    architecture = architecture_for(compute_capability)
    modules, functions = [], {}
    for family in FAMILIES:
        binary = compile_family(family, architecture)
        module = cupy.cuda.function.Module()
        module.load(binary.code)
        modules.append(module)
        for name in binary.kernel_names:
            functions[name] = module.get_function(name)
    return modules, functions
