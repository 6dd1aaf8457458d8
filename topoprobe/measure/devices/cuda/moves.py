"""What one chunk of a GPU flow does, and how it is known that it was done.

Each goes through its buffers piece by piece, in turn, so that caches do not stand in for memory.
Checks look at what the chunks since `prepare` left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from topoprobe.measure.devices.cuda.pattern import WORD_BYTES, Mismatch, paired_words

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice, CudaStream
    from topoprobe.measure.devices.cuda.memory import CudaBuffer

_PAIR_BYTES = 16
# Accesses lie twice as far apart as the longest request that an SM makes, or as they are long: a
# neighbour never shares a line of a cache, and never prolongs a packet.
_LINE_BYTES = 128
_STRIDE_LENGTHS = 2


class Move(Protocol):
    """Chunks of one kind.

    Attributes
    ----------
    num_chunks : int
        One turn through the buffers.
    chunk_bytes : int
        Payload of a chunk.
    """

    num_chunks: int
    chunk_bytes: int

    def prepare(self) -> None:
        """Fill the source with a pattern and the target with another."""

    def enqueue(self, stream: Any) -> None:
        """Put the next chunk on a stream."""

    def mismatch(self) -> Mismatch | None:
        """Say what is wrong with what was moved, once its stream is done."""


@dataclass(frozen=True, slots=True)
class Held:
    """Memory, and a GPU that fills it and, where it is the GPU's own, checks it."""

    buffer: CudaBuffer
    device: CudaDevice


@dataclass(frozen=True, slots=True)
class Seeds:
    """Of the pattern that is moved, and of the one that a target holds before."""

    moved: int
    poison: int


Copy = Callable[["CudaStream", "CudaBuffer", "CudaBuffer"], None]
"""Enqueues a copy: stream, target, source, of equal size."""


class Copies:
    """Copies of pieces, by a copy engine or by a kernel."""

    def __init__(
        self, copy: Copy, target: Held, source: Held, chunk_bytes: int, seeds: Seeds
    ) -> None:
        self.chunk_bytes = chunk_bytes
        self.num_chunks = source.buffer.num_bytes // chunk_bytes
        self._copy = copy
        self._target, self._source = target, source
        self._seeds = seeds
        self._pieces = [
            (
                target.buffer.piece(start, chunk_bytes),
                source.buffer.piece(start, chunk_bytes),
            )
            for start in range(0, self.num_chunks * chunk_bytes, chunk_bytes)
        ]
        self._num_enqueued = 0

    def prepare(self) -> None:
        """Fill the source with a pattern and the target with another."""
        self._source.device.fill(self._source.buffer, self._seeds.moved)
        self._target.device.fill(self._target.buffer, self._seeds.poison)
        self._num_enqueued = 0

    def enqueue(self, stream: CudaStream) -> None:
        """Copy the next piece."""
        target, source = self._pieces[self._num_enqueued % self.num_chunks]
        self._copy(stream, target, source)
        self._num_enqueued += 1

    def mismatch(self) -> Mismatch | None:
        """Compare all that was to arrive."""
        num_bytes = min(self._num_enqueued, self.num_chunks) * self.chunk_bytes
        if num_bytes == 0:
            return None
        arrived = self._target.buffer.piece(0, num_bytes)
        return self._target.device.verify(arrived, self._seeds.moved, self._seeds.poison)


