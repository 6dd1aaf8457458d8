"""The verification pattern on the host: the same words as `pattern_word` in `cuda/common.cuh`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from topoprobe.units import format_bytes

WORD_BYTES = 8
# Words compared at a time: the reference is made anew for each piece, in 8 MiB.
_PIECE_WORDS = 1 << 20


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What is wrong with a transfer that arrived badly.

    Attributes
    ----------
    first_bad_offset_bytes : int
        Where the first wrong word begins.
    num_unwritten_bytes : int
        Bytes that still hold what was there before.
    num_corrupted_bytes : int
        Other wrong bytes.
    """

    first_bad_offset_bytes: int
    num_unwritten_bytes: int
    num_corrupted_bytes: int

    def __str__(self) -> str:
        return (
            f"from offset {self.first_bad_offset_bytes} on, "
            f"{format_bytes(self.num_unwritten_bytes)} were never written and "
            f"{format_bytes(self.num_corrupted_bytes)} were corrupted"
        )


def pattern_words(seed: int, first_index: int, num_words: int) -> npt.NDArray[np.uint64]:
    """Return words `first_index` onwards of the pattern of `seed`.

    Returns
    -------
    ndarray, shape (num_words,), uint64

    References
    ----------
    Finalizer of splitmix64 [steele2014].
    """
    with np.errstate(over="ignore"):
        index = np.arange(first_index + 1, first_index + 1 + num_words, dtype=np.uint64)
        word = np.uint64(seed) + index * np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return word ^ (word >> np.uint64(31))


def compare(
    words: npt.NDArray[np.uint64], seed: int, poison_seed: int, first_index: int = 0
) -> Mismatch | None:
    """Check words on the host as the kernel `pattern_verify` does on a GPU.

    Parameters
    ----------
    words : ndarray, shape (num_words,), uint64
    seed, poison_seed : int
        Pattern expected, and pattern that was there before the transfer.
    first_index : int
        Index in the pattern of ``words[0]``.

    Returns
    -------
    Mismatch or None
        None where every word is right.
    """
    first_bad: int | None = None
    num_unwritten = num_bad = 0
    for start in range(0, len(words), _PIECE_WORDS):
        piece = words[start : start + _PIECE_WORDS]
        index = first_index + start
        is_bad = piece != pattern_words(seed, index, len(piece))
        if not is_bad.any():
            continue
        if first_bad is None:
            first_bad = index + int(np.argmax(is_bad))
        is_unwritten = is_bad & (piece == pattern_words(poison_seed, index, len(piece)))
        num_bad += int(is_bad.sum())
        num_unwritten += int(is_unwritten.sum())
    if first_bad is None:
        return None
    return Mismatch(
        first_bad_offset_bytes=WORD_BYTES * first_bad,
        num_unwritten_bytes=WORD_BYTES * num_unwritten,
        num_corrupted_bytes=WORD_BYTES * (num_bad - num_unwritten),
    )


def paired_words(seed: int, first_vector: int, num_vectors: int) -> npt.NDArray[np.uint64]:
    """Return what `zero_copy_write` stores in vectors of 16 bytes: a word, then its complement.

    Returns
    -------
    ndarray, shape (2 * num_vectors,), uint64
    """
    words = pattern_words(seed, first_vector, num_vectors)
    return np.column_stack((words, ~words)).reshape(-1)
