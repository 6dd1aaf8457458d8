"""The benchmarks of several GPUs end to end, on the simulated runtime: nothing is timed."""

from __future__ import annotations

import ctypes
import dataclasses
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.cuda.boxes import KIB, TWO_GPUS, Box, context, made_up_traces
from topoprobe.errors import EnvironmentMissing, MeasurementFailed
from topoprobe.measure.benchmark import GpuChoice, Interrupted, Outcome, RunsSets
from topoprobe.measure.window import rates_per_s
from topoprobe.microbench import (
    cuda_cascade,
    cuda_collectives,
    cuda_contention,
    cuda_far_memory,
    cuda_joining,
    cuda_patterns,
    cuda_peers,
    cuda_soak,
    cuda_subsets,
    cuda_transactions,
)
from topoprobe.records.base import Status

THREE_GPUS = "[socket: numa(1gib): 2 gpu(h100)], socket: numa(1gib): gpu(h100)"
MakeBox = Callable[..., Box]
BENCHMARKS = (
    cuda_contention.CudaContentionBenchmark(),
    cuda_subsets.CudaSubsetsBenchmark(),
    cuda_peers.CudaPeersBenchmark(),
    cuda_patterns.CudaPatternsBenchmark(),
    cuda_far_memory.CudaFarMemoryBenchmark(),
    cuda_transactions.CudaTransactionsBenchmark(),
    cuda_joining.CudaJoiningBenchmark(),
)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_subsets, "_NUM_SETS", {"quick": 2})
    monkeypatch.setattr(cuda_joining, "_CHUNK_BYTES", 16 * KIB)
    monkeypatch.setattr(cuda_collectives, "_SIZES_BYTES", (16 * KIB,))
    monkeypatch.setattr(cuda_collectives, "_STORE_BYTES", 64 * KIB)
    monkeypatch.setattr(cuda_collectives, "run_together", made_up_rates)
    monkeypatch.setattr(cuda_soak, "_HOST_BYTES", 64 * KIB)


def made_up_rates(flows: Any, duration_s: float, **clocks: object) -> tuple[float, ...]:
    return rates_per_s(made_up_traces(flows, duration_s))


def sets_of(outcome: Outcome) -> dict[str, list[Any]]:
    """Return the shared series by set, in the order of its flows."""
    found: dict[str, list[Any]] = {}
    for one in outcome.series:
        if one.name == "contention.shared":
            found.setdefault(str(one.factors["set"]), []).append(one)
    for members in found.values():
        assert [one.factors["index"] for one in members] == list(range(len(members)))
    return found


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda one: one.name)
def test_benchmark_gives_every_flow_alone_and_together(make_box: MakeBox, benchmark: Any) -> None:
    box = make_box(THREE_GPUS)
    assert benchmark.missing(box.machine) is None
    outcome = benchmark.run(box.machine, context())
    assert outcome.status is Status.OK
    solo = {one.factors["flow"] for one in outcome.series if one.name == "contention.solo"}
    sets = sets_of(outcome)
    assert len(sets) >= 2
    for members in sets.values():
        assert len(members) > 1
        assert {one.factors["flow"] for one in members} <= solo
        for one in members:
            assert one.unit == "bytes_per_s"
            assert one.status in (Status.OK, Status.UNSTABLE), one.reason
            assert all(sample.value > 0.0 for sample in one.samples)
            assert one.factors["run_by"] in box.gpus


def test_eight_gpus_are_measured_without_256_subsets(make_box: MakeBox) -> None:
    box = make_box("8x4090")
    outcome = cuda_subsets.CudaSubsetsBenchmark().run(box.machine, context())
    sets = sets_of(outcome)
    assert len(sets) == 2 * 3
    assert max(len(members) for members in sets.values()) == 8
    assert {one.status for members in sets.values() for one in members} <= {
        Status.OK,
        Status.UNSTABLE,
    }


def test_eight_gpus_exchange_in_every_pattern(make_box: MakeBox) -> None:
    box = make_box("hgx-h100")
    outcome = cuda_patterns.CudaPatternsBenchmark().run(box.machine, context())
    assert sorted(len(members) for members in sets_of(outcome).values()) == [7, 7, 8, 8]
    assert {one.factors.get("peer_access") for one in outcome.series} == {"direct"}


def test_peers_without_access_are_staged_or_skipped(make_box: MakeBox) -> None:
    box = make_box(can_reach=lambda one, other: False)
    by_engine, by_kernel = sets_of(
        cuda_peers.CudaPeersBenchmark().run(box.machine, context())
    ).values()
    assert {one.factors["peer_access"] for one in by_engine} == {"staged"}
    assert {one.status for one in by_kernel} == {Status.SKIPPED}
    assert "no peer access" in by_kernel[0].reason


