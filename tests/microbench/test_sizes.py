"""How large arrays become."""

from __future__ import annotations

import pytest

from tests.microbench.context import MIB, machine
from topoprobe.measure.benchmark import Budget
from topoprobe.microbench import sizes


def budget(suite: str, memory_bytes: int) -> Budget:
    return Budget(suite, 3, 1.0, memory_bytes)


@pytest.mark.parametrize(
    ("cache", "suite", "memory", "num_bytes", "ratio"),
    [
        (32 * MIB, "quick", 8192 * MIB, 128 * MIB, 4.0),
        (480 * MIB, "quick", 8192 * MIB, 256 * MIB, 256 / 480),
        (480 * MIB, "standard", 8192 * MIB, 512 * MIB, 512 / 480),
        (480 * MIB, "full", 8192 * MIB, 1920 * MIB, 4.0),
        (480 * MIB, "full", 300 * MIB, 100 * MIB, 100 / 480),
        (1 * MIB, "quick", 8192 * MIB, 64 * MIB, 64.0),
        (None, "quick", 8192 * MIB, 64 * MIB, None),
    ],
)
def test_array_size_is_four_caches_within_time_and_memory(
    cache: int | None, suite: str, memory: int, num_bytes: int, ratio: float | None
) -> None:
    found = sizes.array_size(machine(cache), budget(suite, memory), num_arrays=3)
    assert found.num_bytes == num_bytes
    assert found.cache_ratio == (None if ratio is None else pytest.approx(ratio))


def test_array_size_factors_leave_out_an_unknown_ratio() -> None:
    assert sizes.ArraySize(4096, None).factors("ring_bytes") == {"ring_bytes": 4096}


@pytest.mark.parametrize(
    ("num_cpus", "suite", "counts"),
    [(1, "quick", (1,)), (12, "quick", (1, 12)), (12, "standard", (1, 2, 4, 8, 12))],
)
def test_thread_counts_include_one_and_all(
    num_cpus: int, suite: str, counts: tuple[int, ...]
) -> None:
    assert sizes.thread_counts(num_cpus, suite) == counts
