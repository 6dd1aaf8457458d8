"""CPU kernels against numpy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from topoprobe.measure.devices.cpu import plain_loops, vector_loops
from topoprobe.measure.devices.cpu.buffer import CpuBuffer, fill_floats
from topoprobe.measure.devices.cpu.device import CpuDevice, available_cpus
from topoprobe.measure.devices.cpu.gemm import gemm_variants
from topoprobe.measure.devices.cpu.jit import widest_vector_bytes
from topoprobe.measure.devices.cpu.libraries import library_threads
from topoprobe.measure.devices.cpu.ring import SLOTS_PER_LINE, fill_ring
from topoprobe.measure.devices.cpu.stream import (
    ARRAYS_MOVED,
    SCALAR,
    StreamVariant,
    expected,
    stream_variants,
)
from topoprobe.measure.devices.cpu.team import Team


def floats(num_bytes: int, dtype: str, seed: int) -> NDArray[Any]:
    array = CpuBuffer(num_bytes, "host:0").view(dtype)
    fill_floats(array, seed)
    return array


@pytest.mark.parametrize(
    ("variant", "kernel"),
    [
        pytest.param(variant, kernel, id=f"{variant.name}-{kernel}")
        for variant in stream_variants()
        for kernel in ARRAYS_MOVED
        if variant.missing is not None or kernel in variant.kernels
    ],
)
def test_stream_variant_writes_what_numpy_computes(variant: StreamVariant, kernel: str) -> None:
    if variant.missing is not None:
        pytest.skip(variant.missing)
    out, x, y = (floats(1 << 16, "float64", seed) for seed in range(3))
    variant.kernels[kernel](out, x, y, SCALAR)
    if kernel == "read":
        assert out[0] == pytest.approx(x.sum(), rel=1e-12)
    else:
        np.testing.assert_allclose(out, expected(kernel, x, y, SCALAR), rtol=1e-15)


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_update_odd_rounds_give_three_minus_x_exactly(width: int, dtype: str) -> None:
    array = floats(1 << 16, dtype, seed=4)
    before = array.copy()
    kind = array.dtype.type
    getattr(vector_loops, f"update_{width}")(array, kind(-1.0), kind(3.0), 5)
    np.testing.assert_array_equal(array, kind(3.0) - before)


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_multiply_add_sums_all_lanes(width: int, dtype: str) -> None:
    start = floats(1 << 12, dtype, seed=5)
    kind = start.dtype.type
    num_lanes = vector_loops.NUM_CHAINS * width // start.itemsize
    total = getattr(vector_loops, f"multiply_add_{width}")(start, kind(0.5), kind(0.25), 3)
    wanted = start[:num_lanes].astype(np.float64)
    for _ in range(3):
        wanted = wanted * 0.5 + 0.25
    assert total == pytest.approx(wanted.sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("mix", "wanted"),
    [
        (0, lambda out, x, y: out),
        (1, lambda out, x, y: x + 0.4 * y),
        (2, lambda out, x, y: x),
        (3, lambda out, x, y: np.full_like(x, 0.4)),
    ],
    ids=["reads", "2:1", "1:1", "writes"],
)
def test_paced_mix_goes_through_every_block(mix: int, wanted: Callable[..., NDArray[Any]]) -> None:
    out, x, y = (floats(1 << 16, "float64", seed) for seed in range(3))
    before = out.copy()
    total = vector_loops.paced(mix, out, x, y, 1024, 0)
    np.testing.assert_allclose(out, wanted(before, x, y), rtol=1e-15)
    if mix == 0:
        assert total == pytest.approx(x.sum() + 1.0, rel=1e-12)


def test_widest_vector_is_a_register_width() -> None:
    assert widest_vector_bytes() in (16, 32, 64)


def test_ring_is_one_cycle_over_every_line() -> None:
    num_lines = 1000
    ring = np.zeros(num_lines * SLOTS_PER_LINE, dtype=np.uint64)
    fill_ring(ring, seed=3)
    seen, slot = [], 0
    for _ in range(num_lines):
        seen.append(slot)
        slot = int(ring[slot])
    assert slot == 0
    assert sorted(seen) == list(range(0, num_lines * SLOTS_PER_LINE, SLOTS_PER_LINE))


def test_chase_ends_where_the_ring_leads() -> None:
    ring = np.zeros(64 * SLOTS_PER_LINE, dtype=np.uint64)
    fill_ring(ring, seed=3)
    slot = 0
    for _ in range(37):
        slot = int(ring[slot])
    assert plain_loops.chase(ring, 0, 37) == slot


@pytest.mark.parametrize("variant", gemm_variants(), ids=lambda variant: variant.name)
def test_gemm_variant_multiplies(variant: Any) -> None:
    if variant.multiply is None:
        pytest.skip(variant.missing)
    x, y = (floats(1 << 12, "float32", seed).reshape(32, 32) for seed in range(2))
    out = np.zeros((32, 32), dtype=np.float32)
    variant.multiply(out, x, y)
    np.testing.assert_allclose(out, x.astype(np.float64) @ y, rtol=1e-6)


def test_library_threads_are_restored() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    with library_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("num_threads", [1, 2, 3, 7])
def test_team_slices_cover_the_array_at_page_borders(num_threads: int) -> None:
    cpu = available_cpus()[0]
    with Team(CpuDevice((cpu,) * num_threads), num_threads) as team:
        array = np.arange(10 * 512)
        parts = team.slices(array)
        np.testing.assert_array_equal(np.concatenate(parts), array)
        assert len(parts) == num_threads
        assert all(part.size % 512 == 0 for part in parts)


def test_team_run_of_several_passes_gives_the_time_of_one() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        done.append(number)
        time.sleep(0.01)

    with Team(CpuDevice(available_cpus()), 1) as team:
        began_s = time.monotonic()
        pass_s = team.run(work, [(4,)], 3)
        elapsed_s = time.monotonic() - began_s
    assert done == [4, 4, 4]
    assert 0.01 <= pass_s <= elapsed_s / 3


def test_team_passes_outweigh_the_starting_of_all_threads() -> None:
    cpu = available_cpus()[0]
    with Team(CpuDevice((cpu,)), 1) as team:
        assert [team.passes_for(pass_s) for pass_s in (0.001, 0.02, 0.1)] == [25, 2, 1]
    with Team(CpuDevice((cpu,) * 20), 20) as team:
        assert team.passes_for(0.001) == 60


def test_team_run_raises_what_a_kernel_raises() -> None:
    def fail(number: int) -> None:
        raise ValueError(f"kernel {number} failed")

    with (
        Team(CpuDevice(available_cpus()), 1) as team,
        pytest.raises(ValueError, match="kernel 3 failed"),
    ):
        team.run(fail, [(3,)])
