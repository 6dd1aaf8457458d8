"""PCI Express speeds against the figures of the standard."""

from __future__ import annotations

import pytest

from topoprobe.machine import pcie


@pytest.mark.parametrize(
    ("gigatransfers", "lanes", "gigabytes"),
    [
        (2.5, 1, 0.25), (2.5, 16, 4.0), (5, 1, 0.5), (5, 16, 8.0), (8, 1, 0.984615),
        (8, 16, 15.753846), (16, 16, 31.507692), (32, 16, 63.015385), (64, 1, 7.5625),
        (64, 16, 121.0), (128, 16, 242.0),
    ],
)  # fmt: skip
def test_capability_of_generation_has_the_bandwidth_left_by_its_encoding(
    gigatransfers: float, lanes: int, gigabytes: float
) -> None:
    found = pcie.capability(gigatransfers * 1e9, lanes)
    assert found is not None
    assert found.bandwidth_bytes_per_s == pytest.approx(gigabytes * 1e9, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("8 GT/s", 8e9), ("8.0 GT/s PCIe", 8e9), ("2.5 GT/s PCIe", 2.5e9), ("64.0 GT/s PCIe", 64e9),
        ("Unknown", None), ("Unknown speed", None), ("", None), ("0 GT/s", None), ("fast", None),
    ],
)  # fmt: skip
def test_speed_text_is_read_in_every_spelling(text: str, rate: float | None) -> None:
    assert pcie.parse_speed(text) == rate


@pytest.mark.parametrize(
    ("text", "lanes"),
    [("16", 16), ("x8", 8), ("1", 1), ("0", None), ("63", None), ("255", None), ("", None)],
)
def test_width_that_no_link_has_is_unknown(text: str, lanes: int | None) -> None:
    assert pcie.parse_width(text) == lanes


def test_gen2_from_the_newer_kernel_text_is_half_a_gigabyte() -> None:
    found = pcie.capability(pcie.parse_speed("5.0 GT/s PCIe"), pcie.parse_width("1"))
    assert found is not None
    assert found.bandwidth_bytes_per_s == 0.5e9


@pytest.mark.parametrize(
    ("gigabytes", "right", "rate", "lanes", "is_slip"),
    [
        (0.615385, 0.5, 5e9, 1, True),  # hwloc's Gen2 with Gen3's encoding
        (2.461538, 2.0, 5e9, 4, True),
        (31.0, 31.507692, None, None, True),  # a rounded vendor figure
        (15.753846, 15.753846, None, None, False),  # Gen3 x16, or Gen4 x8, or Gen5 x4
        (0.25, 0.25, 2.5e9, 1, False),
        (121.0, 121.0, None, None, False),
    ],
)
def test_bandwidth_figure_is_brought_back_to_what_pcie_can_be(
    gigabytes: float, right: float, rate: float | None, lanes: int | None, is_slip: bool
) -> None:
    reading = pcie.read_bandwidth(gigabytes * 1e9)
    assert reading is not None
    assert reading.capability.bandwidth_bytes_per_s == pytest.approx(right * 1e9, rel=1e-5)
    assert reading.capability.transfers_per_s == rate
    assert reading.capability.num_lanes == lanes
    assert (reading.slip is not None) is is_slip


def test_bandwidth_of_zero_is_unknown() -> None:
    assert pcie.read_bandwidth(0.0) is None


def test_link_between_different_ports_carries_the_lesser() -> None:
    wide_and_slow = pcie.capability(8e9, 16)
    narrow_and_fast = pcie.capability(32e9, 4)
    joint = pcie.lesser(wide_and_slow, narrow_and_fast)
    assert joint == pcie.capability(8e9, 4)


def test_link_with_one_known_end_carries_what_that_end_can() -> None:
    assert pcie.lesser(None, pcie.capability(8e9, 16)) == pcie.capability(8e9, 16)
    assert pcie.lesser(None, None) is None


def test_capability_without_width_has_no_bandwidth() -> None:
    found = pcie.capability(16e9, None)
    assert found is not None
    assert found.bandwidth_bytes_per_s is None
    assert pcie.describe(found) == "Gen4"
