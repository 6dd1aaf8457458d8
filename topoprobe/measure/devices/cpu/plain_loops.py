"""Plain loops, compiled: what a compiler makes of the obvious code, and the pointer chase."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from topoprobe.measure.devices.cpu.jit import compiled


@compiled
def copy(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out = x``."""
    for i in range(out.size):
        out[i] = x[i]


@compiled
def scale(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out = scalar * x``."""
    for i in range(out.size):
        out[i] = scalar * x[i]


@compiled
def add(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out = x + y``."""
    for i in range(out.size):
        out[i] = x[i] + y[i]


@compiled
def triad(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set ``out = x + scalar * y``."""
    for i in range(out.size):
        out[i] = x[i] + scalar * y[i]


@compiled
def write(out: NDArray[Any], x: NDArray[Any], y: NDArray[Any], scalar: float) -> None:
    """Set all of ``out`` to the scalar."""
    for i in range(out.size):
        out[i] = scalar


@compiled
def chase(ring: NDArray[np.uint64], start: int, num_hops: int) -> int:
    """Follow a ring of indices, each load depending on the one before.

    Parameters
    ----------
    ring : ndarray, shape (n,), uint64
        ``ring[slot]`` is the slot visited next.
    start : int
        First slot.
    num_hops : int
        Loads to do.

    Returns
    -------
    int
        Slot reached.
    """
    slot = np.uint64(start)
    for _ in range(num_hops):
        slot = ring[slot]
    return int(slot)
