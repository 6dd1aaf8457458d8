"""The transaction model's event loop, compiled where numba is installed."""

from __future__ import annotations

from functools import cache
from typing import Any

from topoprobe.measure.devices.cpu.libraries import numba_gap
from topoprobe.model.fabric.transactions.loop import Counts, Loop, Plan, run


@cache
def event_loop() -> Loop:
    """Return the fastest loop there is here; its first call compiles or loads it."""
    if numba_gap() is not None:
        return run
    import numpy as np

    from topoprobe.measure.devices.cpu.jit import compiled

    fast = compiled(run)

    def run_compiled(plan: Plan, begin: int, end: int) -> Counts:
        columns: Any = [np.array(column, None if column else np.int64) for column in plan]
        return fast(Plan(*columns), begin, end)

    return run_compiled
