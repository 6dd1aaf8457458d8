"""What the single chunks of a flow tell: how evenly it runs, and how fast it makes room."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from topoprobe.errors import ModelError
from topoprobe.measure.statistics import median
from topoprobe.measure.window import Trace, Window

_LOW_RATIO, _HIGH_RATIO = 0.1, 0.9
# A change of rate smaller than this drowns in the scatter of the chunks.
_LEAST_CHANGE_RATIO = 0.1
# Chunks whose median is one reading of the rate: a single late one must not look like a change.
_SMOOTHED = 3


def jitter_ratio(trace: Trace, window: Window) -> float | None:
    """Return the 99th percentile of the chunks' durations over their median.

    Only chunks that lie inside the window count; None where there are fewer than two.
    """
    durations = [
        end - begin
        for begin, end in _chunks(trace)
        if begin >= window.start_s and end <= window.end_s
    ]
    if len(durations) < 2:
        return None
    rank = math.ceil(0.99 * len(durations)) - 1
    return sorted(durations)[rank] / median(durations)


def convergence_s(trace: Trace, joined_s: float) -> float | None:
    """Return how long a flow's rate takes from 10 % to 90 % of its change after another joins.

    Parameters
    ----------
    trace : Trace
        Of a flow that ran before and after.
    joined_s : float
        When the other began.

    Returns
    -------
    float or None
        Seconds; None where the rate did not change by more than a tenth.

    Raises
    ------
    ModelError
        If the flow has too few chunks before or after.
    """
    rates = _smoothed_rates(trace)
    before = [rate for end, rate in rates if end <= joined_s]
    after = [(end, rate) for end, rate in rates if end > joined_s]
    settled = [rate for _, rate in after[len(after) // 2 :]]
    if len(before) < _SMOOTHED or len(settled) < _SMOOTHED:
        raise ModelError(
            f"{len(before)} chunks before the join and {len(settled)} in the second half after "
            f"it; expected at least {_SMOOTHED} of each: use smaller chunks or a longer duration."
        )
    old, new = median(before), median(settled)
    if abs(new - old) <= _LEAST_CHANGE_RATIO * old:
        return None
    reached = [
        next(end for end, rate in after if (rate - old) / (new - old) >= part)
        for part in (_LOW_RATIO, _HIGH_RATIO)
    ]
    return reached[1] - reached[0]


def until(trace: Trace, end_s: float) -> Trace:
    """Return a trace without the chunks that end later."""
    return Trace(trace.start_s, tuple(end for end in trace.ends_s if end <= end_s), trace.work)


def _chunks(trace: Trace) -> Sequence[tuple[float, float]]:
    return list(itertools.pairwise((trace.start_s, *trace.ends_s)))


def _smoothed_rates(trace: Trace) -> list[tuple[float, float]]:
    """Return the end of each chunk and the median rate of it and its neighbours."""
    rates = [trace.work / (end - begin) for begin, end in _chunks(trace) if end > begin]
    ends = [end for begin, end in _chunks(trace) if end > begin]
    half = _SMOOTHED // 2
    return [
        (end, median(rates[max(0, index - half) : index + half + 1]))
        for index, end in enumerate(ends)
    ]
