"""Arrival processes."""

from __future__ import annotations

import random

from topoprobe.errors import UsageError
from topoprobe.units import PS_PER_S


def poisson_arrivals(num_requests: int, rate_per_s: float, seed: int) -> tuple[int, ...]:
    """Return arrival times in picoseconds with independent exponential gaps, from the first gap on.

    Raises
    ------
    UsageError
        If the rate is not a positive finite number.
    """
    if not 0 < rate_per_s < float("inf"):
        raise UsageError(f"A rate of {rate_per_s} requests per second is no rate; give it above 0.")
    source = random.Random(seed)
    now_ps = 0
    arrivals = []
    for _ in range(num_requests):
        now_ps += round(source.expovariate(rate_per_s) * PS_PER_S)
        arrivals.append(now_ps)
    return tuple(arrivals)
