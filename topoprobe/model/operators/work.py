"""The work of an operator, from its shape alone: what a roofline divides by rates.

A processor is many units that share memory. An operator cuts its work into tiles, the units take
tiles in waves, and a tile walks its data from end to end. So besides flop and bytes the work has
the number of waves, and how much the busiest unit walks: they are what is left where there are too
few tiles to fill the machine, as in decode attention with a small batch and a long context, which
is why its kernels split the context and add the parts up in a second kernel [split-kv]. Some do so
only where several query heads share keys and values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

Shapes = Mapping[str, "Array"]
"""Columns of an operator's shapes, each of shape (num_shapes,)."""

_TILE = 128
"""Rows and columns of a tile, and keys that attention walks at a time: common in the kernels."""

_MOST_SPLITS = 32


@dataclass(frozen=True, slots=True)
class Processor:
    """What the work depends on besides the shape.

    Attributes
    ----------
    num_units : int
        Streaming multiprocessors, or compute units.
    cache_bytes : float
        The last cache level that all units share; 0 where there is none or it is not known.
    """

    num_units: int
    cache_bytes: float


@dataclass(frozen=True, slots=True)
class Work:
    """The work of many shapes of one operator.

    Attributes
    ----------
    flop : ndarray, shape (num_shapes,), float64
        Multiplications and additions.
    num_bytes : ndarray, shape (num_shapes,), float64
        Bytes of all operands and results, each once.
    num_serial : ndarray, shape (num_shapes,), float64
        What the busiest unit does one after another.
    num_unsplit : ndarray, shape (num_shapes,), float64
        The same for a kernel that splits only what query heads share: 0 where they do.
    num_waves : ndarray, shape (num_shapes,), float64
        Waves in which the units take the tiles; 0 where the law does not count them.
    is_split : ndarray, shape (num_shapes,), float64
        1 where a second kernel adds partial results up, else 0.
    cache_bytes : float
        Cache that keeps operands from one call to the next; 0 if none does.
    coordinates : ndarray, shape (num_shapes, num_coordinates), float64
        Where the shape lies, for interpolation: logarithms to base 2.
    """

    flop: Array
    num_bytes: Array
    num_serial: Array
    num_unsplit: Array
    num_waves: Array
    is_split: Array
    cache_bytes: float
    coordinates: Array


class Operator(Protocol):
    """A kind of operator.

    Attributes
    ----------
    name : str
        As documents name it.
    columns : tuple of str
        What a shape is.
    """

    @property
    def name(self) -> str:
        """Return how documents call it."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return what a shape is made of."""

    def work(self, shapes: Shapes, processor: Processor) -> Work:
        """Return the work of shapes."""


@dataclass(frozen=True, slots=True)
class Gemm:
    """Product of an m x k with a k x n matrix."""

    name: str = "gemm"
    columns: tuple[str, ...] = ("m", "n", "k")
    element_bytes: int = 2

    def work(self, shapes: Shapes, processor: Processor) -> Work:
        """Return the work of matrix products; the serial part is a tile's walk along k."""
        import numpy as np

        m, n, k = (np.asarray(shapes[column], dtype=np.float64) for column in self.columns)
        flop = 2.0 * m * n * k
        num_bytes = self.element_bytes * (m * k + k * n + m * n)
        idle = [_idle(m, n, rows, columns, processor.num_units) for rows, columns in _TILINGS]
        return Work(
            flop=flop,
            num_bytes=num_bytes,
            num_serial=k,
            num_unsplit=np.zeros_like(k),
            num_waves=np.zeros_like(k),
            is_split=np.zeros_like(k),
            cache_bytes=processor.cache_bytes,
            coordinates=np.stack(
                [
                    np.log2(m), np.log2(n), np.log2(k),
                    np.log2(num_bytes / (processor.cache_bytes or 1.0)),
                    np.log2(np.ceil(m / 64) * 64 / m),
                    *idle,
                ],
                axis=1,
            ),
        )  # fmt: skip


_TILINGS = ((64, 64), (128, 128), (128, 256), (256, 128))


def _idle(m: Array, n: Array, rows: int, columns: int, num_units: int) -> Array:
    """Return how far the last wave of tiles is from full, as log2 of waves taken by waves' work."""
    import numpy as np

    waves = np.ceil(m / rows) * np.ceil(n / columns) / num_units
    return np.asarray(np.log2(np.ceil(waves) / waves))


