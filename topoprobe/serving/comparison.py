"""Prediction beside measurement, with the spread of the repeats as the yardstick."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from topoprobe.measure.statistics import median
from topoprobe.records.run import Comparison, Distribution, Summary

BOUND_RATIO = 0.15
"""A prediction holds within this error, or within the run-to-run spread where that is larger."""


def compare(predicted: Summary, repeats: Sequence[Summary]) -> tuple[Comparison, ...]:
    """Compare throughput, mean TTFT and mean TPOT; leave out what either side lacks.

    Parameters
    ----------
    predicted : Summary
        Of the simulated run.
    repeats : sequence of Summary
        Of each whole repeat of the real run; none gives no comparison.
    """
    comparisons = []
    for metric, unit, value_of in _METRICS:
        wanted = value_of(predicted)
        measured = tuple(value for each in repeats if (value := value_of(each)) is not None)
        if wanted is not None and measured and min(measured) > 0:
            comparisons.append(_comparison(metric, unit, wanted, measured))
    return tuple(comparisons)


def _comparison(
    metric: str, unit: str, predicted: float, measured: tuple[float, ...]
) -> Comparison:
    center = median(measured)
    error_ratio = predicted / center - 1
    spread_ratio = (max(measured) - min(measured)) / center if len(measured) > 1 else None
    return Comparison(
        metric=metric,
        unit=unit,
        predicted=predicted,
        measured=measured,
        error_ratio=error_ratio,
        spread_ratio=spread_ratio,
        is_within=abs(error_ratio) <= max(BOUND_RATIO, spread_ratio or 0.0),
    )


def _mean(distribution: Distribution | None) -> float | None:
    return None if distribution is None else distribution.mean


_METRICS: tuple[tuple[str, str, Callable[[Summary], float | None]], ...] = (
    (
        "output_throughput_tokens_per_s",
        "tokens_per_s",
        lambda summary: summary.output_throughput_tokens_per_s,
    ),
    ("mean_ttft_s", "s", lambda summary: _mean(summary.ttft_s)),
    ("mean_tpot_s", "s", lambda summary: _mean(summary.tpot_s)),
)
