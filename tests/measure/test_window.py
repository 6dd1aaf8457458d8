"""Common-window accounting on synthetic flows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.window import Trace, Window, common_window, rates_per_s, work_in

CHUNK = 1e8


def flow(start_s: float, phases: list[tuple[float, float]], total: float) -> Trace:
    """A flow that moves `total` bytes at the rate of each (until_s, rate) phase in turn."""
    ends, now_s, left = [], start_s, CHUNK
    moved = 0.0
    for until_s, rate in phases:
        while moved < total and now_s < until_s:
            step_s = min(left / rate, until_s - now_s)
            now_s += step_s
            left -= step_s * rate
            if left <= 1e-3:
                ends.append(now_s)
                moved, left = moved + CHUNK, CHUNK
    return Trace(start_s, tuple(ends), CHUNK)


def test_rates_of_unequal_ends_are_within_one_percent_where_own_time_overstates() -> None:
    # Both move 20 GB over a 15 GB/s link: 10 and 5 GB/s while both run; the slow one is alone
    # after the fast one has ended at 2 s and then gets the whole link.
    fast = flow(0.0, [(2.0, 10e9)], 20e9)
    slow = flow(0.0, [(2.0, 5e9), (10.0, 15e9)], 20e9)
    fast_rate, slow_rate = rates_per_s([[fast], [slow]])
    assert fast_rate == pytest.approx(10e9, rel=0.01)
    assert slow_rate == pytest.approx(5e9, rel=0.01)
    naive = slow.work * len(slow.ends_s) / (slow.ends_s[-1] - slow.start_s)
    assert naive > 1.4 * slow_rate


def test_rates_of_unequal_starts_count_from_the_last_start() -> None:
    early = flow(0.0, [(1.0, 20e9), (9.0, 8e9)], 40e9)
    late = flow(1.0, [(9.0, 4e9)], 40e9)
    assert rates_per_s([[early], [late]]) == pytest.approx((8e9, 4e9), rel=0.01)


def test_rates_of_several_lanes_add_up() -> None:
    lane = flow(0.0, [(5.0, 3e9)], 9e9)
    assert rates_per_s([[lane, lane], [lane]]) == pytest.approx((6e9, 3e9), rel=0.01)


@given(st.lists(st.floats(0.01, 5.0), min_size=1, max_size=20), st.floats(0.0, 3.0))
def test_work_in_two_halves_is_the_whole(durations: list[float], cut_s: float) -> None:
    ends, now_s = [], 1.0
    for duration_s in durations:
        now_s += duration_s
        ends.append(now_s)
    trace = Trace(1.0, tuple(ends), 7.0)
    middle = 1.0 + cut_s
    split = work_in(trace, Window(0.0, middle)) + work_in(trace, Window(middle, 1000.0))
    assert split == pytest.approx(7.0 * len(ends))


def test_common_window_without_chunks_is_refused() -> None:
    with pytest.raises(MeasurementFailed, match="no chunk"):
        common_window([Trace(0.0, (), 1.0)])


def test_common_window_of_disjoint_flows_is_refused() -> None:
    with pytest.raises(MeasurementFailed, match="never ran"):
        common_window([Trace(0.0, (1.0,), 1.0), Trace(2.0, (3.0,), 1.0)])
