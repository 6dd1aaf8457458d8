"""The roofline of an operator: a few constants that turn its work into time.

    t = overhead + second_kernel * split + per_wave * waves
        + ((per_flop * flop)^q + memory^q
           + (per_serial * serial)^q + (per_unsplit * unsplit)^q)^(1/q)
    memory = bytes * (per_byte * miss + per_cached_byte * (1 - miss))
    miss   = 1 / (1 + (cache_share * cache / bytes)^cache_sharpness)

Arithmetic, memory and the busiest unit's walk overlap: a sharp roofline is their maximum
[williams2009], and since they overlap only in part, q rounds its corners. Operands that fit the
last cache come from there when an operator runs again and again, as in a benchmark; in a step of a
model they do not, so a step is priced by ``per_byte``. Constants are not negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from topoprobe.model.operators.work import Work

    Array = np.ndarray[Any, np.dtype[np.float64]]

UNITS = {
    "overhead": "s",
    "second_kernel": "s",
    "per_wave": "s",
    "per_flop": "s",
    "per_byte": "s",
    "per_cached_byte": "s",
    "per_serial": "s",
    "per_unsplit": "s",
    "sharpness": "1",
    "cache_share": "1",
    "cache_sharpness": "1",
}
"""What a calibration calls the constants, in the order of `Roofline`'s fields, and their units."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """Constants of the law; a term that an operator does not have is 0."""

    overhead_s: float
    second_kernel_s: float
    per_wave_s: float
    per_flop_s: float
    per_byte_s: float
    per_cached_byte_s: float
    per_serial_s: float
    per_unsplit_s: float
    sharpness: float
    cache_share: float
    cache_sharpness: float

    def seconds(self, work: Work) -> Array:
        """Return the time of each shape.

        Returns
        -------
        ndarray, shape (num_shapes,), float64
            Seconds.
        """
        import numpy as np

        parts = np.stack(
            [
                self.per_flop_s * work.flop,
                self._memory_s(work),
                self.per_serial_s * work.num_serial,
                self.per_unsplit_s * work.num_unsplit,
            ]
        )
        longest = parts.max(axis=0)
        ratios = parts / np.where(longest > 0, longest, 1.0)
        overlapped = longest * (ratios**self.sharpness).sum(axis=0) ** (1 / self.sharpness)
        return np.asarray(
            self.overhead_s
            + self.second_kernel_s * work.is_split
            + self.per_wave_s * work.num_waves
            + overlapped
        )

    def _memory_s(self, work: Work) -> Array:
        import numpy as np

        cache_bytes = self.cache_share * work.cache_bytes
        if cache_bytes == 0:
            return np.asarray(self.per_byte_s * work.num_bytes)
        overflow = np.log(work.num_bytes / cache_bytes)
        miss = 0.5 * (1 + np.tanh(0.5 * self.cache_sharpness * overflow))
        rate = self.per_cached_byte_s + (self.per_byte_s - self.per_cached_byte_s) * miss
        return np.asarray(work.num_bytes * rate)
