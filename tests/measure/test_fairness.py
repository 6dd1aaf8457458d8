"""Fairness figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.errors import ModelError
from topoprobe.measure.fairness import jain_ratio, max_min_ratio, on_the_wire, slowdowns

SHARES = st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=12)


def test_slowdowns_are_solo_over_shared() -> None:
    assert slowdowns([10.0, 8.0], [5.0, 8.0]) == (2.0, 1.0)


def test_slowdowns_of_unpaired_rates_are_refused() -> None:
    with pytest.raises(ModelError, match="do not pair"):
        slowdowns([1.0], [1.0, 2.0])


def test_jain_ratio_of_one_hog_is_one_over_n() -> None:
    assert jain_ratio([1.0, 1e-12, 1e-12, 1e-12]) == pytest.approx(0.25)


def test_jain_ratio_of_two_to_one_is_nine_tenths() -> None:
    assert jain_ratio([2.0, 1.0]) == pytest.approx(0.9)


@given(SHARES)
def test_jain_ratio_lies_between_one_over_n_and_one(shares: list[float]) -> None:
    assert 1.0 / len(shares) - 1e-9 <= jain_ratio(shares) <= 1.0 + 1e-9


def test_max_min_ratio_of_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="no flow"):
        max_min_ratio([])


def test_max_min_ratio_of_a_starved_flow_is_refused() -> None:
    with pytest.raises(ModelError, match="above zero"):
        max_min_ratio([1.0, 0.0])


def test_wire_rates_carry_the_header_of_every_packet() -> None:
    assert on_the_wire((256e9, 128e9), (256, 128)) == pytest.approx((280e9, 152e9))


def test_wire_rates_of_equal_packets_by_count_are_fairer_than_payload() -> None:
    payload = (256.0, 64.0)  # one packet of each in turn
    assert jain_ratio(on_the_wire(payload, (256, 64))) > jain_ratio(payload)


@pytest.mark.parametrize(("rates", "sizes"), [((1.0,), (1, 2)), ((0.0,), (64,)), ((1.0,), (0,))])
def test_wire_rates_of_nonsense_are_refused(
    rates: tuple[float, ...], sizes: tuple[int, ...]
) -> None:
    with pytest.raises(ModelError):
        on_the_wire(rates, sizes)
