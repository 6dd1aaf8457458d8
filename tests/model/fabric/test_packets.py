"""Bytes around packets and the rates of links, against published figures and by counting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.errors import ModelError
from topoprobe.model.fabric.packets import PAGE_BYTES, Link, completions, split

SIZES = st.integers(1, 20000)
PAYLOADS = st.sampled_from([64, 128, 256, 512])


@pytest.mark.parametrize(
    ("link", "read", "write", "both"),
    [
        # The formulas' figures of gen3 x8 and gen5 x16, in GB/s, by hand.
        (Link(3, 8), 6.94, 6.84, 6.56),
        (Link(5, 16), 55.5, 54.7, 52.5),
        (Link(4, 16, max_payload_bytes=128), 25.9, 25.2, 24.25),
    ],
)
def test_rates_of_long_transfers(link: Link, read: float, write: float, both: float) -> None:
    assert link.read_bytes_per_s(65536) / 1e9 == pytest.approx(read, rel=2e-3)
    assert link.write_bytes_per_s(65536) / 1e9 == pytest.approx(write, rel=2e-3)
    assert link.duplex_bytes_per_s(65536) / 1e9 == pytest.approx(both, rel=2e-3)


@pytest.mark.parametrize(
    ("generation", "raw"), [(1, 4.0), (2, 8.0), (3, 15.754), (4, 31.508), (5, 63.015), (6, 118.0)]
)
def test_wire_of_sixteen_lanes_carries_what_its_line_code_leaves(
    generation: int, raw: float
) -> None:
    link = Link(generation, 16, efficiency_ratio=None if generation == 6 else 1.0)
    assert link.wire_bytes_per_s / 1e9 == pytest.approx(raw, rel=1e-4)


def test_flits_leave_headers_only() -> None:
    assert Link(6, 16).per_byte_written(256) == pytest.approx(272 / 256)
    assert Link(5, 16).per_byte_written(256) == pytest.approx(280 / 256)
    assert Link(6, 16).per_byte_read(512) == pytest.approx(1 + 2 * 12 / 512)


def test_reads_wait_for_the_round_trip_where_few_bytes_are_outstanding() -> None:
    rate = Link(5, 16).read_bytes_per_s(512, outstanding_bytes=64 * 512, round_trip_s=1e-6)
    assert rate == pytest.approx(32.768e9)


def test_small_requests_limit_reads_before_their_answers_do() -> None:
    link = Link(3, 8, max_read_bytes=4)
    assert link.read_bytes_per_s(4) == pytest.approx(link.wire_bytes_per_s * 4 / 24)


@given(size=SIZES, most=PAYLOADS, offset=st.integers(0, 5000))
def test_split_keeps_bytes_and_crosses_no_page(size: int, most: int, offset: int) -> None:
    packets = split(size, most, offset_bytes=offset)
    assert sum(packets) == size
    start = offset
    for packet in packets:
        assert 0 < packet <= most
        assert start // PAGE_BYTES == (start + packet - 1) // PAGE_BYTES
        start += packet


@given(size=SIZES, most=PAYLOADS, offset=st.integers(0, 5000))
def test_completions_keep_bytes_and_end_at_the_boundary(size: int, most: int, offset: int) -> None:
    packets = completions(size, most, offset_bytes=offset)
    assert sum(packets) == size
    end = offset
    for packet in packets[:-1]:
        end += packet
        assert 0 < packet <= most
        assert end % 64 == 0


def test_old_chip_sets_answer_by_cache_lines() -> None:
    assert completions(256, 64) == (64, 64, 64, 64)
    assert completions(256, 64, offset_bytes=16) == (48, 64, 64, 64, 16)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Link(9, 16), "generation 9 is unknown; expected 1 to 7"),
        (lambda: Link(5, 0), "width or size below one"),
        (lambda: Link(5, 16, efficiency_ratio=1.5), "expected above 0, at most 1"),
        (lambda: split(0, 256), "expected sizes above zero"),
        (lambda: completions(512, 64, boundary_bytes=128), "does not fit packets of 64"),
    ],
)
def test_what_cannot_be_is_refused(make: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make()  # type: ignore[operator]


def test_read_in_packets_below_the_boundary_is_answered_in_such_packets() -> None:
    link = Link(5, 16, max_payload_bytes=32)
    assert link.per_byte_read(32) == pytest.approx((32 + 20) / 32)
    assert link.per_byte_read(128) == pytest.approx((128 + 4 * 20) / 128)
