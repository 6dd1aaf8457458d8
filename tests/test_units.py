"""Text of sizes, rates and times, and reading it back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe import units
from topoprobe.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.format_bytes(0), "0 B"),
        (units.format_bytes(1 << 30), "1.00 GiB"),
        (units.format_bytes(1536 << 20), "1.50 GiB"),
        (units.format_bytes(100 << 20), "100 MiB"),
        (units.format_rate(31.508e9), "31.5 GB/s"),
        (units.format_rate(12), "12.0 B/s"),
        (units.format_flops(261e9), "261 GFLOP/s"),
        (units.format_hz(2.6e9), "2.60 GHz"),
        (units.format_seconds(121e-9), "121 ns"),
        (units.format_seconds(3.25), "3.25 s"),
        (units.format_seconds(0), "0 s"),
    ],
)
def test_format_gives_three_digits_and_the_right_unit(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("64", 64),
        ("64MiB", 64 << 20),
        ("64M", 64 << 20),
        ("64MB", 64 * 10**6),
        ("1.5 GiB", 3 << 29),
    ],
)
def test_parse_size_tells_binary_from_decimal(text: str, num_bytes: int) -> None:
    assert units.parse_size(text) == num_bytes


def test_parse_rate_and_seconds() -> None:
    assert units.parse_rate("5GB/s") == units.parse_rate("5G") == 5e9
    assert units.parse_seconds("250ms") == 0.25


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1 furlong", "1e", "nan", "1M2"])
def test_parse_size_refuses_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="is not a size"):
        units.parse_size(text)


@given(st.floats(min_value=1, max_value=1e17))
def test_rate_survives_the_round_trip_within_its_digits(rate: float) -> None:
    assert units.parse_rate(units.format_rate(rate).replace(" ", "")) == pytest.approx(rate, 0.006)


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
    assert units.format_value(value, unit) == text


def test_format_interval_writes_a_shared_unit_once() -> None:
    assert units.format_interval(18.9e9, 19.6e9, "bytes_per_s") == "18.9 to 19.6 GB/s"
    assert units.format_interval(0.9e9, 1.1e9, "bytes_per_s") == "900 MB/s to 1.10 GB/s"
