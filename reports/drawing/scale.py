"""Axes: where a value lies between two pixels, and which values get a tick."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear or logarithmic axis.

    Attributes
    ----------
    low, high : float
        Values at the ends; both positive where `is_log`.
    start, end : float
        Pixels at the ends; `end` is the smaller for an upward axis.
    is_log : bool
        Decades instead of equal steps.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self._mapped(self.low), self._mapped(self.high)
        share = (self._mapped(value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> tuple[float, ...]:
        """Return about `count` round values within the axis; decades where logarithmic."""
        decades = self._decades() if self.is_log else ()
        if len(decades) > 1:
            return decades
        step = _nice_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(index * step for index in range(first, last + 1))

    def _decades(self) -> tuple[float, ...]:
        """Return powers of ten within the axis, with 2 and 5 times them where there are few."""
        first = math.floor(math.log10(self.low))
        last = math.floor(math.log10(self.high) + 1e-9)
        factors = (1, 2, 5) if last - first < 3 else (1,)
        values = (factor * 10.0**power for power in range(first, last + 1) for factor in factors)
        return tuple(one for one in values if self.low <= one * (1 + 1e-9) and one <= self.high)

    def _mapped(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def linear(high: float, start: float, end: float) -> Scale:
    """Return an axis from zero to a round value at or above `high`."""
    step = _nice_step((high or 1.0) / 5)
    return Scale(0.0, math.ceil((high or 1.0) / step - 1e-9) * step, start, end)


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """Return a logarithmic axis with a little room on both sides of the positive values given."""
    return Scale(low / 1.35, high * 1.35, start, end, is_log=True)


def _nice_step(step: float) -> float:
    """Return the next 1, 2, 2.5 or 5 times a power of ten at or above `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(
        factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9)
    )
