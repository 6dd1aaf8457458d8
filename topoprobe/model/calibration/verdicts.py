"""What to know before trusting the numbers of a results document."""

from __future__ import annotations

from topoprobe.measure.evidence import find_outliers
from topoprobe.measure.statistics import OUTLIER_MADS, steady_samples
from topoprobe.model.calibration.nominal import nominal_verdicts
from topoprobe.model.calibration.peers import peer_verdicts
from topoprobe.model.calibration.readings import Readings, series_name
from topoprobe.model.calibration.residuals import residual_verdicts
from topoprobe.records.base import Status, Verdict
from topoprobe.records.results import ResultsDocument, Series

BUSY_RATIO = 0.03
"""Other processes may take this share of the CPUs before a reader is warned."""

# Arrays this many times the last-level caches are not served from there [mccalpin1995].
_BEYOND_CACHES = 4.0


def verdicts(results: ResultsDocument) -> tuple[Verdict, ...]:
    """Judge devices by their peers and their nominal figures, and samples by their conditions."""
    series = [one for experiment in results.experiments for one in experiment.series]
    return (
        *peer_verdicts(results),
        *nominal_verdicts(results),
        *residual_verdicts(results.machine, Readings(results)),
        *_cached(series),
        *_stability(series),
        *_outliers(series),
        *_quiet(series),
    )


def _cached(series: list[Series]) -> list[Verdict]:
    """Warn of arrays that the caches may have served."""
    told = [
        (ratio, one)
        for one in series
        if steady_samples(one) and isinstance(ratio := one.factors.get("cache_ratio"), float)
    ]
    ratio, least = min(told, key=lambda pair: pair[0], default=(_BEYOND_CACHES, None))
    if least is None or ratio >= _BEYOND_CACHES:
        return []
    return [
        Verdict(
            level="WARN",
            check="cache",
            subject=str(least.factors.get("device", "host")),
            evidence=f"the arrays of {least.name} are {ratio:.2g} times the last-level caches that "
            f"the machine tells, not {_BEYOND_CACHES:.0f}: part of its rate may be theirs",
            fix="Run a longer suite, or with more memory free; a guest may be told caches that it "
            "shares with others.",
        )
    ]


def _stability(series: list[Series]) -> list[Verdict]:
    return [
        Verdict(
            level="WARN",
            check="stability",
            subject=series_name(one),
            evidence=one.reason or "the readings did not settle",
            fix="Stop other work on the machine and run the benchmark again.",
        )
        for one in series
        if one.status is Status.UNSTABLE
    ]


def _outliers(series: list[Series]) -> list[Verdict]:
    """Tell how many samples stand out and why; silent where nothing is known of any of them."""
    num_samples = sum(len(steady_samples(one)) for one in series)
    found = [(one, outlier) for one in series for outlier in find_outliers(one)]
    explained = [(one, outlier) for one, outlier in found if outlier.evidence]
    if not explained:
        return []
    one, worst = max(explained, key=lambda pair: pair[1].distance_mads or 0.0)
    return [
        Verdict(
            level="WARN",
            check="outliers",
            subject=series_name(one),
            evidence=f"{len(found)} of {num_samples} samples lie more than {OUTLIER_MADS} MAD from "
            f"their median, {len(explained)} of them with evidence why; here: "
            f"{'; '.join(worst.evidence)}",
            fix="Medians stand against single samples; remove the cause where it recurs.",
        )
    ]


def _quiet(series: list[Series]) -> list[Verdict]:
    shares = [
        sample.conditions.other_cpu_ratio
        for one in series
        for sample in steady_samples(one)
        if sample.conditions is not None and sample.conditions.other_cpu_ratio is not None
    ]
    busy = [share for share in shares if share > BUSY_RATIO]
    if len(busy) <= len(shares) / 10:
        return []
    return [
        Verdict(
            level="WARN",
            check="quiet machine",
            subject="host",
            evidence=f"other processes took more than {BUSY_RATIO:.0%} of the CPUs during "
            f"{len(busy)} of {len(shares)} samples, {max(busy):.0%} at most",
            fix="Stop other work on the machine and run `topoprobe bench` again.",
        )
    ]
