"""The roofline: a maximum with round corners, over memory that a cache may stand before."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.model.operators.roofline import UNITS, Roofline
from topoprobe.model.operators.work import Work

SHARP = Roofline(
    overhead_s=3e-6, second_kernel_s=4e-6, per_wave_s=1e-6, per_flop_s=1e-12, per_byte_s=1e-9,
    per_cached_byte_s=1e-10, per_serial_s=0.0, per_unsplit_s=0.0, sharpness=64.0, cache_share=1.0,
    cache_sharpness=200.0,
)  # fmt: skip


def work(**amounts: float) -> Work:
    names = ("flop", "num_bytes", "num_serial", "num_unsplit", "num_waves", "is_split")
    given = {name: np.array([amounts.get(name, 0.0)]) for name in names}
    return Work(**given, cache_bytes=amounts.get("cache_bytes", 0.0), coordinates=np.zeros((1, 1)))


def test_constants_have_units_in_the_order_of_the_fields() -> None:
    fields = [field.name.removesuffix("_s") for field in dataclasses.fields(Roofline)]
    assert fields == list(UNITS)


@pytest.mark.parametrize(
    ("amounts", "seconds"),
    [
        ({"flop": 1e9, "num_bytes": 1.0}, 1e-3 + 3e-6),
        ({"flop": 1.0, "num_bytes": 1e6}, 1e-3 + 3e-6),
        ({"num_bytes": 1e6, "is_split": 1.0, "num_waves": 2.0}, 1e-3 + 9e-6),
        ({"num_bytes": 1e6, "cache_bytes": 1e7}, 1e-4 + 3e-6),
        ({"num_bytes": 1e8, "cache_bytes": 1e7}, 1e-1 + 3e-6),
        ({"num_bytes": 1e6, "cache_bytes": 1e6}, 5.5e-4 + 3e-6),
        ({}, 3e-6),
    ],
)
def test_sharp_roofline_is_the_longest_part(amounts: dict[str, float], seconds: float) -> None:
    assert SHARP.seconds(work(**amounts))[0] == pytest.approx(seconds, rel=1e-6)


amount = st.floats(0, 1e15)


@given(flop=amount, num_bytes=st.floats(1, 1e12), serial=amount, sharpness=st.floats(1, 8))
def test_soft_roofline_lies_between_maximum_and_sum(
    flop: float, num_bytes: float, serial: float, sharpness: float
) -> None:
    soft = dataclasses.replace(SHARP, per_serial_s=1e-13, sharpness=sharpness, cache_share=0.0)
    parts = (1e-12 * flop, 1e-9 * num_bytes, 1e-13 * serial)
    found = soft.seconds(work(flop=flop, num_bytes=num_bytes, num_serial=serial))[0] - 3e-6
    assert max(parts) * (1 - 1e-9) <= found + 1e-15
    assert found <= sum(parts) * (1 + 1e-9) + 1e-15


@given(st.floats(1, 1e11), st.floats(1.001, 10))
def test_more_bytes_never_take_less_time(num_bytes: float, factor: float) -> None:
    soft = dataclasses.replace(SHARP, cache_sharpness=8.0)
    less = soft.seconds(work(num_bytes=num_bytes, cache_bytes=4e7))[0]
    more = soft.seconds(work(num_bytes=num_bytes * factor, cache_bytes=4e7))[0]
    assert less <= more
