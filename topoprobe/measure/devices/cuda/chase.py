"""Pointer chases on a GPU: the ring that they follow, and what they report (`cuda/latency.cu`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topoprobe.errors import MeasurementFailed, UsageError

OUT_BYTES = 3 * 8
"""What `pointer_chase` stores."""

BOARD_BYTES = 10 * 8
"""What `loaded_chase` stores, and its threads tell each other."""

LINE_BYTES = 128
"""A line of every cache of a GPU so far: stops that far apart share none."""

_VECTOR_BYTES = 16

Words = npt.NDArray[np.uint64]


def ring_words(num_bytes: int, seed: int, stop_bytes: int = LINE_BYTES) -> npt.NDArray[np.uint32]:
    """Return one closed random cycle through the first word of every stop.

    Parameters
    ----------
    num_bytes : int
        Size of the ring: a multiple of `stop_bytes`, at most 16 GiB.
    seed : int
        Of the order.
    stop_bytes : int
        Distance of two stops in memory, a multiple of 4.

    Returns
    -------
    ndarray, shape (num_bytes / 4,), uint32
        The word visited after each; zero for those between the stops. The cycle holds word 0.

    Raises
    ------
    UsageError
        If the sizes do not fit each other.
    """
    if stop_bytes <= 0 or stop_bytes % 4 or num_bytes <= 0 or num_bytes % stop_bytes:
        raise UsageError(
            f"A ring of {num_bytes} bytes cannot have stops of {stop_bytes}; expected a multiple "
            "of the stops, and these a multiple of 4."
        )
    if num_bytes > 4 << 32:
        raise UsageError(f"A ring of {num_bytes} bytes is too large; its indices end at 16 GiB.")
    words_per_stop = stop_bytes // 4
    num_stops = num_bytes // stop_bytes
    order = np.random.default_rng(seed).permutation(num_stops).astype(np.uint32)
    stops = order * np.uint32(words_per_stop)
    ring = np.zeros(num_bytes // 4, dtype=np.uint32)
    ring[stops] = np.roll(stops, -1)
    return ring


@dataclass(frozen=True, slots=True)
class Chase:
    """One timed chase.

    Attributes
    ----------
    cycles_per_hop : float
        By the clock of the SM; each hop is one load and the address that it needs.
    s_per_hop : float
        By the GPU's timer, which keeps its pace when the SM's clock changes.
    last_word : int
        Where it ended.
    """

    cycles_per_hop: float
    s_per_hop: float
    last_word: int

    @classmethod
    def of(cls, words: Words, num_hops: int) -> Chase:
        """Read what the kernel stored.

        Parameters
        ----------
        words : ndarray, shape (>= 3,), uint64
            Its `out`, or the board of a loaded chase.
        num_hops : int
            Hops that were timed.
        """
        cycles, elapsed_ns, last_word = (int(word) for word in words[:3])
        return cls(cycles / num_hops, elapsed_ns * 1e-9 / num_hops, last_word)


@dataclass(frozen=True, slots=True)
class LoadedChase:
    """A chase, and the load beside it.

    Attributes
    ----------
    chase : Chase
        What the load did to it.
    read_bytes, written_bytes : int
        What the streamers moved in all.
    load_s : float
        From their first start to their last end.
    """

    chase: Chase
    read_bytes: int
    written_bytes: int
    load_s: float

    @property
    def load_bytes_per_s(self) -> float:
        """Rate of the streamers, reads and writes together."""
        return (self.read_bytes + self.written_bytes) / self.load_s

    @classmethod
    def of(cls, words: Words, num_hops: int) -> LoadedChase:
        """Read the board of a loaded chase.

        Parameters
        ----------
        words : ndarray, shape (10,), uint64
        num_hops : int
            Hops that were timed.

        Raises
        ------
        MeasurementFailed
            If no streamer ran, or the timer stood still meanwhile.
        """
        num_read, num_written, start_ns, end_ns = (int(word) for word in words[5:9])
        if num_read + num_written == 0 or end_ns <= start_ns:
            raise MeasurementFailed("Nothing loaded the memory beside the chase.")
        return cls(
            chase=Chase.of(words, num_hops),
            read_bytes=_VECTOR_BYTES * num_read,
            written_bytes=_VECTOR_BYTES * num_written,
            load_s=(end_ns - start_ns) * 1e-9,
        )
