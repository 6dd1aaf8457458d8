from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Budget, Context, Outcome
from topoprobe.measure.devices.cpu.blocks import MoveVariant, move_variants
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.microbench import kv_swap
from topoprobe.microbench.kv_swap import BlockTables, KvSwapBenchmark
from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import Host, MachineDocument
from topoprobe.records.results import Series

MACHINE = MachineDocument(
    tool=Tool(tool_version="0"),
    origin="synthetic",
    sources=(),
    nodes=(Host(id="host", name="test"),),
)


def run(cpus: tuple[int, ...], tmp_path: Any) -> Outcome:
    context = Context(
        budget=Budget("quick", num_samples=3, max_series_s=0.05, memory_bytes=96 << 20),
        clock=time.monotonic,
        conditions=lambda: None,
        cpus=cpus,
        scratch=str(tmp_path),
    )
    return KvSwapBenchmark().run(MACHINE, context)


@pytest.fixture
def two_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_swap, "_BLOCK_BYTES", {"quick": (16 << 10, 1 << 20)})


def key(series: Series) -> tuple[Any, ...]:
    factors = series.factors
    return (series.name, factors["layout"], factors["block_bytes"], factors["load"])


@pytest.mark.usefixtures("two_sizes")
def test_swap_of_every_case_has_all_variants_idle_and_one_beside_compute(tmp_path: Any) -> None:
    cpus = available_cpus()
    if len(cpus) < 2:
        pytest.skip("a load beside the swap needs a second CPU")
    series = run(cpus[:2], tmp_path).series
    cases = {
        (f"swap.{direction}", layout, block_bytes)
        for direction in ("out", "in")
        for layout in ("contiguous", "scattered")
        for block_bytes in (16 << 10, 1 << 20)
    }
    variants = {variant.name for variant in move_variants()}
    for case in cases:
        idle = [one for one in series if key(one) == (*case, "idle")]
        assert {one.factors["variant"] for one in idle} == variants
        (loaded,) = [one for one in series if key(one) == (*case, "beside_compute")]
        assert loaded.samples
        assert loaded.factors["variant"] in variants
    assert {one.status for one in series} <= {Status.OK, Status.UNSTABLE}
    for one in series:
        assert one.factors["device"] == "host"
        assert one.unit == "bytes_per_s"
        assert one.factors["num_blocks"] * one.factors["block_bytes"] == 8 << 20


@pytest.mark.usefixtures("two_sizes")
def test_swap_on_one_cpu_skips_the_loaded_case_with_the_reason(tmp_path: Any) -> None:
    series = run(available_cpus()[:1], tmp_path).series
    loaded = [one for one in series if one.factors["load"] == "beside_compute"]
    assert len(loaded) == 8
    assert {one.status for one in loaded} == {Status.SKIPPED}
    assert "one CPU" in (loaded[0].reason or "")


@pytest.mark.usefixtures("two_sizes")
def test_swap_by_a_variant_that_drops_a_block_fails_that_variant_only(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(
        target: Any, source: Any, target_blocks: Any, source_blocks: Any, staging: Any
    ) -> None:
        target[target_blocks[1:]] = source[source_blocks[1:]]

    real = move_variants()
    monkeypatch.setattr(
        kv_swap, "move_variants", lambda: (MoveVariant("forgetful", forgetful), *real)
    )
    series = run(available_cpus()[:1], tmp_path).series
    bad = [one for one in series if one.factors["variant"] == "forgetful"]
    assert len(bad) == 8
    assert {one.status for one in bad} == {Status.FAILED}
    assert "did not arrive" in (bad[0].reason or "")
    others = [one for one in series if one.factors["variant"] == "numpy"]
    assert all(one.samples for one in others)


def test_swap_without_a_working_variant_fails(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kv_swap, "move_variants", lambda: (MoveVariant("none", None, "gone"),))
    with pytest.raises(MeasurementFailed, match="No variant could swap out contiguous"):
        run(available_cpus()[:1], tmp_path)


@pytest.mark.parametrize("variant", [one.name for one in move_variants()])
def test_variant_moves_the_blocks_of_its_tables_and_no_others(variant: str) -> None:
    (move,) = [one.move for one in move_variants() if one.name == variant]
    if move is None:
        pytest.skip(f"the package for the variant {variant} is not installed")
    rng = np.random.default_rng(1)
    memory = np.zeros((3, 8 * 1024 + 8))
    source, target, staging = (
        row[-row.ctypes.data % 64 // 8 :][: 8 * 1024].reshape(8, 1024) for row in memory
    )
    source[:] = rng.random(source.shape)
    target_blocks, source_blocks = np.array([6, 0, 3]), np.array([1, 7, 2])
    move(target, source, target_blocks, source_blocks, staging[:3])
    np.testing.assert_array_equal(target[target_blocks], source[source_blocks])
    assert not target[[1, 2, 4, 5, 7]].any()


def test_tables_of_scattered_blocks_walk_through_the_whole_pool() -> None:
    tables = BlockTables(num_blocks=20, num_entries=4, seed=1)
    taken = [tables.take("scattered") for _ in range(5)]
    for side in range(2):
        blocks = np.concatenate([pair[side] for pair in taken])
        assert sorted(blocks.tolist()) == list(range(20))
        assert not np.array_equal(blocks, np.arange(20))


def test_tables_of_contiguous_blocks_are_runs_in_both_pools() -> None:
    tables = BlockTables(num_blocks=20, num_entries=4, seed=1)
    starts = set()
    for _ in range(5):
        for blocks in tables.take("contiguous"):
            assert (np.diff(blocks) == 1).all()
            starts.add(int(blocks[0]))
    assert starts == {0, 4, 8, 12, 16}
