"""Memory that a GPU copies from and to: its own, and the host's of every kind, on a chosen node.

Imported only where `availability.cuda_gap` finds nothing missing: it imports cupy at its top.

Host memory is an ordinary mapping, placed on its NUMA node before the first touch and looked up
afterwards, and only then page-locked. Memory that the driver allocates (``cudaHostAlloc``) is no
ordinary mapping: the kernel does not tell where it lies.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import cupy
import numpy as np
import numpy.typing as npt

from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.measure.devices.cpu.buffer import CpuBuffer
from topoprobe.measure.devices.cpu.placement import buffer_on_node, node_share

HostKind = Literal["pinned", "pinned_small", "pageable"]
"""``pinned`` is page-locked, in huge pages where the kernel gives them; ``pinned_small`` in pages
of 4 KiB; ``pageable`` is not locked."""

# Not in Python's mmap module: advice of the kernel's uapi/asm-generic/mman-common.h.
_NO_HUGE_PAGES = 15
_PAGE_BYTES = 4096
CUDA_ERRORS = (
    cupy.cuda.runtime.CUDARuntimeError,
    cupy.cuda.driver.CUDADriverError,
    cupy.cuda.memory.OutOfMemoryError,
)


@contextlib.contextmanager
def mapped_errors(action: str) -> Iterator[None]:
    """Turn CUDA's errors into `MeasurementFailed`; `action` follows "CUDA could not"."""
    try:
        yield
    except CUDA_ERRORS as error:
        raise MeasurementFailed(f"CUDA could not {action}: {error}.") from error


class CudaBuffer:
    """Memory of a GPU, or memory of the host.

    Attributes
    ----------
    num_bytes : int
        Size.
    place : str
        ``gpu``, or one of `HostKind` with the index of a NUMA node, as ``pinned:0``.
    pointer : int
        Address, the same on the host and, unless pageable, on every GPU (unified addressing).
    is_placement_verified : bool
        Whether the kernel confirmed that all pages of host memory lie on the node.
    """

    __slots__ = ("_owner", "is_placement_verified", "num_bytes", "place", "pointer")

    def __init__(
        self, num_bytes: int, place: str, owner: Any, *, is_placement_verified: bool = False
    ) -> None:
        self.num_bytes = num_bytes
        self.place = place
        self.pointer: int = owner.ptr
        self.is_placement_verified = is_placement_verified
        self._owner = owner  # frees the memory when the buffer goes

    @property
    def is_on_gpu(self) -> bool:
        """Whether it is a GPU's."""
        return self.place == "gpu"

    @property
    def is_pageable(self) -> bool:
        """Whether it is host memory that is not locked: the driver stages its copies."""
        return self.place.startswith("pageable:")

    def piece(self, start_bytes: int, num_bytes: int) -> CudaBuffer:
        """Return a part of it, which keeps the whole alive."""
        if start_bytes < 0 or start_bytes + num_bytes > self.num_bytes:
            raise UsageError(f"{num_bytes} bytes from {start_bytes} do not lie in {self!r}.")
        part = CudaBuffer(num_bytes, self.place, _Part(self, self.pointer + start_bytes))
        part.is_placement_verified = self.is_placement_verified
        return part

    def host_view(self, dtype: str) -> npt.NDArray[Any]:
        """Return memory of the host as an array.

        Raises
        ------
        UsageError
            If the memory is the GPU's.
        """
        if self.is_on_gpu:
            raise UsageError(f"{self!r} cannot be read by the host; copy it to pinned memory.")
        raw = (ctypes.c_uint8 * self.num_bytes).from_address(self.pointer)
        whole: npt.NDArray[Any] = np.ctypeslib.as_array(raw)
        return whole.view(dtype)

    def huge_page_ratio(self) -> float | None:
        """Return the share of host memory that is in huge pages; None where nobody tells."""
        return huge_page_ratio(self.pointer)

    def __repr__(self) -> str:
        return f"CudaBuffer({self.num_bytes} bytes at {self.place})"


class _Part:
    """Keeps the buffer alive that a part of it points into."""

    def __init__(self, whole: CudaBuffer, ptr: int) -> None:
        self.ptr = ptr
        self._whole = whole


