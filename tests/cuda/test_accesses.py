"""Bytes that the kernels load and store, counted, against the formulas of `work`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.cuda.support import Counter, Memory, Watched
from topoprobe.measure.devices.cuda.bindings import ACCESS_BYTES
from topoprobe.measure.devices.cuda.chase import BOARD_BYTES, OUT_BYTES, ring_words
from topoprobe.measure.devices.cuda.floats import FLOAT_TYPES, FloatType
from topoprobe.measure.devices.cuda.work import (
    StreamKernel,
    Work,
    block_work,
    copy_work,
    gemv_work,
    intensity_work,
    stream_work,
    zero_copy_read_work,
    zero_copy_write_work,
)

#: Odd in every way but that accesses are of 16 bytes, and more than the grid of 2 SMs has threads.
ARRAY_BYTES = 16 * 4999


@pytest.fixture(scope="module")
def counter(on_cpu: Callable[..., Any]) -> Counter:
    return Counter(on_cpu)


def memory(num_bytes: int = ARRAY_BYTES) -> Memory:
    return Memory(np.ones(num_bytes // 8, dtype=np.float64))


def moved(counts: dict[str, Watched]) -> Work:
    return Work(
        sum(one.loaded for one in counts.values()), sum(one.stored for one in counts.values())
    )


def payload(work: Work) -> Work:
    return Work(work.read_bytes, work.written_bytes)


@pytest.mark.parametrize(
    ("kernel", "names", "num_flop"),
    [
        ("copy", "ca", 0),
        ("scale", "bc", 2 * 4999),
        ("add", "cab", 2 * 4999),
        ("triad", "abc", 4 * 4999),
    ],
)
def test_stream_kernel_moves_its_arrays_once(
    counter: Counter, kernel: StreamKernel, names: str, num_flop: int
) -> None:
    arrays = {name: memory() for name in names}
    scalar = (0.4,) if kernel in ("scale", "triad") else ()
    call = getattr(counter.kernels, kernel)
    counts = counter.count("stream", lambda: call(*arrays.values(), *scalar), **arrays)
    work = stream_work(kernel, ARRAY_BYTES)
    assert moved(counts) == payload(work)
    assert work.num_flop == num_flop
    assert counts[names[0]].loaded == 0
    assert sum(counts[name].stored for name in names[1:]) == 0


def test_stream_read_and_write_move_one_array(counter: Counter) -> None:
    a, kernels = memory(), counter.kernels
    sums = memory(8 * kernels.num_read_sums(a))
    counts = counter.count("stream", lambda: kernels.read(a, sums), a=a)
    assert moved(counts) == stream_work("read", ARRAY_BYTES)
    counts = counter.count("stream", lambda: kernels.flush_l2(a, ARRAY_BYTES), a=a)
    assert moved(counts) == stream_work("write", ARRAY_BYTES)


@pytest.mark.parametrize("num_bytes", [16, 16 * 511, 16 * 8193, 16 * 9000])
@pytest.mark.parametrize("num_blocks", [1, 2, 5])
def test_sm_copy_moves_each_byte_once(counter: Counter, num_bytes: int, num_blocks: int) -> None:
    target, source = memory(16 * 9000), memory(16 * 9000)
    counts = counter.count(
        "sm_copy",
        lambda: counter.kernels.sm_copy(target, source, num_bytes, num_blocks),
        target=target,
        source=source,
    )
    assert moved(counts) == copy_work(num_bytes)
    assert (counts["target"].loaded, counts["source"].stored) == (0, 0)


@pytest.mark.parametrize("block_bytes", [16, 48, 4096, 4096 + 16])
def test_kv_kernels_move_the_blocks_of_the_table_once(counter: Counter, block_bytes: int) -> None:
    pool, staging = memory(9 * block_bytes), memory(4 * block_bytes)
    table = Memory(np.array([8, 0, 5, 3], dtype=np.uint32))
    kernels = counter.kernels
    for call in (
        lambda: kernels.gather_blocks(staging, pool, table, block_bytes),
        lambda: kernels.scatter_blocks(pool, staging, table, block_bytes),
    ):
        counts = counter.count("kv_blocks", call, pool=pool, staging=staging)
        assert moved(counts) == block_work(4, block_bytes)


@pytest.mark.parametrize("num_rounds", [0, 1, 33])
@pytest.mark.parametrize("float_type", list(FLOAT_TYPES))
def test_intensity_moves_its_data_once_whatever_the_rounds(
    counter: Counter, float_type: FloatType, num_rounds: int
) -> None:
    data = memory(64 * 1999)
    counts = counter.count(
        "intensity",
        lambda: counter.kernels.intensity(data, float_type, num_rounds),
        data=data,
    )
    work = intensity_work(float_type, data.num_bytes, num_rounds)
    assert moved(counts) == payload(work)


@pytest.mark.parametrize(
    ("float_type", "flop_per_byte"), [("fp32", 4.0), ("fp64", 2.0), ("fp16", 8.0), ("bf16", 8.0)]
)
def test_intensity_of_sixteen_rounds_has_flop_by_the_size_of_a_number(
    float_type: FloatType, flop_per_byte: float
) -> None:
    assert intensity_work(float_type, 1 << 20, 16).flop_per_byte == flop_per_byte


@pytest.mark.parametrize("access_bytes", ACCESS_BYTES)
def test_zero_copy_moves_only_its_accesses(counter: Counter, access_bytes: int) -> None:
    kernels, num_accesses, stride_bytes = counter.kernels, 301, 512
    host = memory(num_accesses * stride_bytes)
    sums = memory(8 * kernels.num_zero_copy_sums(num_accesses, access_bytes))
    where = (access_bytes, stride_bytes, num_accesses)
    counts = counter.count(
        "zero_copy", lambda: kernels.zero_copy_read(host, sums, *where), host=host
    )
    assert moved(counts) == zero_copy_read_work(num_accesses, access_bytes)
    counts = counter.count("zero_copy", lambda: kernels.zero_copy_write(host, 1, *where), host=host)
    assert moved(counts) == zero_copy_write_work(num_accesses, access_bytes)


def test_pattern_kernels_touch_each_word_once(counter: Counter) -> None:
    words, report = Memory(np.zeros(4999, np.uint64)), Memory(np.zeros(3, np.uint64))
    kernels = counter.kernels
    counts = counter.count("pattern", lambda: kernels.fill_pattern(words, 1), words=words)
    assert moved(counts) == Work(0, words.num_bytes)
    counts = counter.count(
        "pattern", lambda: kernels.verify_pattern(words, 1, 2, report), words=words, report=report
    )
    assert moved(counts) == Work(words.num_bytes, 0)


def test_chase_loads_one_word_per_hop(counter: Counter) -> None:
    ring, out = Memory(ring_words(64 * 128, 1)), Memory(np.zeros(OUT_BYTES // 8, np.uint64))
    counts = counter.count(
        "latency", lambda: counter.kernels.chase(ring, out, 100, 28), ring=ring, out=out
    )
    assert (counts["ring"].num_loads, counts["ring"].loaded) == (128, 4 * 128)
    assert counts["out"].loaded == 0


def test_loaded_chase_counts_what_it_moves(counter: Counter) -> None:
    ring, load = Memory(ring_words(64 * 128, 1)), memory(20 * 16384 + 160)
    board = Memory(np.zeros(BOARD_BYTES // 8, np.uint64))
    counts = counter.count(
        "latency",
        lambda: counter.kernels.loaded_chase(ring, load, board, 100, 28, write_sixteenths=5),
        ring=ring,
        load=load,
        board=board,
    )
    num_read, num_written = (int(word) for word in board.array[5:7])
    assert (counts["load"].loaded, counts["load"].stored) == (16 * num_read, 16 * num_written)
    assert counts["ring"].num_loads == 128


def test_access_beyond_a_buffer_is_noticed(counter: Counter) -> None:
    """The counting itself: a copy that is told a length beyond its buffers."""
    target, source = memory(160), memory(160)
    launch = counter.library("sm_copy").launch
    with pytest.raises(AssertionError):
        counter.count(
            "sm_copy",
            lambda: launch(
                "sm_copy", (1,), 4,
                np.uint64(target.pointer), np.uint64(source.pointer), np.uint64(11),
            ),
            target=target,
            source=source,
        )  # fmt: skip


def test_gemv_reads_every_weight_once(counter: Counter) -> None:
    weights, vector = Memory(np.ones((64, 512), np.float32)), Memory(np.ones(64, np.float32))
    num_parts = counter.kernels.num_gemv_parts(weights, vector)
    partial = Memory(np.zeros((num_parts, 512), np.float32))
    counts = counter.count(
        "gemv",
        lambda: counter.kernels.gemv(weights, vector, partial),
        weights=weights,
        partial=partial,
    )
    assert moved({"weights": counts["weights"]}) == payload(gemv_work(weights.num_bytes))
    assert counts["partial"].stored == partial.num_bytes
