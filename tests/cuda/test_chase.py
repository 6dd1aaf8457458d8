"""The pointer chases: their rings, and the kernels of latency.cu on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.cuda.support import Memory, bound
from topoprobe.errors import MeasurementFailed, UsageError
from topoprobe.measure.devices.cuda.chase import (
    BOARD_BYTES,
    OUT_BYTES,
    Chase,
    LoadedChase,
    ring_words,
)
from topoprobe.measure.devices.cuda.pattern import pattern_words

LOAD_BYTES = 20 * 16384
KIB = 1 << 10


def walk(ring: np.ndarray, first_word: int, num_hops: int) -> int:
    word = first_word
    for _ in range(num_hops):
        word = int(ring[word])
    return word


@pytest.mark.parametrize(("num_bytes", "stop_bytes"), [(128, 128), (37 * 128, 128), (400, 4)])
def test_ring_visits_every_stop_once_before_it_closes(num_bytes: int, stop_bytes: int) -> None:
    ring = ring_words(num_bytes, 1, stop_bytes)
    visited, word = set(), 0
    while word not in visited:
        visited.add(word)
        word = int(ring[word])
    assert word == 0
    assert visited == set(range(0, num_bytes // 4, stop_bytes // 4))


def test_ring_of_another_seed_has_another_order() -> None:
    assert (ring_words(64 * KIB, 1) != ring_words(64 * KIB, 2)).any()


@pytest.mark.parametrize(("num_bytes", "stop_bytes"), [(100, 128), (0, 128), (12, 6), (128, 0)])
def test_ring_of_sizes_that_do_not_fit_refuses_them(num_bytes: int, stop_bytes: int) -> None:
    with pytest.raises(UsageError, match="expected a multiple"):
        ring_words(num_bytes, 1, stop_bytes)


def test_ring_beyond_its_indices_is_refused() -> None:
    with pytest.raises(UsageError, match="16 GiB"):
        ring_words((16 << 30) + 128, 1)


@pytest.mark.parametrize("num_hops", [1, 5, 64, 131])
def test_chase_takes_every_hop_warm_and_timed(on_cpu: Callable[..., Any], num_hops: int) -> None:
    ring, out = Memory(ring_words(32 * 128, 1)), Memory(np.zeros(OUT_BYTES // 8, np.uint64))
    bound(on_cpu).chase(ring, out, num_hops, num_warm_hops=7, first_word=64)
    chase = Chase.of(out.array, num_hops)
    assert chase.last_word == walk(ring.array, 64, 7 + num_hops)
    assert chase.cycles_per_hop >= 0
    assert chase.s_per_hop >= 0
    assert ring.is_guarded()
    assert out.is_guarded()


def test_chase_of_given_counts_divides_by_the_timed_hops() -> None:
    words = np.array([4000, 2500, 96], dtype=np.uint64)
    assert Chase.of(words, 10) == Chase(400.0, pytest.approx(2.5e-7), 96)


@pytest.mark.parametrize("write_sixteenths", [0, 3, 8, 16])
def test_loaded_chase_streams_chunks_in_the_mix_asked_for(
    on_cpu: Callable[..., Any], write_sixteenths: int
) -> None:
    """One after the other, each of 15 blocks of 256 threads streams one chunk."""
    words = pattern_words(9, 0, LOAD_BYTES // 8)
    ring, load = Memory(ring_words(64 * 128, 1)), Memory(words)
    board = Memory(np.full(BOARD_BYTES // 8, 77, np.uint64))  # the kernel clears it
    bound(on_cpu).loaded_chase(ring, load, board, 50, 10, write_sixteenths, 1e-9)
    measured = LoadedChase.of(board.array, 50)
    assert measured.chase.last_word == walk(ring.array, 0, 60)
    assert measured.read_bytes + measured.written_bytes == 15 * 16384

    # Whole warps write: word w of the chunk, by thread t, is of (chunk, t), then its complement.
    chunks = load.array[: 15 * 2048].reshape(15, 4, 256, 2)
    before = words[: 15 * 2048].reshape(15, 4, 256, 2)
    written = np.stack([pattern_words(chunk, 0, 256) for chunk in range(15)])[:, None, :]
    writes = np.array(
        [
            [(block + 1 + thread // 32) % 16 + write_sixteenths >= 16 for thread in range(256)]
            for block in range(15)
        ]
    )[:, None, :]
    np.testing.assert_array_equal(chunks[..., 0], np.where(writes, written, before[..., 0]))
    np.testing.assert_array_equal(chunks[..., 1], np.where(writes, ~written, before[..., 1]))
    np.testing.assert_array_equal(load.array[15 * 2048 :], words[15 * 2048 :])
    assert measured.written_bytes == 64 * int(writes.sum())
    read = np.where(writes[..., None], np.uint64(0), before)
    assert int(board.array[9]) == int(np.bitwise_xor.reduce(read, axis=None))
    assert load.is_guarded()
    assert board.is_guarded()


def launch_at_once(family: Any, ring: Memory, load: Memory, board: Memory, num_hops: int) -> None:
    family.launch("loaded_chase_reset", (1,), 1, np.uint64(board.pointer))
    family.launch(
        "loaded_chase", (3,), 8,
        np.uint64(ring.pointer), np.uint64(load.pointer), np.uint64(board.pointer),
        np.uint32(0), np.uint32(0), np.uint32(num_hops), np.uint64(load.num_bytes // 16),
        np.uint32(5), np.uint32(0), np.uint64(10_000_000_000),
        at_once=True,
    )  # fmt: skip


def test_streamers_at_once_with_the_chaser_go_on_until_it_has_ended(
    on_cpu: Callable[..., Any],
) -> None:
    num_hops = 50_000_000
    ring, load = Memory(ring_words(64 * 128, 1)), Memory(np.zeros(16 * KIB // 8, np.uint64))
    board = Memory(np.zeros(BOARD_BYTES // 8, np.uint64))
    launch_at_once(on_cpu("latency"), ring, load, board, num_hops)
    measured = LoadedChase.of(board.array, num_hops)
    num_written, num_read = measured.written_bytes // 64, measured.read_bytes // 64
    assert num_written + num_read > 16  # that many threads move 4 vectors of 16 bytes in a round
    assert abs(num_written - 5 / 16 * (num_written + num_read)) <= 16
    assert measured.load_bytes_per_s > 0
    assert load.is_guarded()


def test_streamers_on_the_chasers_multiprocessor_leave_it_at_once(
    on_cpu: Callable[..., Any],
) -> None:
    family = on_cpu("latency")
    ring, load = Memory(ring_words(64 * 128, 1)), Memory(np.zeros(16 * KIB // 8, np.uint64))
    board = Memory(np.zeros(BOARD_BYTES // 8, np.uint64))
    family.library.set_num_sms(1)
    try:
        launch_at_once(family, ring, load, board, 1000)
    finally:
        family.library.set_num_sms(1 << 31)
    with pytest.raises(MeasurementFailed, match="Nothing loaded"):
        LoadedChase.of(board.array, 1000)


def test_streamers_without_a_chaser_give_up(on_cpu: Callable[..., Any]) -> None:
    """A block 0 that never runs is one that is not launched: here block 1 runs alone."""
    latency = on_cpu("latency")
    board = Memory(np.zeros(BOARD_BYTES // 8, np.uint64))
    none = np.uint64(0)
    latency.library.set_first_block(1)
    try:
        latency.launch(
            "loaded_chase", (2,), 4, none, none, np.uint64(board.pointer),
            np.uint32(0), np.uint32(0), np.uint32(1), np.uint64(1024), np.uint32(0), np.uint32(0),
            np.uint64(1_000_000),
        )  # fmt: skip
    finally:
        latency.library.set_first_block(0)
    assert not board.array.any()


def test_loaded_chase_given_impossible_loads_refuses_them(on_cpu: Callable[..., Any]) -> None:
    kernels = bound(on_cpu)
    ring, load = Memory(ring_words(128, 1)), Memory(np.zeros(LOAD_BYTES // 8, np.uint64))
    board = Memory(np.zeros(BOARD_BYTES // 8, np.uint64))
    small = Memory(np.zeros(2, np.uint64))
    with pytest.raises(UsageError, match="17 sixteenths"):
        kernels.loaded_chase(ring, load, board, 1, 0, 17)
    with pytest.raises(UsageError, match=r"pauses of 0\.1 s"):
        kernels.loaded_chase(ring, load, board, 1, 0, 0, 0.1)
    with pytest.raises(UsageError, match="load of loaded_chase needs 245760 bytes"):
        kernels.loaded_chase(ring, small, board, 1, 0)
    with pytest.raises(UsageError, match="loaded_chase needs 80 bytes"):
        kernels.loaded_chase(ring, load, small, 1, 0)
    with pytest.raises(UsageError, match="at least one"):
        kernels.chase(ring, board, 0)
    with pytest.raises(UsageError, match="pointer_chase needs 24 bytes"):
        kernels.chase(ring, small, 1)
    with pytest.raises(UsageError, match="ring of pointer_chase"):
        kernels.chase(ring, board, 1, first_word=32)