class _HostMemory:
    """A mapping of the host, page-locked for every GPU while it lives if `is_locked`."""

    def __init__(self, buffer: CpuBuffer, *, is_locked: bool) -> None:
        self.ptr: int = buffer.array.ctypes.data
        self._buffer = buffer
        self._is_locked = False
        if is_locked:
            flags = _REGISTER_PORTABLE | _REGISTER_MAPPED
            cupy.cuda.runtime.hostRegister(self.ptr, buffer.num_bytes, flags)
            self._is_locked = True

    def __del__(self) -> None:
        if self._is_locked:
            with contextlib.suppress(*CUDA_ERRORS):  # at exit the driver may be gone already
                cupy.cuda.runtime.hostUnregister(self.ptr)


# Of cudaHostRegister: locked for every context, and reachable by kernels.
_REGISTER_PORTABLE, _REGISTER_MAPPED = 1, 2


def gpu_memory(num_bytes: int) -> CudaBuffer:
    """Allocate memory of the current GPU."""
    with mapped_errors(f"allocate {num_bytes} bytes"):
        return CudaBuffer(num_bytes, "gpu", cupy.cuda.memory.Memory(num_bytes))


def host_memory(num_bytes: int, place: str, numa_cpus: Mapping[int, tuple[int, ...]]) -> CudaBuffer:
    """Allocate memory of the host, every page touched.

    Parameters
    ----------
    num_bytes : int
        Size.
    place : str
        As in `CudaBuffer`.
    numa_cpus : mapping
        CPUs of each NUMA node. Where the kernel refuses to place memory, as in a container, a
        thread on one of them touches it first; then nobody confirms where it lies.

    Raises
    ------
    UsageError
        If the place is no memory of the host, or the node has none.
    EnvironmentMissing
        If the memory came to lie on another node.
    MeasurementFailed
        If CUDA cannot lock it.
    """
    kind, _, node = place.partition(":")
    if kind not in get_args(HostKind) or not node.isdecimal():
        kinds = ", ".join(f"{one}:N" for one in get_args(HostKind))
        raise UsageError(f"{place!r} is no memory of a GPU; expected gpu, {kinds}.")
    touch = _touch_small if kind == "pinned_small" else _touch
    buffer, is_verified = _placed(num_bytes, int(node), numa_cpus.get(int(node), ()), touch)
    with mapped_errors(f"lock {num_bytes} bytes at {place}"):
        owner = _HostMemory(buffer, is_locked=kind != "pageable")
    return CudaBuffer(num_bytes, place, owner, is_placement_verified=is_verified)


def _placed(num_bytes: int, node: int, cpus: tuple[int, ...], touch: Any) -> tuple[CpuBuffer, bool]:
    """Return memory on a node, and whether the kernel confirmed it."""
    try:
        return buffer_on_node(num_bytes, node, touch), True
    except EnvironmentMissing as refusal:
        buffer = CpuBuffer(num_bytes, f"host:{node}")
        with _running_on(cpus):
            touch(buffer.array)
        try:
            share = node_share(buffer.array, node)
        except EnvironmentMissing:
            return buffer, False
        if share < 1.0:
            raise refusal
        return buffer, True


def _touch(array: npt.NDArray[np.uint8]) -> None:
    array[::_PAGE_BYTES] = 0


def _touch_small(array: npt.NDArray[np.uint8]) -> None:
    # An advice only: a kernel without huge pages refuses it and does the same.
    ctypes.CDLL(None).madvise(
        ctypes.c_void_p(array.ctypes.data - array.ctypes.data % mmap.PAGESIZE),
        ctypes.c_size_t(array.nbytes),
        ctypes.c_int(_NO_HUGE_PAGES),
    )
    _touch(array)


def huge_page_ratio(address: int, maps: Path = Path("/proc/self/smaps")) -> float | None:
    """Return the share of huge pages in the mapping that holds an address; None if not told."""
    try:
        lines = maps.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    is_inside, resident = False, 0
    for line in lines:
        first, _, rest = line.partition(" ")
        start, dash, end = first.partition("-")
        if dash:
            is_inside = int(start, 16) <= address < int(end, 16)
        elif is_inside and first == "Rss:":
            resident = int(rest.split()[0])
        elif is_inside and first == "AnonHugePages:":
            return int(rest.split()[0]) / resident if resident else None
    return None


@contextlib.contextmanager
def _running_on(cpus: tuple[int, ...]) -> Iterator[None]:
    """Bind the calling thread to those of the CPUs that it may use; to none if there are none."""
    allowed = os.sched_getaffinity(0)
    near = allowed.intersection(cpus)
    if near:
        os.sched_setaffinity(0, near)
    try:
        yield
    finally:
        if near:
            os.sched_setaffinity(0, allowed)
