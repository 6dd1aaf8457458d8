"""Robust statistics of samples: median, spread, bootstrap interval, outliers, drift."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence

from topoprobe.errors import ModelError
from topoprobe.records.base import Estimate, Source
from topoprobe.records.results import Sample, Series

OUTLIER_MADS = 3.5
"""Samples further from the median than this many MADs are marked (never dropped)."""

# A MAD times this is the standard deviation of normal data: 1 / Phi^-1(3/4).
_NORMAL_PER_MAD = 1.4826
_NORMAL_95 = 1.96


def median(values: Sequence[float]) -> float:
    """Return the median.

    Raises
    ------
    ModelError
        If there are no values.
    """
    if not values:
        raise ModelError("There is no sample to take the median of; expected at least one.")
    return statistics.median(values)


def mad(values: Sequence[float]) -> float:
    """Return the median absolute deviation from the median."""
    center = median(values)
    return statistics.median(abs(value - center) for value in values)


def spread_ratio(values: Sequence[float]) -> float | None:
    """Return the standard deviation that the MAD stands for, relative to the median.

    None for a single value, which does not spread and tells nothing of how others would.
    """
    center = median(values)
    if len(values) < 2:
        return None
    return _NORMAL_PER_MAD * mad(values) / abs(center) if center else 0.0


def outliers(values: Sequence[float], threshold: float = OUTLIER_MADS) -> tuple[bool, ...]:
    """Mark the values that lie more than `threshold` MADs from the median.

    Where more than half of the values are equal, the MAD is zero and every other value is marked.
    """
    center, limit = median(values), threshold * mad(values)
    return tuple(abs(value - center) > limit for value in values)


def drift_ratio(values: Sequence[float]) -> float:
    """Return by how much values rise from the first to the last, relative to their median.

    Their slope is the median over all pairs, so that single outliers do not tilt it [sen1968].
    """
    center = median(values)
    slopes = [(later - earlier) / steps for earlier, later, steps in _pairs(values)]
    return statistics.median(slopes) * (len(values) - 1) / abs(center) if slopes and center else 0.0


def is_trend(values: Sequence[float]) -> bool:
    """Tell whether values rise or fall more consistently than chance would, at 95 % [sen1968].

    Of all pairs, those that rise less those that fall have a variance of n (n - 1) (2 n + 5) / 18
    where there is no trend (Kendall).
    """
    n = len(values)
    score = sum((later > earlier) - (later < earlier) for earlier, later, _ in _pairs(values))
    return abs(score) > _NORMAL_95 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)


def _pairs(values: Sequence[float]) -> Iterator[tuple[float, float, int]]:
    """Yield every value with each later one, and how many steps lie between."""
    for (i, earlier), (j, later) in itertools.combinations(enumerate(values), 2):
        yield earlier, later, j - i


def bootstrap_interval(
    values: Sequence[float], *, seed: int = 0, num_resamples: int = 2000, level_ratio: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the median [efron]_.

    Parameters
    ----------
    values : sequence of float
        Samples; a single one gives an interval of width zero, which tells nothing
        (`Estimate.has_interval`).
    seed : int
        Of the resampling, so that the same samples give the same interval.
    num_resamples : int
        Resamples drawn.
    level_ratio : float
        Coverage, 0.95 for a 95 % interval.

    References
    ----------
    .. [efron] B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    import numpy as np

    data = np.asarray(values, dtype=np.float64)
    median(values)
    picks = np.random.default_rng(seed).integers(0, data.size, size=(num_resamples, data.size))
    medians = np.median(data[picks], axis=1)
    tail = (1.0 - level_ratio) / 2.0
    low, high = np.quantile(medians, (tail, 1.0 - tail))
    return float(low), float(high)


def estimate(values: Sequence[float], evidence: str, *, seed: int = 0) -> Estimate:
    """Make a measured estimate of samples: their median and its 95 % bootstrap interval.

    Raises
    ------
    ModelError
        If there are no values.
    """
    center = median(values)
    low, high = bootstrap_interval(values, seed=seed)
    return Estimate(
        value=center,
        low=min(low, center),
        high=max(high, center),
        source=Source.MEASURED,
        n=len(values),
        evidence=evidence,
    )


def steady_samples(series: Series) -> tuple[Sample, ...]:
    """Return the samples of a series that were taken after its warm-up."""
    return tuple(sample for sample in series.samples if not sample.is_warmup)


def steady_values(series: Series) -> tuple[float, ...]:
    """Return the values of a series that were taken after its warm-up, in its unit."""
    return tuple(sample.value for sample in steady_samples(series))
