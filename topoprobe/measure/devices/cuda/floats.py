"""The number types that the kernels compute with, as bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatType = Literal["fp32", "fp64", "fp16", "bf16"]

_VECTOR_BYTES = 16
_NUM_CHAINS = 8
"""Independent values of a thread of ``cuda/intensity.cu``."""


@dataclass(frozen=True, slots=True)
class FloatLayout:
    """One type of number.

    Attributes
    ----------
    num_bytes : int
        Size of a number.
    mantissa_bits : int
        Explicit bits of the mantissa.
    one_bits : int
        The bits of 1.0.
    """

    num_bytes: int
    mantissa_bits: int
    one_bits: int

    @property
    def mantissa_word(self) -> int:
        """The mantissa bits of all numbers in a word of 64 bits."""
        return self._repeated((1 << self.mantissa_bits) - 1, 8)

    @property
    def one_word(self) -> int:
        """A word of 64 bits, full of ones."""
        return self._repeated(self.one_bits, 8)

    @property
    def vectors_per_thread(self) -> int:
        """How many 16-byte vectors a thread of the intensity sweep carries at once."""
        chain_bytes = max(4, self.num_bytes)
        return _NUM_CHAINS * chain_bytes // _VECTOR_BYTES

    def argument(self, value: float) -> np.generic:
        """Return a number as the kernels take it: fp16 and bf16 twice, in one uint32."""
        if self.num_bytes == 8:
            return np.float64(value)
        if self.num_bytes == 4:
            return np.float32(value)
        return np.uint32(self._repeated(int(self.encode(np.array([value]))[0]), 4))

    def encode(self, values: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return the bits of numbers that the type holds exactly, as unsigned integers."""
        if self is FLOAT_TYPES["bf16"]:
            bits = values.astype(np.float32).view(np.uint32) >> np.uint32(16)
            return bits.astype(np.uint16)
        return values.astype(f"f{self.num_bytes}").view(f"u{self.num_bytes}")

    def decode(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
        """Return the numbers in 64-bit words, as float64, which holds all types exactly."""
        if self is FLOAT_TYPES["bf16"]:
            bits = words.view(np.uint16).astype(np.uint32) << np.uint32(16)
            return bits.view(np.float32).astype(np.float64)
        return words.view(f"f{self.num_bytes}").astype(np.float64)

    def _repeated(self, bits: int, num_bytes: int) -> int:
        return sum(bits << (8 * at) for at in range(0, num_bytes, self.num_bytes))


FLOAT_TYPES: Mapping[FloatType, FloatLayout] = MappingProxyType(
    {
        "fp32": FloatLayout(4, 23, 0x3F800000),
        "fp64": FloatLayout(8, 52, 0x3FF0000000000000),
        "fp16": FloatLayout(2, 10, 0x3C00),
        "bf16": FloatLayout(2, 7, 0x3F80),
    }
)
