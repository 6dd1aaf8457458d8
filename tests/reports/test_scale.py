"""Axes: pixels of values, and ticks."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.reports.drawing.plot import spread_apart
from topoprobe.reports.drawing.scale import Scale, linear, logarithmic

POSITIVE = st.floats(1e-12, 1e15)


def test_scale_maps_ends_to_ends() -> None:
    scale = Scale(2.0, 10.0, 300.0, 20.0)
    assert scale(2.0) == 300.0
    assert scale(10.0) == 20.0
    assert scale(6.0) == pytest.approx(160.0)


def test_scale_logarithmic_puts_the_geometric_mean_in_the_middle() -> None:
    assert Scale(1.0, 100.0, 0.0, 200.0, is_log=True)(10.0) == pytest.approx(100.0)


@given(POSITIVE)
def test_linear_axis_covers_the_value_with_few_round_ticks(high: float) -> None:
    scale = linear(high, 0.0, 100.0)
    ticks = scale.ticks()
    assert scale.high >= high * (1 - 1e-9)
    assert 3 <= len(ticks) <= 9
    assert ticks[0] == 0


@given(POSITIVE, st.floats(1.0, 1e9))
def test_logarithmic_axis_covers_the_values_and_has_ticks_inside(low: float, ratio: float) -> None:
    scale = logarithmic(low, low * ratio, 0.0, 100.0)
    assert scale.low < low <= low * ratio < scale.high
    assert all(scale.low * 0.999 <= tick <= scale.high * 1.001 for tick in scale.ticks())
    assert scale.ticks()


def test_linear_axis_of_zero_is_still_an_axis() -> None:
    assert linear(0.0, 0.0, 100.0)(0.0) == 0.0


@given(st.lists(st.floats(0, 300), max_size=8))
def test_labels_are_spread_apart_in_order_within_limits(wanted: list[float]) -> None:
    placed = spread_apart(wanted, 14.0, 0.0, 300.0)
    ordered = sorted(placed)
    assert all(b - a >= 14.0 - 1e-6 for a, b in itertools.pairwise(ordered))
    assert all(-1e-6 <= y <= 300.0 + 1e-6 for y in placed)


def test_labels_with_room_stay_where_they_are() -> None:
    assert spread_apart([10.0, 200.0, 90.0], 14.0, 0.0, 300.0) == [10.0, 200.0, 90.0]
