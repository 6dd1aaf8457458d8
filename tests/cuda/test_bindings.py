"""What the bindings refuse, and what a GPU without a kernel says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.cuda.support import NUM_SMS, Memory, names_of
from topoprobe.errors import EnvironmentMissing, UsageError
from topoprobe.measure.devices.cuda import kernels
from topoprobe.measure.devices.cuda.bindings import PRELOAD_BYTES, Kernels

Launch = tuple[str, tuple[int, ...], tuple[int, ...], tuple[Any, ...]]


def memory(num_bytes: int) -> Memory:
    return Memory(np.zeros(num_bytes, dtype=np.uint8))


def recorded(*left_out: str) -> tuple[Kernels, list[Launch]]:
    """Return bindings that note what they would launch."""
    launches: list[Launch] = []

    def function(name: str) -> Any:
        return lambda grid, block, args: launches.append((name, grid, block, args))

    names = [name for family in kernels.FAMILIES for name in names_of(family)]
    functions = {name: function(name) for name in names if name not in left_out}
    return Kernels(functions, NUM_SMS), launches


def test_preload_launches_every_kernel_once() -> None:
    bindings, launches = recorded()
    bindings.preload(memory(PRELOAD_BYTES), 0, 0)
    names = [name for family in kernels.FAMILIES for name in names_of(family)]
    assert [launch[0] for launch in launches] == names
    assert {launch[1:3] for launch in launches} == {((1,), (1,))}


def test_preload_on_a_gpu_without_bf16_leaves_its_kernel_out() -> None:
    bindings, launches = recorded("intensity_bf16")
    bindings.preload(memory(PRELOAD_BYTES), 0, 0)
    assert "intensity_bf16" not in {launch[0] for launch in launches}


def test_intensity_of_a_type_that_the_gpu_lacks_says_so() -> None:
    bindings, _ = recorded("intensity_bf16")
    assert bindings.intensity_types == ("fp32", "fp64", "fp16")
    with pytest.raises(EnvironmentMissing, match="no multiply-add of bf16"):
        bindings.intensity(memory(64), "bf16", 16)


def test_intensity_of_a_size_that_is_no_multiple_of_its_parts_is_refused() -> None:
    bindings, _ = recorded()
    with pytest.raises(UsageError, match="equal multiples of 64"):
        bindings.intensity(memory(96), "fp32", 16)


def test_sm_copy_launches_the_blocks_it_is_given() -> None:
    bindings, launches = recorded()
    bindings.sm_copy(memory(64), memory(64), 48, 3)
    [(name, grid, block, args)] = launches
    assert (name, grid, block, int(args[2])) == ("sm_copy", (3,), (512,), 3)


@pytest.mark.parametrize(("num_bytes", "num_blocks"), [(40, 1), (0, 1), (-16, 1), (16, 0)])
def test_sm_copy_of_impossible_numbers_is_refused(num_bytes: int, num_blocks: int) -> None:
    bindings, _ = recorded()
    with pytest.raises(UsageError, match="a positive multiple of 16"):
        bindings.sm_copy(memory(64), memory(64), num_bytes, num_blocks)


def test_sm_copy_beyond_a_buffer_is_refused() -> None:
    bindings, _ = recorded()
    with pytest.raises(UsageError, match="sm_copy needs 80 bytes and was given 64"):
        bindings.sm_copy(memory(96), memory(64), 80, 1)


def test_flush_with_less_than_the_cache_is_refused() -> None:
    bindings, _ = recorded()
    with pytest.raises(UsageError, match="L2 cache needs 128 bytes and was given 64"):
        bindings.flush_l2(memory(64), 128)


@pytest.mark.parametrize(
    ("access_bytes", "stride_bytes", "num_accesses", "message"),
    [
        (48, 128, 1, "expected 32, 64, 128, 256, 512"),
        (32, 64, 1, "multiple of 128"),
        (32, 0, 1, "multiple of 128"),
        (256, 128, 1, "multiple of 128"),
        (32, 128, 0, "one at least"),
        (32, 128, 9, "needs 1056 bytes and was given 1024"),
    ],
)
def test_zero_copy_of_impossible_accesses_is_refused(
    access_bytes: int, stride_bytes: int, num_accesses: int, message: str
) -> None:
    bindings, launches = recorded()
    with pytest.raises(UsageError, match=message):
        bindings.zero_copy_write(memory(1024), 1, access_bytes, stride_bytes, num_accesses)
    with pytest.raises(UsageError, match=message):
        bindings.zero_copy_read(
            memory(1024), memory(1 << 16), access_bytes, stride_bytes, num_accesses
        )
    assert launches == []


def test_zero_copy_read_with_too_few_sums_is_refused() -> None:
    bindings, _ = recorded()
    with pytest.raises(UsageError, match="zero_copy_read needs 2048 bytes"):
        bindings.zero_copy_read(memory(1024), memory(8), 32, 128, 1)


def test_gather_of_an_empty_table_still_has_a_grid() -> None:
    bindings, launches = recorded()
    bindings.gather_blocks(memory(64), memory(64), memory(0), 64)
    assert launches[0][1] == (1, 1)