def test_peers_on_a_link_that_loses_bytes_fail_and_others_go_on(
    make_box: MakeBox, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = make_box("8x4090")
    real = fake_cupy.cuda.runtime.memcpyAsync
    losses = iter([1024])

    def lossy(target: int, source: int, num_bytes: int, *rest: Any) -> None:
        real(target, source, num_bytes - next(losses, 0), *rest)

    monkeypatch.setattr(fake_cupy.cuda.runtime, "memcpyAsync", lossy)
    outcome = cuda_peers.CudaPeersBenchmark().run(box.machine, context())
    failed = [one for one in outcome.series if one.status is Status.FAILED]
    assert outcome.status is Status.OK
    assert len({one.factors["device"] for one in failed}) == 1
    assert all("1.00 KiB were never written" in (one.reason or "") for one in failed)
    assert any(one.samples for one in outcome.series)


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda one: one.name)
def test_benchmark_plans_what_it_runs(make_box: MakeBox, benchmark: Any) -> None:
    box = make_box(THREE_GPUS)
    assert isinstance(benchmark, RunsSets)
    planned = benchmark.plan(box.machine, context().budget, GpuChoice()).sets
    ran = benchmark.run(box.machine, context()).series
    sets = {one.factors["set"] for one in ran if one.name == "contention.shared"}
    num_alone = sum(one.name == "contention.solo" for one in ran)
    assert sets <= {one.flows for one in planned}
    assert len(planned) == len(sets) + num_alone
    assert all(one.missing is None and one.seconds > 0.0 for one in planned)


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda one: one.name)
def test_benchmark_plans_for_the_chosen_gpus_alone(make_box: MakeBox, benchmark: Any) -> None:
    box = make_box(THREE_GPUS)
    two = GpuChoice((0, 1))
    limited = dataclasses.replace(context(), gpus=two)
    if benchmark.name == "cuda.patterns":  # it takes three
        with pytest.raises(EnvironmentMissing, match="that were chosen: it takes 3 GPUs"):
            benchmark.plan(box.machine, limited.budget, two)
        return
    planned = benchmark.plan(box.machine, limited.budget, two).sets
    assert planned
    assert not any(box.gpus[2] in one.flows or one.missing for one in planned)
    ran = benchmark.run(box.machine, limited).series
    sets = {one.factors["set"] for one in ran if one.name == "contention.shared"}
    assert {one.flows for one in planned} >= sets > set()


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda one: one.name)
def test_benchmark_leaves_busy_gpus_alone(make_box: MakeBox, benchmark: Any) -> None:
    box = make_box(THREE_GPUS, busy=(0, 1, 2))
    outcome = benchmark.run(box.machine, context())
    assert outcome.status is Status.SKIPPED
    assert "in use by process 4242" in (outcome.reason or "")
    assert {one.status for one in outcome.series} == {Status.SKIPPED}


@pytest.mark.parametrize("benchmark", BENCHMARKS[1:4], ids=lambda one: one.name)
def test_benchmark_of_several_gpus_on_one_says_so(make_box: MakeBox, benchmark: Any) -> None:
    box = make_box("gpu(h100)")
    reason = benchmark.missing(box.machine) or ""
    assert re.fullmatch("it takes [23] GPUs, and this machine has 1", reason)


def test_far_memory_on_one_node_says_so(make_box: MakeBox) -> None:
    box = make_box("2 gpu(h100)")
    reason = cuda_far_memory.CudaFarMemoryBenchmark().missing(box.machine)
    assert reason == "all host memory of this machine is one NUMA node"


def test_cascade_is_measured_where_there_is_one(make_box: MakeBox) -> None:
    benchmark = cuda_cascade.CudaCascadeBenchmark()
    assert "a second switch" in (benchmark.missing(make_box().machine) or "")
    box = make_box("root: switch: gpu(v100), [switch: 2 gpu(v100)]")
    assert benchmark.missing(box.machine) is None
    sets = sets_of(benchmark.run(box.machine, context()))
    assert [len(members) for members in sets.values()] == [3, 3]


def test_joining_tells_how_the_first_copy_makes_room(make_box: MakeBox) -> None:
    outcome = cuda_joining.CudaJoiningBenchmark().run(make_box().machine, context())
    told = [one for one in outcome.series if one.name == "contention.convergence"]
    assert len(told) == 2  # of the first copy, in both directions
    assert {one.unit for one in told} == {"s"}


def test_soak_is_for_the_full_suite(make_box: MakeBox) -> None:
    outcome = cuda_soak.CudaSoakBenchmark().run(make_box().machine, context())
    assert (outcome.status, outcome.series) == (Status.SKIPPED, ())
    assert "full suite" in (outcome.reason or "")


