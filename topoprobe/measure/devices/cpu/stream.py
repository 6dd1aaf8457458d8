"""STREAM's four kernels in competing variants, each a function on slices run by one thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topoprobe.measure.devices.cpu.libraries import has_module

Kernel = Callable[[NDArray[Any], NDArray[Any], NDArray[Any], float], object]
"""``kernel(out, x, y, scalar)`` writes all of `out`."""

ARRAYS_MOVED: Mapping[str, int] = {"copy": 2, "scale": 2, "add": 3, "triad": 3}
"""Arrays read or written by each kernel, as STREAM counts them (lines fetched to be overwritten
do not count) [stream]_.

.. [stream] J. McCalpin, STREAM: Sustainable Memory Bandwidth in High Performance Computers.
"""

SCALAR = 0.4


@dataclass(frozen=True, slots=True)
class StreamVariant:
    """One way to do the four kernels.

    Attributes
    ----------
    name : str
        ``numpy``, ``torch``, ``numba`` (plain loops), ``numba_nt`` (stores past the cache) or
        ``numba_nt512`` (the same with vectors of 512 bits).
    kernels : mapping
        By name; empty where it cannot run.
    missing : str or None
        Why it cannot run here.
    """

    name: str
    kernels: Mapping[str, Kernel]
    missing: str | None = None


def stream_variants() -> tuple[StreamVariant, ...]:
    """Return all variants; those that cannot run here say why."""
    return (
        StreamVariant("numpy", {"copy": _copy, "scale": _scale, "add": _add, "triad": _triad}),
        *_numba_variants(),
        _torch_variant(),
    )


def expected(kernel: str, x: NDArray[Any], y: NDArray[Any], scalar: float) -> NDArray[Any]:
    """Return what a kernel has to write, by numpy."""
    out = np.empty_like(x)
    {"copy": _copy, "scale": _scale, "add": _add, "triad": _triad}[kernel](out, x, y, scalar)
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


def _numba_variants() -> tuple[StreamVariant, ...]:
    if not has_module("numba"):
        reason = "numba is not installed; pip install 'topoprobe[bench]'"
        return tuple(StreamVariant(name, {}, reason) for name in ("numba", "numba_nt"))
    from topoprobe.measure.devices.cpu import plain_loops, vector_loops
    from topoprobe.measure.devices.cpu.jit import widest_vector_bytes

    plain = StreamVariant("numba", {name: getattr(plain_loops, name) for name in ARRAYS_MOVED})
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

    return StreamVariant("torch", {"copy": copy, "scale": scale, "add": add, "triad": triad})
