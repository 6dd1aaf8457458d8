"""PCI addresses and CPU sets in other tools' spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.machine.addresses import (
    format_cpu_list,
    normal_address,
    parse_cpu_list,
    parse_cpu_mask,
    sort_key,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0000:1b:00.0", "0000:1b:00.0"),
        ("00000000:1B:00.0", "0000:1b:00.0"),  # NVML
        ("10000:00:04.0", "10000:00:04.0"),  # Intel VMD
        ("1b:00.0", "0000:1b:00.0"),
        ("ffff:ff:01.0", "ffff:ff:01.0"),  # a switch invented by a cloud's NCCL file
        ("fffffff:ffff:ff", None),
        ("fffffff:ff:ff.0", None),
        ("FFFFFFFF:FF:FF.0", None),
        ("", None),
        ("none", None),
    ],
)
def test_address_is_normal_or_none(text: str, address: str | None) -> None:
    assert normal_address(text) == address


def test_addresses_sort_by_number_and_not_by_text() -> None:
    assert sorted(["10000:00:00.0", "ffff:00:00.0", "0000:0a:00.0"], key=sort_key) == [
        "0000:0a:00.0", "ffff:00:00.0", "10000:00:00.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mask", "cpus"),
    [
        ("00000000,00000000,00ffffff", tuple(range(24))),
        ("0x00ffffff,,,0x00ffffff", (*range(24), *range(96, 120))),
        ("0x0", ()),
        ("0xf...f", ()),
        ("nonsense", ()),
    ],
)
def test_mask_is_read_in_words_with_the_highest_first(mask: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_mask(mask) == cpus


@given(st.sets(st.integers(0, 300)))
def test_cpu_list_round_trips(cpus: set[int]) -> None:
    assert parse_cpu_list(format_cpu_list(tuple(sorted(cpus)))) == tuple(sorted(cpus))


@given(st.text(max_size=30))
def test_noise_never_raises(text: str) -> None:
    normal_address(text)
    parse_cpu_list(text)
    parse_cpu_mask(text)
