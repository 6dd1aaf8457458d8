"""KV swaps between a GPU and the host, on the simulated runtime."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from tests.cuda.boxes import Box, context
from topoprobe.measure.devices.cuda import batch, loads
from topoprobe.microbench import cuda_kv_swap, gpu_sizes
from topoprobe.microbench.cuda_kv_swap import CudaKvSwapBenchmark
from topoprobe.records.base import Status

MakeBox = Callable[..., Box]
KIB = 1 << 10


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_sizes, "_MIN_BYTES", 256 * KIB)
    monkeypatch.setattr(cuda_kv_swap, "_BLOCK_BYTES", {"quick": (4 * KIB,)})
    monkeypatch.setattr(cuda_kv_swap, "_ALL_BLOCK_BYTES", (4 * KIB, 16 * KIB))
    monkeypatch.setattr(cuda_kv_swap, "_MAX_SWAP_BYTES", 32 * KIB)
    monkeypatch.setattr(loads, "_GEMV_COLUMNS", 64)


@pytest.fixture
def batched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the driver copy batches; tells how many copies each had."""
    import tests.cuda.conftest as simulated

    sizes: list[int] = []

    def copy(targets: Any, sources: Any, each: Any, count: Any, *rest: Any) -> int:
        sizes.append(count.value)
        stream = simulated.STREAMS[rest[-1].value]
        where = [
            (ctypes.c_uint64 * count.value).from_address(array.value)[:]
            for array in (targets, sources, each)
        ]
        for target, source, num_bytes in zip(*where, strict=True):
            stream.put(lambda t=target, s=source, n=num_bytes: ctypes.memmove(t, s, n))
        return 0

    monkeypatch.setattr(batch, "_function", lambda: copy)
    return sizes


def series_of(outcome: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for one in outcome.series:
        found.setdefault(one.name, []).append(one)
    return found


def run(make_box: MakeBox, suite: str = "quick") -> dict[str, list[Any]]:
    return series_of(CudaKvSwapBenchmark().run(make_box("1 gpu(h100)").machine, context(suite)))


def test_swaps_are_measured_each_way_and_layout_by_every_variant(make_box: MakeBox) -> None:
    found = run(make_box, "full")
    assert set(found) == {"swap.out", "swap.in", "swap.both", "swap.decode"}
    for way in ("out", "in", "both"):
        idle = [one for one in found[f"swap.{way}"] if one.factors["load"] == "idle"]
        assert {one.factors["block_bytes"] for one in idle} == {4 * KIB, 16 * KIB}
        told = {(one.factors["layout"], one.factors["variant"]): one for one in idle}
        assert set(told) == {
            (layout, variant)
            for layout in ("contiguous", "scattered")
            for variant in ("copies", "batch", "merged", "staged", "kernel")
            if (layout, variant) != ("scattered", "merged")
        }
        for (_, variant), one in told.items():
            if variant == "batch":
                assert one.status is Status.SKIPPED
                assert "CUDA 12.8" in one.reason
            else:
                assert one.samples, one.reason
        beside = [one for one in found[f"swap.{way}"] if one.factors["load"] == "beside_compute"]
        assert len(beside) == 2 * 7
    decode = {one.factors["load"] for one in found["swap.decode"]}
    assert decode == {"alone", "beside_swap"}


def test_quick_swaps_beside_the_load_are_those_of_the_fastest_variant(make_box: MakeBox) -> None:
    found = run(make_box)
    beside = [one for one in found["swap.out"] if one.factors["load"] == "beside_compute"]
    assert {one.factors["layout"] for one in beside} == {"contiguous", "scattered"}
    assert len(beside) == 2
    assert len([one for one in found["swap.decode"] if one.factors["load"] == "beside_swap"]) == 6


def test_batches_are_copied_where_the_driver_has_them(
    make_box: MakeBox, batched: list[int]
) -> None:
    found = run(make_box)
    told = [one for one in found["swap.in"] if one.factors["variant"] == "batch"]
    assert all(one.samples for one in told)
    assert set(batched) == {8}  # 32 KiB in blocks of 4


def test_swap_that_loses_blocks_fails_with_the_block(
    make_box: MakeBox, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make_box("1 gpu(h100)").machine
    real = fake_cupy.cuda.runtime.memcpyAsync

    def lossy(target: int, source: int, num_bytes: int, kind: int, stream: int) -> None:
        real(target, source, num_bytes - 8, kind, stream)

    monkeypatch.setattr(fake_cupy.cuda.runtime, "memcpyAsync", lossy)
    found = series_of(CudaKvSwapBenchmark().run(machine, context()))
    by_variant = {
        one.factors["variant"]: one for one in found["swap.out"] if one.factors["load"] == "idle"
    }
    assert by_variant["copies"].status is Status.FAILED
    assert "did not arrive" in by_variant["copies"].reason
    assert by_variant["kernel"].samples


def test_load_that_ends_before_the_swap_is_prolonged(
    make_box: MakeBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_kv_swap, "_MAX_LAUNCHES", 8)
    monkeypatch.setattr(
        cuda_kv_swap._Load, "trace", lambda self: cuda_kv_swap.Trace(0.0, (0.0,), 1.0)
    )
    found = run(make_box)
    beside = [one for one in found["swap.out"] if one.factors["load"] == "beside_compute"]
    assert {one.status for one in beside} == {Status.FAILED}
    assert "ended before the swap" in beside[0].reason
