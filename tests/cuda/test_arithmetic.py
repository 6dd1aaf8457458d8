"""Run the kernels on the CPU, thread by thread, against numpy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.cuda.support import Memory, bound
from topoprobe.measure.devices.cuda.bindings import ACCESS_BYTES
from topoprobe.measure.devices.cuda.floats import FLOAT_TYPES, FloatType
from topoprobe.measure.devices.cuda.pattern import paired_words, pattern_words

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


@pytest.mark.parametrize("num_vectors", [1, 7, 8, 9, 15 * 8, 15 * 8 + 3])
@GRIDS
def test_sm_copy_of_any_length_copies_that_and_no_more(
    on_cpu: Callable[[str], OnCpu], num_blocks: int, num_threads: int, num_vectors: int
) -> None:
    words = pattern_words(1, 0, 2 * num_vectors)
    source, target = Memory(words), Memory(np.zeros_like(words))
    on_cpu("sm_copy").launch(
        "sm_copy", (num_blocks,), num_threads,
        np.uint64(target.pointer), np.uint64(source.pointer), np.uint64(num_vectors),
    )  # fmt: skip
    np.testing.assert_array_equal(target.array, words)
    np.testing.assert_array_equal(source.array, words)
    assert target.is_guarded()


@pytest.mark.parametrize("float_type", list(FLOAT_TYPES))
def test_fill_floats_of_each_type_gives_numbers_from_one_to_two(
    on_cpu: Callable[[str], OnCpu], float_type: FloatType
) -> None:
    memory = Memory(np.zeros(257, np.uint64))
    bound(on_cpu).fill_floats(memory, 5, float_type)
    numbers = FLOAT_TYPES[float_type].decode(memory.array)
    assert numbers.min() >= 1
    assert numbers.max() < 2
    assert abs(numbers.mean() - 1.5) < 0.1
    assert memory.is_guarded()


def rounded(values: npt.NDArray[np.float64], float_type: FloatType) -> npt.NDArray[np.float64]:
    """Round to the nearest number of a type, to even where two are as near."""
    fraction, exponent = np.frexp(values)
    step = 2.0 ** (FLOAT_TYPES[float_type].mantissa_bits + 1)
    return np.asarray(np.ldexp(np.rint(fraction * step) / step, exponent))


@pytest.mark.parametrize("num_rounds", [0, 1, 5, 16, 37])
@pytest.mark.parametrize("float_type", list(FLOAT_TYPES))
@GRIDS
def test_intensity_of_any_rounds_equals_numpy(
    on_cpu: Callable[[str], OnCpu],
    num_blocks: int,
    num_threads: int,
    float_type: FloatType,
    num_rounds: int,
) -> None:
    layout = FLOAT_TYPES[float_type]
    words = pattern_words(2, 0, 2 * 4 * 11)
    words = words & np.uint64(layout.mantissa_word) | np.uint64(layout.one_word)
    data = Memory(words)
    scale, shift = -0.625, 2.5
    on_cpu("intensity").launch(
        f"intensity_{float_type}", (num_blocks,), num_threads,
        np.uint64(data.pointer), layout.argument(scale), layout.argument(shift),
        np.uint32(num_rounds), np.uint64(4 * 11),
    )  # fmt: skip
    expected = layout.decode(words)
    for _ in range(num_rounds):
        expected = rounded(expected * scale + shift, float_type)
    tolerance = 0.0 if float_type != "fp64" else 1e-15  # numpy rounds float64 twice
    np.testing.assert_allclose(layout.decode(data.array), expected, rtol=tolerance)
    assert data.is_guarded()


@pytest.mark.parametrize("float_type", list(FLOAT_TYPES))
def test_intensity_through_its_binding_is_exact_and_undone_by_the_next_round(
    on_cpu: Callable[[str], OnCpu], float_type: FloatType
) -> None:
    kernels = bound(on_cpu)
    data = Memory(np.zeros(8 * 37, np.uint64))
    kernels.fill_floats(data, 1, float_type)
    before = FLOAT_TYPES[float_type].decode(data.array)
    kernels.intensity(data, float_type, 17)
    np.testing.assert_array_equal(FLOAT_TYPES[float_type].decode(data.array), 3 - before)
    kernels.intensity(data, float_type, 1)
    np.testing.assert_array_equal(FLOAT_TYPES[float_type].decode(data.array), before)


@pytest.mark.parametrize("access_bytes", ACCESS_BYTES)
@pytest.mark.parametrize("num_accesses", [1, 5, 33])
def test_zero_copy_write_then_read_touches_each_access_and_nothing_between(
    on_cpu: Callable[[str], OnCpu], access_bytes: int, num_accesses: int
) -> None:
    kernels = bound(on_cpu)
    stride_bytes = 640
    before = pattern_words(1, 0, (num_accesses * stride_bytes) // 8)
    memory = Memory(before)
    kernels.zero_copy_write(memory, 7, access_bytes, stride_bytes, num_accesses)
    expected = before.reshape(num_accesses, -1).copy()
    everything = paired_words(7, 0, memory.num_bytes // 16).reshape(num_accesses, -1)
    num_words = access_bytes // 8
    expected[:, :num_words] = everything[:, :num_words]
    np.testing.assert_array_equal(memory.array.reshape(num_accesses, -1), expected)

    num_sums = kernels.num_zero_copy_sums(num_accesses, access_bytes)
    sums = Memory(np.zeros(num_sums, np.uint64))
    kernels.zero_copy_read(memory, sums, access_bytes, stride_bytes, num_accesses)
    assert np.bitwise_xor.reduce(sums.array) == np.bitwise_xor.reduce(
        expected[:, :num_words], axis=None
    )
    assert memory.is_guarded()
    assert sums.is_guarded()


@pytest.mark.parametrize(("num_rows", "num_columns"), [(1, 4), (7, 36), (64, 4 * 300)])
def test_gemv_parts_add_up_to_the_product(
    on_cpu: Callable[..., OnCpu], num_rows: int, num_columns: int
) -> None:
    rng = np.random.default_rng(1)
    weights = rng.random((num_rows, num_columns), dtype=np.float32)
    vector = rng.random(num_rows, dtype=np.float32)
    kernels = bound(on_cpu)
    matrix, factors = Memory(weights), Memory(vector)
    num_parts = kernels.num_gemv_parts(matrix, factors)
    partial = Memory(np.full((num_parts, num_columns), np.nan, dtype=np.float32))
    kernels.gemv(matrix, factors, partial)
    found = partial.array.reshape(num_parts, num_columns).sum(axis=0)
    np.testing.assert_allclose(found, vector @ weights, rtol=1e-5)
