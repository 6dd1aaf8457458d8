"""Flows that come and go: when, and at what rate meanwhile."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.measure.flows import parse_flow_set
from topoprobe.model.episodes import Life, episodes, lives
from topoprobe.model.fabric.demand import Allocation

LINK = 10e9


def shared(running: tuple[int, ...]) -> Mapping[int, Allocation]:
    """Divide one link equally."""
    return {index: Allocation(LINK / len(running), "link") for index in running}


def of(*keys: str) -> tuple[Life, ...]:
    flows = parse_flow_set(" | ".join(f"host:0 > gpu:0{key}" for key in keys))
    return lives(flows, episodes(flows, shared))


def test_flows_that_stay_have_the_rates_of_all_at_once() -> None:
    assert [one.rate_per_s for one in of("", "")] == [5e9, 5e9]
    assert [one.end_s for one in of("", "")] == [None, None]


def test_flows_that_never_meet_have_the_link_for_themselves() -> None:
    first, later = of(", size=10GB", ", size=10GB, delay=10s")
    assert (first.rate_per_s, later.rate_per_s) == pytest.approx((LINK, LINK))
    assert (first.end_s, later.start_s, later.end_s) == pytest.approx((1.0, 10.0, 11.0))


def test_flow_that_meets_another_for_a_while_has_the_mean_of_its_life() -> None:
    short, long = of(", size=10GB", ", size=20GB")
    assert (short.end_s, long.end_s) == pytest.approx((2.0, 3.0))
    assert (short.rate_per_s, long.rate_per_s) == pytest.approx((5e9, 20e9 / 3))
    assert long.slowest.allocations.keys() == {0, 1}


def test_flow_that_stays_counts_while_others_run() -> None:
    _, stays = of(", size=10GB", "")
    assert (stays.end_s, stays.rate_per_s) == (None, pytest.approx(5e9))


def test_flow_that_stays_beside_later_ones_has_what_it_gets_at_last() -> None:
    assert [one.rate_per_s for one in of("", ", delay=1s")] == [5e9, 5e9]


def test_flow_with_a_duration_goes_when_it_is_over() -> None:
    sized, timed = of(", size=30GB", ", duration=2s")
    assert timed.end_s == pytest.approx(2.0)
    assert sized.end_s == pytest.approx(2.0 + 2.0)


@pytest.mark.parametrize(
    ("keys", "end_s", "is_moved"),
    [(", size=30GB, duration=2s, delay=1s", 3.0, False), (", size=10GB, duration=2s", 1.0, True)],
)
def test_flow_with_size_and_duration_goes_at_the_earlier_end(
    keys: str, end_s: float, is_moved: bool
) -> None:
    (only,) = of(keys)
    assert (only.end_s, only.rate_per_s) == pytest.approx((end_s, LINK))
    assert only.moves(30e9 if "30GB" in keys else 10e9) == is_moved


@given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(0.001, 2.0)), min_size=1, max_size=6))
def test_flows_move_their_bytes_and_no_more_than_the_link_carries(
    moves: list[tuple[int, float]],
) -> None:
    found = of(*(f", size={size}, delay={delay!r}s" for size, delay in moves))
    for life, (size, delay) in zip(found, moves, strict=True):
        assert life.end_s is not None
        assert life.rate_per_s * (life.end_s - life.start_s) == pytest.approx(size, rel=1e-6)
        assert life.start_s == pytest.approx(delay)
    last = max(life.end_s or 0.0 for life in found)
    first = min(life.start_s for life in found)
    assert sum(size for size, _ in moves) <= LINK * (last - first) * (1 + 1e-6)