def test_soak_follows_the_load_of_every_gpu(
    make_box: MakeBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_soak, "_SOAK_S", 4.0)  # four samples of a second each
    box = make_box(busy=(1,))
    outcome = cuda_soak.CudaSoakBenchmark().run(box.machine, context("full"))
    ran = [one for one in outcome.series if one.samples]
    assert {one.name for one in outcome.series} == {"soak.rate"}
    assert len(ran) == len(outcome.series) - len(ran) == 3
    assert all(len(one.samples) > 1 for one in ran)
    assert ran[0].samples[0].conditions is not None


def test_soak_that_is_stopped_keeps_what_it_has(make_box: MakeBox) -> None:
    kept: list[Any] = []
    stops = iter([False, False])
    stopping = dataclasses.replace(
        context("full"), keep=kept.append, should_stop=lambda: next(stops, True)
    )
    with pytest.raises(Interrupted):
        cuda_soak.CudaSoakBenchmark().run(make_box().machine, stopping)
    assert {len(one.samples) for one in kept} == {2}


class FakeNccl:
    """Ranks of one process, whose all-reduces run on the stream of the first."""

    available = True
    NCCL_UINT64, NCCL_MAX = 5, 2
    NcclError = type("NcclError", (RuntimeError,), {})

    def __init__(self, streams: dict[int, Any], is_wrong: bool = False) -> None:
        self.streams = streams
        self.is_wrong = is_wrong
        self.calls: list[tuple[int, ...]] = []
        self.num_destroyed = 0
        self.NcclCommunicator = types.SimpleNamespace(initAll=self._join)

    def _join(self, ordinals: list[int]) -> list[Any]:
        def reduce(*arguments: int) -> None:
            self.calls.append(arguments)

        return [types.SimpleNamespace(allReduce=reduce, destroy=self._destroy) for _ in ordinals]

    def _destroy(self) -> None:
        self.num_destroyed += 1

    def groupStart(self) -> None:
        assert self.calls == []

    def groupEnd(self) -> None:
        calls, self.calls = self.calls, []

        def run() -> None:
            words = [_words(source, count) for source, _, count, *_ in calls]
            for _, result, count, kind, operation, _ in calls:
                assert (kind, operation) == (self.NCCL_UINT64, self.NCCL_MAX)
                _words(result, count)[:] = np.maximum.reduce(words) - int(self.is_wrong)

        self.streams[calls[0][-1]].put(run)


def _words(address: int, count: int) -> np.ndarray:
    raw = (ctypes.c_uint64 * count).from_address(address)
    return np.ctypeslib.as_array(raw)


@pytest.fixture
def nccl(fake_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> FakeNccl:
    found = FakeNccl(sys.modules[fake_cupy.cuda.Stream.__module__].STREAMS)
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", found)
    return found


def test_collectives_run_alone_and_beside_copies(make_box: MakeBox, nccl: FakeNccl) -> None:
    box = make_box()
    benchmark = cuda_collectives.CudaCollectivesBenchmark()
    assert benchmark.missing(box.machine) is None
    outcome = benchmark.run(box.machine, context())
    by_set: dict[str, list[Any]] = {}
    for one in outcome.series:
        assert one.samples, one.reason
        by_set.setdefault(str(one.factors["set"]), []).append(one)
    reduced = [one for text, one in by_set.items() if text.startswith("all_reduce")]
    assert sorted(len(one) for one in by_set.values()) == [1, 2, 2, 3, 3]
    assert [one[0].factors["flow"] for one in reduced] == ["all_reduce"] * 3
    assert {one.factors["bus_ratio"] for one in outcome.series} == {1.0}
    assert nccl.num_destroyed == 2


def test_collectives_that_reduce_wrongly_fail(make_box: MakeBox, nccl: FakeNccl) -> None:
    nccl.is_wrong = True
    with pytest.raises(MeasurementFailed, match="wrong word at offset 0"):
        cuda_collectives.CudaCollectivesBenchmark().run(make_box().machine, context())


def test_collectives_without_nccl_say_so(make_box: MakeBox, nccl: FakeNccl) -> None:
    nccl.available = False
    reason = cuda_collectives.CudaCollectivesBenchmark().missing(make_box().machine)
    assert "NCCL is not installed" in (reason or "")


def test_collectives_beside_a_busy_gpu_are_skipped(make_box: MakeBox, nccl: FakeNccl) -> None:
    outcome = cuda_collectives.CudaCollectivesBenchmark().run(
        make_box(TWO_GPUS, busy=(0,)).machine, context()
    )
    assert outcome.status is Status.SKIPPED
    assert "fewer than two GPUs are free" in (outcome.reason or "")
