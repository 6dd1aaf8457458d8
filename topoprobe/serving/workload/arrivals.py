"""Arrival processes."""

from __future__ import annotations

import random

from topoprobe.errors import UsageError
from topoprobe.units import PS_PER_S

LEAST_RATE_PER_S = 1e-6
MOST_RATE_PER_S = 1e9
"""Rates that are believed: from one request in twelve days to one in a nanosecond."""


def poisson_arrivals(num_requests: int, rate_per_s: float, seed: int) -> tuple[int, ...]:
    """Return arrival times in picoseconds with independent exponential gaps, from the first gap on.

    Raises
    ------
    UsageError
        If the rate cannot be believed.
    """
    if not LEAST_RATE_PER_S <= rate_per_s <= MOST_RATE_PER_S:
        raise UsageError(
            f"A rate of {rate_per_s:g} requests per second is no rate; give one from "
            f"{LEAST_RATE_PER_S:g} to {MOST_RATE_PER_S:g}."
        )
    source = random.Random(seed)
    now_ps = 0
    arrivals = []
    for _ in range(num_requests):
        now_ps += round(source.expovariate(rate_per_s) * PS_PER_S)
        arrivals.append(now_ps)
    return tuple(arrivals)
