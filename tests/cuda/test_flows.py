"""Flows by copy engines and kernels, on the simulated CUDA runtime: nothing is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cuda.boxes import Box, context
from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.measure.benchmark import GpuChoice
from topoprobe.measure.devices.cuda.flows import GpuFlows
from topoprobe.measure.devices.flows import Place
from topoprobe.measure.flows import Flow, parse_flow_set
from topoprobe.microbench.flow_sets import measure_sets
from topoprobe.records.base import Status

ALL_IDLE = GpuChoice()


@pytest.fixture
def opener() -> Iterator[Callable[..., GpuFlows]]:
    made: list[GpuFlows] = []

    def make(box: Box, choice: GpuChoice = ALL_IDLE) -> GpuFlows:
        made.append(GpuFlows(Place(box.machine, (0,), Path("/nonexistent"), choice)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def flow(text: str) -> Flow:
    (one,) = parse_flow_set(text).flows
    return one


def run_some(opened: Any, num_chunks: int) -> None:
    (lane,) = opened.lanes
    for _ in range(num_chunks):
        lane.enqueue(lane.stream)
    lane.stream.synchronize()


@pytest.mark.parametrize(
    "text",
    [
        "host:0 -> gpu:0 via ce",
        "gpu:0 -> host:1 via ce",
        "gpu:0 -> gpu:1 via ce",
        "gpu:0 -> gpu:0 via ce",
        "host:0 -> gpu:0 via sm",
        "gpu:0 -> host:0 via sm:3",
        "gpu:0 -> gpu:1 via sm:1",
        "gpu:1 -> gpu:1 via sm",
        "host:1 -> gpu:0 via sm, txn=32",
        "gpu:0 -> host:0 via sm, txn=512",
        "gpu:0 -> gpu:1 via sm, txn=128",
        "gpu:0 -> gpu:0 via sm, txn=64",
    ],
)
def test_flow_of_every_kind_moves_and_is_checked(
    make_box: Callable[..., Box], opener: Callable[..., GpuFlows], text: str
) -> None:
    box = make_box()
    flows = opener(box)
    assert flows.missing(flow(text)) is None
    opened = flows.open(flow(text), 0, 64 << 10)
    for num_chunks in (0, 1, 6):
        run_some(opened, num_chunks)
        opened.check()
    assert opened.factors["chunk_bytes"] == 16 << 10
    assert opened.factors["run_by"] in box.gpus
    assert flows.unit(flow(text)) == "bytes_per_s"


@pytest.mark.parametrize(("work", "num_arrays"), [("stream", 3), ("gemv", 1)])
def test_load_within_a_gpu_counts_what_it_moves_and_is_checked(
    make_box: Callable[..., Box], opener: Callable[..., GpuFlows], work: str, num_arrays: int
) -> None:
    flows = opener(make_box())
    one = flow(f"gpu:0 -> gpu:0 via sm, work={work}, size=256KiB")
    assert flows.missing(one) is None
    opened = flows.open(one, 0, 64 << 10)
    run_some(opened, 2)
    opened.check()
    assert opened.lanes[0].work == num_arrays * 256 << 10
    assert flows.unit(one) == "bytes_per_s"
    load: Any = opened.lanes[0].enqueue.__self__  # type: ignore[attr-defined]
    result = load._arrays[0] if work == "stream" else load._partial
    load._device.fill(result, seed=99)
    with pytest.raises(MeasurementFailed):
        opened.check()


def test_gemm_within_a_gpu_needs_a_torch_for_cuda(
    make_box: Callable[..., Box], opener: Callable[..., GpuFlows]
) -> None:
    one = flow("gpu:0 -> gpu:0 via sm, work=gemm")
    flows = opener(make_box())
    assert "torch" in (flows.missing(one) or "")
    assert flows.unit(one) == "flop_per_s"


def test_flow_counts_the_payload_of_accesses_only(
    make_box: Callable[..., Box], opener: Callable[..., GpuFlows]
) -> None:
    flows = opener(make_box())
    works = {
        txn: flows.open(flow(f"host:0 -> gpu:0 via sm, txn={txn}"), 0, 64 << 10).lanes[0].work
        for txn in (32, 128, 256, 512)
    }
    # 16 KiB hold 64 accesses 256 bytes apart, 32 of 512 and 16 of 1024.
    assert works == {32: 64 * 32, 128: 64 * 128, 256: 32 * 256, 512: 16 * 512}


@pytest.mark.parametrize(
    "text",
    [
        "host:0 -> gpu:0 via ce",
        "gpu:0 -> host:0 via ce",
        "gpu:0 -> gpu:1 via ce",
        "host:0 -> gpu:0 via sm, txn=64",
        "gpu:0 -> host:0 via sm, txn=64",
        "gpu:0 -> gpu:1 via sm, txn=64",
    ],
)
def test_flow_of_damaged_bytes_is_told_after_the_run(
    make_box: Callable[..., Box], opener: Callable[..., GpuFlows], text: str
) -> None:
    opened = opener(make_box()).open(flow(text), 0, 64 << 10)
    run_some(opened, 3)
    move: Any = opened.lanes[0].enqueue.__self__  # type: ignore[attr-defined]
    memory = move._target if hasattr(move, "_target") else move._memory
    memory.device.fill(memory.buffer, seed=99)
    with pytest.raises(MeasurementFailed, match="arrived wrong"):
        opened.check()


def test_flow_on_a_link_that_loses_bytes_fails_when_it_is_opened(
    make_box: Callable[..., Box],
    opener: Callable[..., GpuFlows],
    fake_cupy: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flows = opener(make_box())
    real = fake_cupy.cuda.runtime.memcpyAsync
    monkeypatch.setattr(
        fake_cupy.cuda.runtime,
        "memcpyAsync",
        lambda target, source, size, *rest: real(target, source, size - 1024, *rest),
    )
    with pytest.raises(MeasurementFailed, match=r"from offset 15360 on, 4\.00 KiB were never"):
        flows.open(flow("gpu:0 -> gpu:1 via ce"), 0, 64 << 10)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("host:0 -> gpu:2 via ce", "gpu:2 is no GPU of this machine"),
        ("host:0 -> gpu@0000:99:00.0 via ce", "is no GPU of this machine"),
        ("host:2 -> gpu:0 via ce", "there is host:0, host:1"),
        ("host:0 -> host:1 via ce", "neither end is a GPU"),
        ("nvme:nvme0n1 -> gpu:0 via ce", "nvme:nvme0n1 is neither"),
        ("host:0 -> gpu:0 via ce, txn=128", "copy engine chooses its transactions itself"),
        ("host:0 -> gpu:0 via sm, txn=96", "32, 64, 128, 256, 512"),
        ("gpu:0 -> gpu:0 via sm, work=chase", "a GPU does no chase"),
        ("host:0 -> gpu:0 via sm, work=stream", "within one GPU"),
        ("gpu:0 -> gpu:0 via ce, work=gemv", "within one GPU"),
        ("gpu:0 -> gpu:0 via sm, work=gemv, txn=64", "no transactions or chunks"),
        ("gpu:0 -> gpu:0 via sm, work=gemm, cap=1GB/s", "no bytes that cap could limit"),
        ("host:0 -> gpu:0 via ce, size=1000", "size is no multiple of 4096"),
        ("host:0 -> gpu:0 via ce, chunk=100", "chunk is no multiple of 4096"),
    ],
)
def test_flow_that_makes_no_sense_is_refused(
    make_box: Callable[..., Box], opener: Callable[..., GpuFlows], text: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        opener(make_box()).missing(flow(text))


def test_flow_too_large_for_the_gpu_is_told_before_anything_is_allocated(
    make_box: Callable[..., Box], opener: Callable[..., GpuFlows], fake_cupy: Any
) -> None:
    flows = opener(make_box())
    assert flows.missing(flow("host:0 -> gpu:0 via ce, size=7MiB")) is None
    for text in ("host:0 -> gpu:0 via ce, size=8MiB", "gpu:1 -> gpu:1 via sm, size=4MiB"):
        assert "8.00 MiB do not fit the 7.20 MiB" in (flows.missing(flow(text)) or "")
    fake_cupy.cuda.memory.Memory = None  # whoever allocates would fail differently
    with pytest.raises(EnvironmentMissing, match="give a smaller size"):
        flows.open(flow("host:0 -> gpu:0 via ce"), 0, 8 << 20)


def test_flow_on_a_busy_gpu_is_left_alone_unless_allowed(
    make_box: Callable[..., Box], opener: Callable[..., GpuFlows]
) -> None:
    box = make_box(busy=(1,))
    flows = opener(box)
    assert flows.missing(flow("host:0 -> gpu:0 via ce")) is None
    assert "in use by process 4242" in (flows.missing(flow("gpu:0 -> gpu:1 via ce")) or "")
    allowing = opener(box, GpuChoice(allows_busy=True))
    assert allowing.missing(flow("gpu:0 -> gpu:1 via ce")) is None


def test_flow_on_a_gpu_that_was_not_chosen_is_left_alone(
    make_box: Callable[..., Box], opener: Callable[..., GpuFlows]
) -> None:
    flows = opener(make_box(), GpuChoice(indices=(0,)))
    assert "not among the GPUs" in (flows.missing(flow("host:0 -> gpu:1 via ce")) or "")


def test_flow_between_gpus_opens_the_way_from_the_one_that_runs_it(
    make_box: Callable[..., Box], opener: Callable[..., GpuFlows]
) -> None:
    box = make_box()
    flows = opener(box)
    for _ in range(2):  # the second time the way is open already
        opened = flows.open(flow("gpu:1 -> gpu:0 via sm"), 0, 64 << 10)
    assert box.opened == {(1, 0)}
    assert opened.factors["peer_access"] == "direct"
    assert opened.factors["run_by"] == box.gpus[1]


def test_flow_without_peer_access_is_staged_by_ce_and_missing_by_sm(
    make_box: Callable[..., Box], opener: Callable[..., GpuFlows]
) -> None:
    flows = opener(make_box(can_reach=lambda one, other: False))
    opened = flows.open(flow("gpu:0 -> gpu:1 via ce"), 0, 64 << 10)
    assert opened.factors["peer_access"] == "staged"
    assert "no peer access" in (flows.missing(flow("gpu:0 -> gpu:1 via sm")) or "")
    assert flows.missing(flow("gpu:0 -> gpu:0 via sm")) is None


def test_flow_takes_pinned_memory_for_its_host_ends_only(
    make_box: Callable[..., Box], opener: Callable[..., GpuFlows]
) -> None:
    flows = opener(make_box())
    assert flows.memory_bytes(flow("host:0 -> gpu:0 via ce"), 5) == 5
    assert flows.memory_bytes(flow("host:0 -> gpu:0 via ce, size=4KiB"), 5) == 4096
    assert flows.memory_bytes(flow("gpu:0 -> gpu:1 via sm"), 5) == 0
    opened = flows.open(flow("host:0 -> gpu:0 via ce"), 0, 64 << 10)
    assert opened.factors["placement"] == "verified"


def test_set_of_cpu_and_gpu_flows_runs_in_one_window(make_box: Callable[..., Box]) -> None:
    box = make_box(is_timed=True)
    text = (
        "host:0 -> gpu:0 via ce | gpu:0 -> gpu:1 via sm:1 | "
        "host:0 -> host:0 via cpu, size=4MiB, chunk=1MiB"
    )
    series = measure_sets(box.machine, context(), [parse_flow_set(text)])
    shared = [one for one in series if one.name == "contention.shared"]
    solo = [one for one in series if one.name == "contention.solo"]
    assert [one.factors["index"] for one in shared] == [0, 1, 2]
    assert len(solo) == 3
    for one in (*shared, *solo):
        assert one.status in (Status.OK, Status.UNSTABLE), one.reason
        assert all(sample.value > 0.0 for sample in one.samples)


def test_set_whose_bytes_arrive_wrong_fails_with_the_flow(
    make_box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = make_box()
    opened = GpuFlows.open

    def damaged(self: GpuFlows, one: Flow, *arguments: Any) -> Any:
        ready = opened(self, one, *arguments)
        move: Any = ready.lanes[0].enqueue.__self__  # type: ignore[attr-defined]
        if one.source.kind == "host":
            move._seeds = type(move._seeds)(moved=1, poison=2)
        return ready

    monkeypatch.setattr(GpuFlows, "open", damaged)
    text = "host:0 -> gpu:0 via ce | gpu:0 -> gpu:1 via ce"
    series = measure_sets(box.machine, context(), [parse_flow_set(text)])
    for one in series:
        is_damaged = str(one.factors["flow"]).startswith("host")
        assert (one.status is Status.FAILED) is is_damaged
        assert not is_damaged or "arrived wrong" in (one.reason or "")
