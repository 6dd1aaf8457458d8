"""Numbers as people read them."""

from __future__ import annotations

import msgspec
import pytest

from tests.reports.sample import measured, nominal
from topoprobe.reports.quantity import (
    format_interval,
    format_percent,
    format_tick,
    format_value,
    quantity,
    tip,
)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (19.3e9, "bytes_per_s", "19.3 GB/s"),
        (151e9, "flop_per_s", "151 GFLOP/s"),
        (121e-9, "s", "121 ns"),
        (48e-6, "s_per_token", "48.0 µs per token"),
        (312.4, "tokens_per_s", "312 tokens/s"),
        (2.573e6, "hops_per_s", "2.57 M hops/s"),
        (12345.0, "tokens_per_s", "12,345 tokens/s"),
        (8.3e6, "per_s", "8.30 M/s"),
        (0.9345, "ratio", "0.93"),
        (3.0, "furlongs", "3 furlongs"),
    ],
)
def test_format_value_writes_the_unit_of_the_document(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


def test_format_interval_writes_a_shared_unit_once() -> None:
    assert format_interval(18.9e9, 19.6e9, "bytes_per_s") == "18.9 to 19.6 GB/s"
    assert format_interval(0.9e9, 1.1e9, "bytes_per_s") == "900 MB/s to 1.10 GB/s"


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
