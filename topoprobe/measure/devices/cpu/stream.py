"""STREAM's kernels, a read and a write, in competing variants; one thread runs one on slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topoprobe.measure.devices.cpu.libraries import has_module

Kernel = Callable[[NDArray[Any], NDArray[Any], NDArray[Any], float], object]
"""``kernel(out, x, y, scalar)`` writes all of `out`; only ``read`` writes no more than a sum."""

ARRAYS_MOVED: Mapping[str, int] = {
    "copy": 2,
    "scale": 2,
    "add": 3,
    "triad": 3,
    "read": 1,
    "write": 1,
}
"""Arrays read or written by each kernel, as STREAM counts them (lines fetched to be overwritten
do not count) [stream]_.

.. [stream] J. McCalpin, STREAM: Sustainable Memory Bandwidth in High Performance Computers.
"""

SCALAR = 0.4


@dataclass(frozen=True, slots=True)
class StreamVariant:
    """One way to do the kernels.

    Attributes
    ----------
    name : str
        ``numpy``, ``torch``, ``numba`` (plain loops), ``numba_nt`` (stores past the cache) or
        ``numba_nt512`` (the same with vectors of 512 bits).
    kernels : mapping
        By name; empty where it cannot run. A plain loop has no ``read``: a compiler that keeps the
        order of additions makes one slow chain of it.
    missing : str or None
        Why it cannot run here.
    """

    name: str
    kernels: Mapping[str, Kernel]
    missing: str | None = None


def stream_variants() -> tuple[StreamVariant, ...]:
    """Return all variants; those that cannot run here say why."""
    return (
        StreamVariant("numpy", _NUMPY_KERNELS),
        *_numba_variants(),
        _torch_variant(),
    )


def expected(kernel: str, x: NDArray[Any], y: NDArray[Any], scalar: float) -> NDArray[Any]:
    """Return what a kernel has to write, by numpy; for ``read`` the first element counts."""
    out = np.empty_like(x)
    _NUMPY_KERNELS[kernel](out, x, y, scalar)
    return out


def _copy(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    np.copyto(out, x)


def _scale(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    np.multiply(x, scalar, out=out)


def _add(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    np.add(x, y, out=out)


def _triad(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    # numpy has no fused form: two passes over `out`, counted as STREAM counts one.
    np.multiply(y, scalar, out=out)
    np.add(out, x, out=out)


def _read(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    out[0] = np.sum(x)


def _write(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    out[:] = scalar


_NUMPY_KERNELS: Mapping[str, Kernel] = {
    "copy": _copy,
    "scale": _scale,
    "add": _add,
    "triad": _triad,
    "read": _read,
    "write": _write,
}


def _numba_variants() -> tuple[StreamVariant, ...]:
    if not has_module("numba"):
        reason = "numba is not installed; pip install 'topoprobe[bench]'"
        return tuple(StreamVariant(name, {}, reason) for name in ("numba", "numba_nt"))
    from topoprobe.measure.devices.cpu import plain_loops, vector_loops
    from topoprobe.measure.devices.cpu.jit import widest_vector_bytes

    plain = StreamVariant(
        "numba", {name: getattr(plain_loops, name) for name in ARRAYS_MOVED if name != "read"}
    )
    widths = {"numba_nt": 32, "numba_nt512": 64}
    return (
        plain,
        *(
            StreamVariant(
                name,
                {kernel: getattr(vector_loops, f"{kernel}_{width}") for kernel in ARRAYS_MOVED},
            )
            for name, width in widths.items()
            if width <= max(widest_vector_bytes(), 32)
        ),
    )


def _torch_variant() -> StreamVariant:
    if not has_module("torch"):
        return StreamVariant("torch", {}, "torch is not installed; pip install 'topoprobe[torch]'")
    import torch

    def copy(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
        torch.from_numpy(out).copy_(torch.from_numpy(x))

    def scale(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
        torch.mul(torch.from_numpy(x), scalar, out=torch.from_numpy(out))

    def add(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
        torch.add(torch.from_numpy(x), torch.from_numpy(y), out=torch.from_numpy(out))

    def triad(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
        torch.add(torch.from_numpy(x), torch.from_numpy(y), alpha=scalar, out=torch.from_numpy(out))

    def read(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
        out[0] = torch.sum(torch.from_numpy(x))

    def write(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
        torch.from_numpy(out).fill_(scalar)

    kernels = (copy, scale, add, triad, read, write)
    return StreamVariant("torch", {kernel.__name__: kernel for kernel in kernels})
