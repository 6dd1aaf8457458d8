"""Numbers as people read them."""

from __future__ import annotations

import msgspec

from tests.reports.sample import measured, nominal
from topoprobe.reports.quantity import (
    format_percent,
    format_tick,
    quantity,
    tip,
)


def test_format_percent_has_a_digit_only_where_it_matters() -> None:
    assert format_percent(0.0412) == "4.1 %"
    assert format_percent(0.4156) == "42 %"


def test_format_tick_drops_zeros_that_claim_precision() -> None:
    assert format_tick(10e9, "bytes_per_s") == "10 GB/s"
    assert format_tick(2.5e9, "bytes_per_s") == "2.5 GB/s"
    assert format_tick(100e9, "bytes_per_s") == "100 GB/s"
    assert format_tick(0.0, "s") == "0"


def test_quantity_measured_shows_half_its_interval_and_its_evidence() -> None:
    shown = quantity(measured(20e9, 0.02, "stream.triad"), "bytes_per_s")
    assert (shown.text, shown.spread, shown.source) == ("20.0 GB/s", "± 2.0 %", "measured")
    assert "95 % interval 19.6 to 20.4 GB/s" in shown.tip
    assert "n = 12" in shown.tip
    assert "stream.triad" in shown.tip


def test_quantity_nominal_claims_no_interval() -> None:
    shown = quantity(nominal(20e9), "bytes_per_s")
    assert shown.spread == ""
    assert "nominal" in tip(nominal(20e9), "bytes_per_s")
    assert "95 %" not in shown.tip


def test_quantity_of_one_sample_claims_no_interval() -> None:
    alone = msgspec.structs.replace(measured(20e9, 0.0), n=1)
    shown = quantity(alone, "bytes_per_s")
    assert shown.spread == "one sample"
    assert "one sample, no interval" in shown.tip
    assert "95 %" not in shown.tip