class _Accesses:
    """Pieces of memory that a kernel reads or writes by small accesses, far apart."""

    def __init__(
        self, device: CudaDevice, memory: Held, chunk_bytes: int, access_bytes: int, seeds: Seeds
    ) -> None:
        self.num_chunks = memory.buffer.num_bytes // chunk_bytes
        self._stride_bytes = _STRIDE_LENGTHS * max(access_bytes, _LINE_BYTES)
        self._num_accesses = chunk_bytes // self._stride_bytes
        self.chunk_bytes = self._num_accesses * access_bytes
        self._device = device
        self._memory = memory
        self._access_bytes = access_bytes
        self._seeds = seeds
        self._pieces = [
            memory.buffer.piece(start, chunk_bytes)
            for start in range(0, self.num_chunks * chunk_bytes, chunk_bytes)
        ]
        self._num_enqueued = 0

    @property
    def _last_piece(self) -> CudaBuffer:
        return self._pieces[(self._num_enqueued - 1) % self.num_chunks]

    def _accessed(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Return those words of a piece that accesses touch, shape (num_accesses, words each)."""
        inside = words[: self._num_accesses * self._stride_bytes // WORD_BYTES]
        rows = inside.reshape(self._num_accesses, self._stride_bytes // WORD_BYTES)
        return rows[:, : self._access_bytes // WORD_BYTES]


class Reads(_Accesses):
    """Small reads of pinned memory by a kernel, which keeps nothing but their XOR."""

    def __init__(
        self, device: CudaDevice, memory: Held, chunk_bytes: int, access_bytes: int, seeds: Seeds
    ) -> None:
        super().__init__(device, memory, chunk_bytes, access_bytes, seeds)
        num_sums = device.kernels.num_zero_copy_sums(self._num_accesses, access_bytes)
        self._sums = device.reserve(num_sums * WORD_BYTES, "gpu")

    def prepare(self) -> None:
        """Fill what is read with a pattern, and forget what was read."""
        self._memory.device.fill(self._memory.buffer, self._seeds.moved)
        self._device.fill(self._sums, self._seeds.poison)
        self._num_enqueued = 0

    def enqueue(self, stream: CudaStream) -> None:
        """Read the next piece."""
        self._num_enqueued += 1
        stream.launch(
            self._device.kernels.zero_copy_read,
            self._last_piece, self._sums, self._access_bytes, self._stride_bytes,
            self._num_accesses,
        )  # fmt: skip

    def mismatch(self) -> Mismatch | None:
        """Compare the XOR of the last piece."""
        if self._num_enqueued == 0:
            return None
        sums = self._device.read_back(self._sums, 0, self._sums.num_bytes).view(np.uint64)
        expected = self._accessed(self._last_piece.host_view("uint64"))
        if np.bitwise_xor.reduce(sums) == np.bitwise_xor.reduce(expected, axis=None):
            return None
        return Mismatch(0, 0, self.chunk_bytes)  # a sum does not tell where


class Writes(_Accesses):
    """Small writes by a kernel, to pinned memory or to a GPU's; each turn writes other words."""

    def prepare(self) -> None:
        """Fill what is written to with another pattern."""
        self._memory.device.fill(self._memory.buffer, self._seeds.poison)
        self._num_enqueued = 0

    def enqueue(self, stream: CudaStream) -> None:
        """Write to the next piece."""
        self._num_enqueued += 1
        stream.launch(
            self._device.kernels.zero_copy_write,
            self._last_piece, self._seed_of_turn(), self._access_bytes, self._stride_bytes,
            self._num_accesses,
        )  # fmt: skip

    def mismatch(self) -> Mismatch | None:
        """Compare the last piece."""
        if self._num_enqueued == 0:
            return None
        piece = self._last_piece
        if piece.is_on_gpu:
            held = self._memory.device.read_back(piece, 0, piece.num_bytes).view(np.uint64)
        else:
            held = piece.host_view("uint64")
        words = paired_words(self._seed_of_turn(), 0, piece.num_bytes // _PAIR_BYTES)
        bad = np.argwhere(self._accessed(held) != self._accessed(words))
        if not len(bad):
            return None
        row, word = (int(one) for one in bad[0])
        return Mismatch(row * self._stride_bytes + word * WORD_BYTES, 0, len(bad) * WORD_BYTES)

    def _seed_of_turn(self) -> int:
        return self._seeds.moved + (self._num_enqueued - 1) // self.num_chunks
