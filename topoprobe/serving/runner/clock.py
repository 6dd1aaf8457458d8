"""Clocks of the runner: the wall's, and one on which steps last as long as a law says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from topoprobe.model.cost import StepFeatures, StepLaw

_PS_PER_NS = 1000
_NS_PER_S = 10**9


class RunClock(Protocol):
    """Time since the run began, in integer picoseconds."""

    def end_step(self, features: StepFeatures) -> int:
        """Return the time at the end of a step that has just been computed."""

    def wait_until(self, at_ps: int) -> None:
        """Return at that time, or a little sooner so that the caller may look around."""

    def now_ps(self) -> int:
        """Return the time."""


class WallClock:
    """Real time, from the clock's making on.

    Parameters
    ----------
    read_ns : callable
        A monotonic clock in nanoseconds.
    sleep : callable
        Sleeps so many seconds.
    """

    # Longest sleep at a time, so that a request to stop is heard.
    _NAP_S = 0.1

    def __init__(
        self,
        read_ns: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._read_ns = read_ns
        self._sleep = sleep
        self._began_ns = read_ns()

    def end_step(self, features: StepFeatures) -> int:
        """Return the time now: the step has taken what it took."""
        return self.now_ps()

    def wait_until(self, at_ps: int) -> None:
        """Sleep until then, at most for a nap."""
        left_s = (at_ps - self.now_ps()) / _PS_PER_NS / _NS_PER_S
        if left_s > 0:
            self._sleep(min(left_s, self._NAP_S))

    def now_ps(self) -> int:
        """Return the time."""
        return (self._read_ns() - self._began_ns) * _PS_PER_NS


class LogicalClock:
    """Time that moves by the step law alone, whatever the real kernels take."""

    def __init__(self, law: StepLaw) -> None:
        self._law = law
        self._now_ps = 0

    def end_step(self, features: StepFeatures) -> int:
        """Let the step last as long as the law says."""
        self._now_ps += self._law.step_ps(features)
        return self._now_ps

    def wait_until(self, at_ps: int) -> None:
        """Be there at once."""
        self._now_ps = max(self._now_ps, at_ps)

    def now_ps(self) -> int:
        """Return the time."""
        return self._now_ps
