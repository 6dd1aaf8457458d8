"""Where memory becomes slow under load: the knee of a loaded-latency curve."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import LoadedLatencyPoint

KNEE_RATIO = 1.5
"""The knee is where latency is this many times that of the least load."""


def knee_load(points: Sequence[LoadedLatencyPoint]) -> Estimate | None:
    """Return the load at which latency first reaches 1.5 times that of the least load.

    Between two levels it is interpolated; the interval is theirs.

    Parameters
    ----------
    points : sequence of LoadedLatencyPoint
        Ordered by load.

    Returns
    -------
    Estimate or None
        Bytes per second; None where latency never rises that far.
    """
    for before, after in itertools.pairwise(points):
        limit_s = KNEE_RATIO * points[0].latency_s.value
        if before.latency_s.value < limit_s <= after.latency_s.value:
            low, high = before.load_bytes_per_s, after.load_bytes_per_s
            rise_s = after.latency_s.value - before.latency_s.value
            part = (limit_s - before.latency_s.value) / rise_s
            return Estimate(
                value=low.value + part * (high.value - low.value),
                low=min(low.low, low.value),
                high=max(high.high, high.value),
                source=Source.DERIVED,
                n=min(low.n, high.n),
                evidence=f"between two of {len(points)} loads; {KNEE_RATIO:g} times the latency "
                "beside the least of them",
            )
    return None
