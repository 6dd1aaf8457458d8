"""Where warm-up ends, and which samples make a number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.measure.stability import judge, warmup_length

RANDOM = np.random.default_rng(5)


def stable_share(sigma: float, num_samples: int) -> float:
    draws = RANDOM.normal(1.0, sigma, (200, num_samples + 1))
    return sum(judge([values.tolist()], 0.02).is_stable for values in draws) / len(draws)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], 0),
        ([7.0], 0),
        ([7.0, 1.0], 1),
        ([1.0] * 6, 1),
        ([9.0, 8.0, 6.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0], 4),
        ([1.0, 1.3, 1.3, 1.3, 1.0, 1.01, 1.0, 0.99], 4),
        # A late outlier is no warm-up, and a difference within the tolerance is none either.
        ([1.0, 1.0, 1.0, 1.0, 5.0, 1.0], 1),
        ([1.0, 1.01, 1.0, 1.0, 1.0, 1.0], 1),
        # Whatever comes, half of the samples are left.
        ([9.0, 8.0, 5.0, 2.0, 1.0, 1.0], 3),
    ],
)
def test_warmup_is_the_first_sample_and_those_that_stand_out(
    values: list[float], expected: int
) -> None:
    assert warmup_length(values, 0.02) == expected


def test_judge_more_samples_make_the_same_noise_better_known() -> None:
    shares = [stable_share(0.04, num_samples) for num_samples in (5, 20, 80)]
    assert shares[0] < 0.35
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.9


def test_judge_great_noise_does_not_pass_by_chance() -> None:
    assert stable_share(0.2, 20) == 0.0


def test_judge_drift_is_told_with_its_size() -> None:
    values = [1.0, *(1.0 - 0.003 * step for step in range(20))]
    (reason,) = judge([values], 0.02).reasons
    assert reason == "it drifts by -5.9% over 20 samples, more than 2%"


def test_judge_slow_rise_within_the_tolerance_is_stable() -> None:
    values = [1.0 + 0.0005 * step for step in range(20)]
    assert judge([values], 0.02).is_stable


def test_judge_one_bad_sample_of_many_is_stable() -> None:
    assert judge([[1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.001, 1.0, 0.999, 1.0, 1.0]], 0.02).is_stable


def test_judge_quantities_measured_together_share_the_longest_warmup() -> None:
    judgement = judge([[1.0] * 7, [9.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0]], 0.02)
    assert (judgement.num_warmups, judgement.reasons) == (2, (None, None))


def test_judge_a_median_of_zero_is_stable_only_without_spread() -> None:
    assert judge([[0.0] * 5], 0.02).is_stable
    (reason,) = judge([[0.0, 0.0, 1.0, 0.0, -1.0, 0.0]], 0.02).reasons
    assert reason == "its median is zero, and its 95 % interval is not, from 5 samples"


@given(st.lists(st.floats(1e-9, 1e12), min_size=1, max_size=15), st.floats(1e-3, 0.5))
def test_judge_does_not_depend_on_the_unit(values: list[float], tolerance: float) -> None:
    scaled = [value * 1024.0 for value in values]  # exact in binary
    assert judge([values], tolerance).num_warmups == judge([scaled], tolerance).num_warmups
    assert judge([values], tolerance).is_stable == judge([scaled], tolerance).is_stable


def test_median_that_just_misses_its_tolerance_is_told_with_enough_digits() -> None:
    (reason,) = judge([[1.0, 1.0, 1.05004, 1.0, 1.05004, 1.0, 1.05004, 1.0]], 0.05).reasons
    assert reason is not None
    assert "±5.004% only, not to ±5%" in reason
