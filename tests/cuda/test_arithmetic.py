"""Run the kernels on the CPU, thread by thread, against numpy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from topoprobe.measure.devices.cuda.floats import FLOAT_TYPES
from topoprobe.measure.devices.cuda.pattern import pattern_words

Words = npt.NDArray[np.uint64]
OnCpu = Any  # conftest.OnCpu, which importlib mode cannot import by name

#: Grids smaller than, equal to and larger than the arrays below: every shape of a grid-stride loop.
GRIDS = pytest.mark.parametrize(("num_blocks", "num_threads"), [(1, 1), (3, 5), (8, 32)])


@GRIDS
def test_stream_kernels_on_any_grid_equal_numpy(
    on_cpu: Callable[[str], OnCpu], num_blocks: int, num_threads: int
) -> None:
    stream = on_cpu("stream")
    rng = np.random.default_rng(1)
    num_pairs, scalar = 37, 0.4
    a, b, c = (rng.random(2 * num_pairs) for _ in range(3))
    grid = (num_blocks, 1)
    target = np.zeros_like(a)
    expected = {
        "stream_copy": ((target, a, np.uint64(num_pairs)), a),
        "stream_scale": ((target, c, np.float64(scalar), np.uint64(num_pairs)), scalar * c),
        "stream_add": ((target, a, b, np.uint64(num_pairs)), a + b),
        "stream_triad": ((target, b, c, np.float64(scalar), np.uint64(num_pairs)), b + scalar * c),
        "stream_write": ((target, np.float64(scalar), np.uint64(num_pairs)), np.full_like(a, 0.4)),
    }
    for name, (arguments, reference) in expected.items():
        target[:] = np.nan
        stream.launch(name, grid, num_threads, *arguments)
        np.testing.assert_allclose(target, reference, rtol=1e-15, err_msg=name)


@GRIDS
def test_stream_read_on_any_grid_reads_every_word_once(
    on_cpu: Callable[[str], OnCpu], num_blocks: int, num_threads: int
) -> None:
    words = pattern_words(7, 0, 2 * 41)
    sums = np.zeros(num_blocks * num_threads, dtype=np.uint64)
    on_cpu("stream").launch("stream_read", (num_blocks, 1), num_threads, words, sums, np.uint64(41))
    assert np.bitwise_xor.reduce(sums) == np.bitwise_xor.reduce(words)


@GRIDS
def test_pattern_fill_on_any_grid_equals_the_hosts_pattern(
    on_cpu: Callable[[str], OnCpu], num_blocks: int, num_threads: int
) -> None:
    words = np.zeros(101, dtype=np.uint64)
    on_cpu("pattern").launch(
        "pattern_fill",
        (num_blocks, 1),
        num_threads,
        words,
        np.uint64(5),
        np.uint64(1000),
        np.uint64(101),
    )
    np.testing.assert_array_equal(words, pattern_words(5, 1000, 101))


def test_pattern_fill_floats_gives_distinct_numbers_from_one_to_two(
    on_cpu: Callable[[str], OnCpu],
) -> None:
    words = np.zeros(101, dtype=np.uint64)
    on_cpu("pattern").launch(
        "pattern_fill_floats", (2, 1), 8, words, np.uint64(5), np.uint64(0), np.uint64(101),
        np.uint64(FLOAT_TYPES["fp64"].mantissa_word), np.uint64(FLOAT_TYPES["fp64"].one_word),
    )  # fmt: skip
    values = words.view(np.float64)
    assert values.min() >= 1
    assert values.max() < 2
    assert len(np.unique(values)) == 101


def verify(on_cpu: Callable[[str], OnCpu], words: Words, first_index: int) -> list[int]:
    report = np.array([2**64 - 1, 0, 0], dtype=np.uint64)
    on_cpu("pattern").launch(
        "pattern_verify", (2, 1), 16,
        words, np.uint64(5), np.uint64(6), np.uint64(first_index), np.uint64(len(words)), report,
    )  # fmt: skip
    return [int(value) for value in report]


def test_pattern_verify_of_a_whole_transfer_reports_nothing(
    on_cpu: Callable[[str], OnCpu],
) -> None:
    assert verify(on_cpu, pattern_words(5, 0, 99), 0) == [2**64 - 1, 0, 0]


def test_pattern_verify_tells_never_written_words_from_corrupted_ones(
    on_cpu: Callable[[str], OnCpu],
) -> None:
    words = pattern_words(5, 200, 99)
    words[40:50] = pattern_words(6, 240, 10)  # the poison that was there before
    words[33] ^= np.uint64(1 << 63)
    assert verify(on_cpu, words, 200) == [233, 10, 1]


def test_pattern_verify_of_a_shifted_transfer_calls_every_word_corrupted(
    on_cpu: Callable[[str], OnCpu],
) -> None:
    assert verify(on_cpu, pattern_words(5, 1, 50), 0) == [0, 0, 50]


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (4, 9)])
def test_kv_gather_then_scatter_moves_the_blocks_of_the_table(
    on_cpu: Callable[[str], OnCpu], grid: tuple[int, int]
) -> None:
    kv_blocks = on_cpu("kv_blocks")
    rng = np.random.default_rng(2)
    vectors, num_blocks = 10, 5
    pool = rng.integers(0, 2**32, size=(12, 4 * vectors), dtype=np.uint32)
    table = np.array([7, 0, 11, 3, 4], dtype=np.uint32)
    staging = np.zeros((num_blocks, 4 * vectors), dtype=np.uint32)
    counts = (np.uint32(num_blocks), np.uint32(vectors))
    kv_blocks.launch("kv_gather", grid, 4, staging, pool, table, *counts)
    np.testing.assert_array_equal(staging, pool[table])

    other = np.zeros_like(pool)
    kv_blocks.launch("kv_scatter", grid, 4, other, staging, table, *counts)
    np.testing.assert_array_equal(other[table], pool[table])
    untouched = np.setdiff1d(np.arange(12), table)
    assert not other[untouched].any()


def test_latch_opened_by_the_host_lets_the_stream_go(on_cpu: Callable[[str], OnCpu]) -> None:
    latch = on_cpu("latch")
    flag, outcome = np.zeros(1, dtype=np.uint32), np.zeros(1, dtype=np.uint32)
    arguments = (flag, outcome, np.uint64(60 * 10**9))
    held = threading.Thread(target=latch.launch, args=("latch_wait", (1, 1), 1, *arguments))
    held.start()
    held.join(0.05)
    assert held.is_alive()
    assert outcome[0] == 0
    flag[0] = 1
    held.join(10)
    assert not held.is_alive()
    assert outcome[0] == 1


def test_latch_never_opened_gives_up_at_its_timeout(on_cpu: Callable[[str], OnCpu]) -> None:
    flag, outcome = np.zeros(1, dtype=np.uint32), np.zeros(1, dtype=np.uint32)
    on_cpu("latch").launch("latch_wait", (1, 1), 1, flag, outcome, np.uint64(1_000_000))
    assert outcome[0] == 2
