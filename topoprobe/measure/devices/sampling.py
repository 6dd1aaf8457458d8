"""Reading something at a steady pace on a thread of its own, beside a measurement."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

PERIOD_S = 0.05
"""20 readings a second: a GPU's clocks and power follow its load within tens of milliseconds."""

Reading = TypeVar("Reading")


class Sampler(Generic[Reading]):
    """Keeps what a function returned at every tick, until it is taken.

    The thread runs only inside the ``with`` block. It must not stand beside measurements of the
    CPU: it is for devices that work without the host, whose driver answers outside the interpreter.

    Parameters
    ----------
    read : callable
        Called on the thread, and by `take` where no tick has passed.
    period_s : float
        Between two ticks.
    """

    def __init__(self, read: Callable[[], Reading], period_s: float = PERIOD_S) -> None:
        self._read = read
        self._period_s = period_s
        self._readings: list[Reading] = []
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def take(self) -> tuple[Reading, ...]:
        """Return the readings since the previous call, in order; one made now if there is none."""
        with self._lock:
            taken, self._readings = self._readings, []
        return tuple(taken) or (self._read(),)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(self._period_s):
            reading = self._read()
            with self._lock:
                self._readings.append(reading)
