"""Statistics of samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.errors import ModelError
from topoprobe.measure.statistics import (
    bootstrap_interval,
    estimate,
    is_steady,
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


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([100.0, 101.0], False),
        ([50.0, 100.0, 101.0, 100.5], True),
        ([100.0, 101.0, 90.0], False),
    ],
)
def test_is_steady_needs_three_agreeing_samples(values: list[float], expected: bool) -> None:
    assert is_steady(values, 0.02) is expected
