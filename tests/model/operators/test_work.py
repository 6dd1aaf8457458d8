"""The work of operators, counted by hand on small shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.model.operators.work import (
    COLLECTIVES,
    DECODE_ATTENTION,
    GEMM,
    PREFILL_ATTENTION,
    Operator,
    Processor,
    Work,
)

PROCESSOR = Processor(num_units=100, cache_bytes=40e6)
HEADS = {"num_heads": 8, "num_kv_heads": 2, "head_dim": 64, "window": 0}


def work(operator: Operator, **shape: float) -> Work:
    return operator.work({name: np.array([float(v)]) for name, v in shape.items()}, PROCESSOR)


def test_gemm_work_counts_each_operand_once() -> None:
    found = work(GEMM, m=3, n=5, k=7)
    assert found.flop == [2 * 3 * 5 * 7]
    assert found.num_bytes == [2 * (3 * 7 + 7 * 5 + 3 * 5)]
    assert found.num_serial == [7]


def test_decode_work_reads_keys_and_values_once_per_kv_head() -> None:
    found = work(DECODE_ATTENTION, num_sequences=3, context=10, **HEADS)
    assert found.flop == [4 * 3 * 8 * 64 * 10]
    assert found.num_bytes == [2 * (2 * 3 * 2 * 64 * 10 + 2 * 3 * 8 * 64)]
    assert found.is_split == [0]
    assert found.num_waves == [1]


def test_decode_of_a_long_context_is_split_over_idle_units() -> None:
    short = work(DECODE_ATTENTION, num_sequences=1, context=128, **HEADS)
    long = work(DECODE_ATTENTION, num_sequences=1, context=128 * 64, **HEADS)
    full = work(DECODE_ATTENTION, num_sequences=100, context=128 * 64, **HEADS)
    assert (short.is_split, long.is_split, full.is_split) == ([0], [1], [0])
    assert long.num_serial == [2 * 64]  # 64 blocks of keys over 32 parts
    assert long.num_waves == [1]
    assert full.num_serial == [2 * 64 * 64]  # two waves walk all of them
    assert full.num_waves == [2]


def test_decode_of_single_query_heads_may_not_be_split() -> None:
    shape = {**HEADS, "num_kv_heads": 8}
    single = work(DECODE_ATTENTION, num_sequences=20, context=1000, **shape)
    shared = work(DECODE_ATTENTION, num_sequences=20, context=1000, **HEADS)
    assert single.num_unsplit == [2 * 8 * 64]  # two waves walk eight blocks of keys
    assert shared.num_unsplit == [0]


def test_decode_window_limits_what_is_read() -> None:
    shape = {**HEADS, "window": 128}
    near = work(DECODE_ATTENTION, num_sequences=2, context=128, **shape)
    far = work(DECODE_ATTENTION, num_sequences=2, context=5000, **shape)
    assert near.num_bytes == far.num_bytes
    assert near.flop == far.flop


@given(st.integers(1, 300), st.integers(0, 300))
def test_prefill_work_counts_causal_pairs(num_tokens: int, window: int) -> None:
    shape = {**HEADS, "window": window}
    pairs = sum(min(i, window or i) for i in range(1, num_tokens + 1))
    found = work(PREFILL_ATTENTION, num_sequences=3, num_tokens=num_tokens, **shape)
    assert found.flop[0] == pytest.approx(4 * 3 * 8 * 64 * pairs)


@pytest.mark.parametrize(
    ("kind", "num_bytes", "num_serial"),
    [("all_reduce", 1750, 14), ("all_gather", 875, 7), ("reduce_scatter", 875, 7),
     ("all_to_all", 875, 7)],
)  # fmt: skip
def test_collective_work_is_what_a_gpu_sends(
    kind: str, num_bytes: float, num_serial: float
) -> None:
    operator = next(each for each in COLLECTIVES if each.name == kind)
    found = work(operator, num_gpus=8, message_bytes=1000)
    assert found.num_bytes == [num_bytes]
    assert found.num_serial == [num_serial]


@pytest.mark.parametrize("operator", [GEMM, DECODE_ATTENTION, PREFILL_ATTENTION, *COLLECTIVES],
                         ids=lambda operator: operator.name)  # fmt: skip
@given(data=st.data())
def test_work_of_a_table_is_the_work_of_its_rows(operator: Operator, data: st.DataObject) -> None:
    row = st.lists(st.integers(1, 5000), min_size=len(operator.columns),
                   max_size=len(operator.columns))  # fmt: skip
    rows = np.array(data.draw(st.lists(row, min_size=1, max_size=4)), dtype=np.float64)
    table = operator.work(dict(zip(operator.columns, rows.T, strict=True)), PROCESSOR)
    for index, values in enumerate(rows):
        single = work(operator, **dict(zip(operator.columns, values, strict=True)))
        for name in (
            "flop",
            "num_bytes",
            "num_serial",
            "num_unsplit",
            "num_waves",
            "is_split",
            "coordinates",
        ):
            assert (getattr(table, name)[index] == getattr(single, name)[0]).all(), name
        assert np.isfinite(single.coordinates).all()
