"""Aligned host memory: virtual first, touched later by the thread that will use it."""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topoprobe.errors import UsageError

GROUP_BYTES = 1024
"""Vector loops take this much, or a divisor of it, in one turn."""

# Huge pages are 2 MiB on x86-64 and on most arm64 kernels; large buffers start on such a page.
_HUGE_PAGE_BYTES = 2 << 20
_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
# Random content repeats with this period: far too long for any compression to notice, and quick.
_PATTERN_BYTES = 8 << 20
_ONE_TO_TWO = np.uint64(0x3FF0_0000_0000_0000)
_ONE_TO_TWO_SINGLE = np.uint32(0x3F80_0000)


class CpuBuffer:
    """Host memory at a place.

    Attributes
    ----------
    num_bytes : int
        Size.
    place : str
        Such as ``host:0``.
    array : ndarray, shape (num_bytes,), uint8
        The memory, aligned to a page, or to a huge page where it is as large as two.
    """

    __slots__ = ("array", "num_bytes", "place")

    def __init__(self, num_bytes: int, place: str) -> None:
        # A mapping of its own: memory from the heap may have been touched before, elsewhere.
        is_huge = num_bytes >= 2 * _HUGE_PAGE_BYTES
        mapping = mmap.mmap(-1, num_bytes + _HUGE_PAGE_BYTES * is_huge, flags=_PRIVATE)
        if is_huge:
            with contextlib.suppress(OSError):  # a kernel without huge pages
                mapping.madvise(mmap.MADV_HUGEPAGE)
        memory = np.frombuffer(mapping, dtype=np.uint8)
        offset = -memory.ctypes.data % _HUGE_PAGE_BYTES if is_huge else 0
        self.array: NDArray[np.uint8] = memory[offset : offset + num_bytes]
        self.num_bytes = num_bytes
        self.place = place

    def view(self, dtype: str) -> NDArray[Any]:
        """Return the memory as an array of another type, such as ``float64``."""
        return self.array.view(dtype)

    def __repr__(self) -> str:
        return f"CpuBuffer({self.num_bytes} bytes at {self.place})"


def check_groups(array: NDArray[Any]) -> None:
    """Check that an array suits the vector loops.

    Raises
    ------
    UsageError
        If it is not aligned to 64 bytes or not a multiple of `GROUP_BYTES` long.
    """
    if array.ctypes.data % 64 or array.nbytes % GROUP_BYTES:
        raise UsageError(
            f"An array of {array.nbytes} bytes at {array.ctypes.data:#x}; expected a "
            f"multiple of {GROUP_BYTES} aligned to 64."
        )


def fill_bytes(target: NDArray[np.uint8], seed: int) -> None:
    """Fill with random bytes, touching every page from the calling thread."""
    words = np.random.default_rng(seed).integers(
        0, 1 << 64, size=_PATTERN_BYTES // 8, dtype=np.uint64
    )
    _tile(target, words.view(np.uint8))


def fill_floats(target: NDArray[Any], seed: int) -> None:
    """Fill float32 or float64 with random values in [1, 2): no zeros, no denormals.

    The mantissa bits are random, so that neither power nor links profit from equal data.
    """
    words = np.random.default_rng(seed).integers(
        0, 1 << 64, size=_PATTERN_BYTES // 8, dtype=np.uint64
    )
    if target.dtype == np.float64:
        pattern: NDArray[Any] = ((words >> np.uint64(12)) | _ONE_TO_TWO).view(np.float64)
    else:
        halves = words.view(np.uint32)
        pattern = ((halves >> np.uint32(9)) | _ONE_TO_TWO_SINGLE).view(np.float32)
    _tile(target, pattern)


def _tile(target: NDArray[Any], pattern: NDArray[Any]) -> None:
    for start in range(0, target.size, pattern.size):
        part = target[start : start + pattern.size]
        part[:] = pattern[: part.size]
