"""The ring of a pointer chase: one closed random cycle over cache lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LINE_BYTES = 64
SLOTS_PER_LINE = LINE_BYTES // 8


def fill_ring(ring: NDArray[np.uint64], seed: int) -> None:
    """Write one closed random cycle that visits every cache line once.

    A single cycle, because a random map would soon be caught in a short loop that fits the cache;
    random, because prefetchers follow anything regular.

    Parameters
    ----------
    ring : ndarray, shape (SLOTS_PER_LINE * num_lines,), uint64
        Gets, in the first slot of each line, the index of the slot visited next.
    seed : int
        Of the order.
    """
    num_lines = ring.size // SLOTS_PER_LINE
    order = np.random.default_rng(seed).permutation(np.arange(num_lines, dtype=np.uint32))
    slots = order.astype(np.uint64) * np.uint64(SLOTS_PER_LINE)
    ring[slots] = np.roll(slots, -1)
