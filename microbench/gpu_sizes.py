"""How large arrays have to be to lie in a GPU's memory, and which level holds smaller ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .sizes import CACHE_MULTIPLE

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice

_MIN_BYTES = 512 << 20
_GRAIN_BYTES = 64 << 10


def beyond_cache_bytes(device: CudaDevice, num_arrays: int) -> int:
    """Return a size for each of `num_arrays` arrays: four times the L2 cache, or 512 MiB if more.

    (A 16 MB buffer on a GPU with 72 MB of L2 once "measured" 3.9 TB/s.) Smaller where less than
    that is free; a quarter of the memory stays so.
    """
    wanted = max(CACHE_MULTIPLE * device.l2_bytes, _MIN_BYTES)
    allowed = device.free_bytes() // 4 * 3 // num_arrays
    return max(min(wanted, allowed) // _GRAIN_BYTES, 1) * _GRAIN_BYTES


def cache_level(array_bytes: int, num_arrays: int, l2_bytes: int) -> str:
    """Say what serves arrays that are used over and over: ``l2``, ``memory``, or some of both.

    They lie in the L2 cache where together they fill no more than half of it, and in memory where
    each is four times its size.
    """
    if array_bytes * num_arrays * 2 <= l2_bytes:
        return "l2"
    return "memory" if array_bytes >= CACHE_MULTIPLE * l2_bytes else "between"


def powers(first: int, last: int, step: int) -> Iterator[int]:
    """Yield first, first * step, and so on up to last."""
    while first <= last:
        yield first
        first *= step