@dataclass(frozen=True, slots=True)
class DecodeAttention:
    """One new token of each sequence attends to its `context`, itself included.

    Query heads of one key-value head share a tile. `window` limits the context, 0 does not.
    """

    name: str = "decode_attention"
    columns: tuple[str, ...] = (
        "num_sequences", "context", "num_heads", "num_kv_heads", "head_dim", "window",
    )  # fmt: skip
    element_bytes: int = 2

    def work(self, shapes: Shapes, processor: Processor) -> Work:
        """Return the work of decoding; the serial part is the keys that the busiest unit walks."""
        import numpy as np

        sequences, context, heads, kv_heads, size, window = (
            np.asarray(shapes[column], dtype=np.float64) for column in self.columns
        )
        seen = np.where(window > 0, np.minimum(context, window), context)
        tiles = sequences * kv_heads
        most = np.minimum(_MOST_SPLITS, np.ceil(seen / _TILE))
        splits = np.clip(np.floor(processor.num_units / tiles), 1, most)
        waves = np.ceil(tiles * splits / processor.num_units)
        walk = np.ceil(tiles / processor.num_units) * np.ceil(seen / _TILE) * size
        num_bytes = self.element_bytes * 2 * size * (tiles * seen + sequences * heads)
        return Work(
            flop=4.0 * sequences * heads * size * seen,
            num_bytes=num_bytes,
            num_serial=waves * np.ceil(seen / splits / _TILE) * size,
            num_unsplit=np.where(heads == kv_heads, walk, 0.0),
            num_waves=waves,
            is_split=np.asarray((splits > 1) & (seen > _TILE), dtype=np.float64),
            cache_bytes=processor.cache_bytes,
            coordinates=np.stack(
                [
                    np.log2(sequences), np.log2(kv_heads), np.log2(heads), np.log2(size),
                    np.log2(seen), np.log2(context), np.where(window > 0, 1.0, 0.0),
                    np.where(heads == kv_heads, 1.0, 0.0),
                    np.log2(num_bytes / (processor.cache_bytes or 1.0)),
                    np.log2(waves * processor.num_units / tiles).clip(0, 3),
                    np.log2(np.ceil(sequences * heads / processor.num_units)),
                ],
                axis=1,
            ),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PrefillAttention:
    """Causal attention of `num_tokens` new tokens of each sequence among themselves."""

    name: str = "prefill_attention"
    columns: tuple[str, ...] = (
        "num_sequences", "num_tokens", "num_heads", "num_kv_heads", "head_dim", "window",
    )  # fmt: skip
    element_bytes: int = 2

    def work(self, shapes: Shapes, processor: Processor) -> Work:
        """Return the work of prefill; the serial part is the longest tile's walk over the keys."""
        import numpy as np

        sequences, tokens, heads, kv_heads, size, window = (
            np.asarray(shapes[column], dtype=np.float64) for column in self.columns
        )
        seen = np.where(window > 0, np.minimum(tokens, window), tokens)
        pairs = seen * (seen + 1) / 2 + (tokens - seen) * seen
        flop = 4.0 * sequences * heads * size * pairs
        tiles = sequences * heads * np.ceil(tokens / _TILE)
        num_bytes = self.element_bytes * 2 * sequences * tokens * size * (heads + kv_heads)
        return Work(
            flop=flop,
            num_bytes=num_bytes,
            num_serial=np.ceil(seen / _TILE) * size,
            num_unsplit=np.zeros_like(seen),
            num_waves=np.ceil(tiles / processor.num_units),
            is_split=np.zeros_like(seen),
            cache_bytes=0.0,
            coordinates=np.stack(
                [
                    np.log2(sequences), np.log2(tokens), np.log2(heads), np.log2(kv_heads),
                    np.log2(size), np.log2(seen), np.where(window > 0, 1.0, 0.0),
                    np.log2(flop / num_bytes),
                    np.log2(tiles / processor.num_units),
                ],
                axis=1,
            ),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Collective:
    """A collective of `num_gpus` GPUs over a message; a law of its own for each kind.

    Attributes
    ----------
    name : str
        ``all_reduce``, ``all_gather``, ``reduce_scatter``, ``all_to_all``.
    passes : int
        How often each part of the message crosses a GPU's links: an all-reduce is a reduce-scatter
        and an all-gather [nccl-tests].
    """

    name: str
    passes: int = 1
    columns: tuple[str, ...] = ("num_gpus", "message_bytes")

    def work(self, shapes: Shapes, processor: Processor) -> Work:
        """Return the work of collectives: bytes that a GPU sends, and its peers as serial part."""
        import numpy as np

        gpus, message = (np.asarray(shapes[column], dtype=np.float64) for column in self.columns)
        none = np.zeros_like(gpus)
        return Work(
            flop=none,
            num_bytes=self.passes * (gpus - 1) / gpus * message,
            num_serial=self.passes * (gpus - 1),
            num_unsplit=none,
            num_waves=none,
            is_split=none,
            cache_bytes=0.0,
            coordinates=np.stack([np.log2(gpus), np.log2(message)], axis=1),
        )


GEMM, DECODE_ATTENTION, PREFILL_ATTENTION = Gemm(), DecodeAttention(), PrefillAttention()
COLLECTIVES = (
    Collective("all_reduce", passes=2),
    Collective("all_gather"),
    Collective("reduce_scatter"),
    Collective("all_to_all"),
)
