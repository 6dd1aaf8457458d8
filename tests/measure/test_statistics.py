"""Statistics of samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.errors import ModelError
from topoprobe.measure.statistics import (
    bootstrap_interval,
    drift_ratio,
    estimate,
    is_trend,
    mad,
    median,
    outliers,
    spread_ratio,
)
from topoprobe.records.base import Source

SAMPLES = st.lists(st.floats(1e-9, 1e12), min_size=1, max_size=30)


def test_median_of_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="no sample"):
        median([])


def test_mad_of_known_samples_is_exact() -> None:
    assert mad([1.0, 2.0, 3.0, 4.0, 100.0]) == 1.0


def test_spread_ratio_of_normal_samples_is_their_deviation() -> None:
    values = np.random.default_rng(1).normal(100.0, 5.0, 20_000)
    assert spread_ratio(values.tolist()) == pytest.approx(0.05, rel=0.05)


def test_spread_ratio_of_one_sample_is_unknown() -> None:
    assert spread_ratio([5.0]) is None
    assert spread_ratio([5.0, 5.0]) == 0.0


def test_estimate_of_one_sample_has_no_interval() -> None:
    assert not estimate([5.0], "").has_interval
    assert estimate([5.0, 6.0], "").has_interval


def test_outliers_far_value_is_the_only_one_marked() -> None:
    assert outliers([10.0, 10.1, 9.9, 10.05, 15.0]) == (False, False, False, False, True)


@given(SAMPLES)
def test_bootstrap_interval_lies_within_the_samples(values: list[float]) -> None:
    low, high = bootstrap_interval(values, num_resamples=200)
    assert min(values) <= low <= high <= max(values)


def test_bootstrap_interval_same_seed_is_reproducible() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)


def test_bootstrap_interval_covers_the_true_median_in_about_95_percent() -> None:
    generator = np.random.default_rng(7)
    inside = 0
    for _ in range(300):
        low, high = bootstrap_interval(generator.normal(50.0, 3.0, 15).tolist(), num_resamples=500)
        inside += low <= 50.0 <= high
    assert 0.89 <= inside / 300 <= 0.99


@given(SAMPLES)
def test_estimate_value_lies_in_its_interval(values: list[float]) -> None:
    made = estimate(values, "a test")
    assert made.low <= made.value <= made.high
    assert (made.n, made.source) == (len(values), Source.MEASURED)


def test_drift_of_a_line_is_its_rise_over_its_median() -> None:
    assert drift_ratio([98.0, 99.0, 100.0, 101.0, 102.0]) == pytest.approx(0.04)
    assert drift_ratio([5.0]) == 0.0


def test_drift_is_not_tilted_by_one_outlier() -> None:
    assert drift_ratio([100.0] * 9 + [300.0]) == 0.0


def test_trend_of_noise_is_seldom_seen_and_of_a_slope_nearly_always() -> None:
    generator = np.random.default_rng(11)
    noise = [generator.normal(100.0, 1.0, 12) for _ in range(300)]
    slope = np.linspace(0.0, 4.0, 12)
    assert sum(is_trend(values.tolist()) for values in noise) < 0.08 * 300
    assert sum(is_trend((values + slope).tolist()) for values in noise) > 0.9 * 300
