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
        if self.is_log:
            return self._decades()
        step = _nice_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(index * step for index in range(first, last + 1))

    def _decades(self) -> tuple[float, ...]:
        first = math.ceil(math.log10(self.low) - 1e-9)
        last = math.floor(math.log10(self.high) + 1e-9)
        if last - first >= 2:
            return tuple(10.0**power for power in range(first, last + 1))
        steps = (
            factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)
        )
        return tuple(
            value for value in steps if self.low <= value * (1 + 1e-9) and value <= self.high
        )

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
