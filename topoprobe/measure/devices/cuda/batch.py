"""Many copies in one call of the driver, which it has from CUDA 12.8 on.

CuPy binds no such function, so it is taken from the driver's library. The symbol without a suffix
keeps the arguments of 12.8 in every later driver.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from topoprobe.errors import EnvironmentMissing, MeasurementFailed

_DRIVER = "libcuda.so.1"
# Sources are read in the order of the stream: CU_MEMCPY_SRC_ACCESS_ORDER_STREAM.
_IN_STREAM_ORDER = 1

Addresses = npt.NDArray[np.uint64]


class _Location(ctypes.Structure):
    _fields_ = (("type", ctypes.c_uint), ("id", ctypes.c_int))


class _Attributes(ctypes.Structure):
    """``CUmemcpyAttributes``; the hints matter for managed memory only."""

    _fields_ = (
        ("source_access_order", ctypes.c_uint),
        ("source_hint", _Location),
        ("target_hint", _Location),
        ("flags", ctypes.c_uint),
    )


def batch_gap() -> str | None:
    """Say why copies cannot be batched here, or None."""
    try:
        _function()
    except EnvironmentMissing as gap:
        return str(gap)
    return None


def copy_batch(targets: Addresses, sources: Addresses, sizes: Addresses, stream: int) -> None:
    """Enqueue copies as one piece of work; their order among each other is the driver's choice.

    Parameters
    ----------
    targets, sources : ndarray, shape (num_copies,), uint64
        Addresses of page-locked host memory or of GPUs' memory.
    sizes : ndarray, shape (num_copies,), uint64
        Bytes of each copy.
    stream : int
        The CUDA stream's handle.

    Raises
    ------
    EnvironmentMissing
        If the driver is older than CUDA 12.8.
    MeasurementFailed
        If the driver refuses.
    """
    attributes = _Attributes(source_access_order=_IN_STREAM_ORDER)
    first, failed = ctypes.c_size_t(0), ctypes.c_size_t(0)
    status = _function()(
        ctypes.c_void_p(targets.ctypes.data),
        ctypes.c_void_p(sources.ctypes.data),
        ctypes.c_void_p(sizes.ctypes.data),
        ctypes.c_size_t(len(sizes)),
        ctypes.byref(attributes),
        ctypes.byref(first),
        ctypes.c_size_t(1),
        ctypes.byref(failed),
        ctypes.c_void_p(stream),
    )
    if status != 0:
        raise MeasurementFailed(f"cuMemcpyBatchAsync answered {status} where 0 was expected.")


@functools.cache
def _function() -> Callable[..., int]:
    try:
        return ctypes.CDLL(_DRIVER).cuMemcpyBatchAsync
    except (OSError, AttributeError) as error:
        raise EnvironmentMissing(
            "the driver copies no batches (cuMemcpyBatchAsync); install one of CUDA 12.8 or later"
        ) from error
