"""CPU flows of the grammar on real cores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.microbench.context import machine
from topoprobe.errors import MeasurementFailed, UsageError
from topoprobe.measure.concurrent import run_together
from topoprobe.measure.devices.cpu import executors
from topoprobe.measure.devices.cpu.device import CpuStream, available_cpus
from topoprobe.measure.devices.cpu.executors import CpuFlows
from topoprobe.measure.devices.flows import Place
from topoprobe.measure.flows import Flow, Work, parse_flow_set

CPUS = available_cpus()
MIB = 1 << 20


def flow(text: str) -> Flow:
    return parse_flow_set(text).flows[0]


@pytest.fixture
def flows(tmp_path: Path) -> Iterator[CpuFlows]:
    with closing(CpuFlows(Place(machine(), CPUS, tmp_path))) as opener:
        yield opener


@pytest.mark.parametrize("work", list(Work))
def test_cpu_flow_of_every_work_has_a_rate(flows: CpuFlows, work: Work) -> None:
    if work is Work.CHASE:
        pytest.importorskip("numba")
    one = flow(f"host:0 -> core:{CPUS[0]} via cpu, work={work}, size=4MiB")
    assert flows.missing(one) is None
    opened = flows.open(one, 0, MIB)
    assert opened.cpus == (CPUS[0],)
    (rate,) = run_together([opened.lanes], 0.05, clock=time.monotonic, pause=time.sleep)
    assert rate > 0.0


def test_cpu_flow_of_two_threads_takes_cpus_in_turn(flows: CpuFlows) -> None:
    two = flow("host:0 -> host:0 via cpu:2, size=4MiB")
    if len(CPUS) < 2:
        with pytest.raises(UsageError, match="give cpu:1 at most"):
            flows.missing(two)
    opened = flows.open(two, 1, MIB)
    assert opened.cpus == (CPUS[1 % len(CPUS)], CPUS[2 % len(CPUS)])


def test_cpu_flow_memory_is_asked_for_on_the_node_of_each_end(
    flows: CpuFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes: list[int] = []
    placed = executors.buffer_on_node

    def record(num_bytes: int, node: int, fill: object) -> object:
        nodes.append(node)
        return placed(num_bytes, 0, fill)  # type: ignore[arg-type]

    monkeypatch.setattr(executors, "buffer_on_node", record)
    flows.open(flow("host:1 -> host:2 via cpu"), 0, MIB)
    flows.open(flow("host:1 -> host:2 via cpu, work=stream"), 0, MIB)
    assert nodes == [1, 2, 2, 1, 1]  # source and target; target, then both sources


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("host:0 -> gpu:0 via cpu", "gpu:0 is neither"),
        ("host:7 -> host:0 via cpu", "host:7 is no NUMA node"),
        ("host:0 -> core:99999 via cpu", "core:99999 is no usable CPU"),
        (f"host:0 -> host:0 via cpu:{len(CPUS) + 1}", f"give cpu:{len(CPUS)} at most"),
        ("host:0 -> host:0 via cpu, txn=256", "transaction size"),
        ("host:0 -> host:0 via cpu, size=1000", "multiple of 4096"),
        ("host:0 -> host:0 via cpu, size=64KiB", "64.0 KiB are moved faster .* 1.00 MiB at least"),
        ("host:0 -> host:0 via cpu, work=stream, chunk=4KiB", "4.00 KiB are moved faster"),
        ("host:0 -> host:0 via cpu, work=chase, cap=1GB/s", "no bytes that cap could limit"),
    ],
)
def test_cpu_flow_that_makes_no_sense_is_refused(flows: CpuFlows, text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        flows.missing(flow(text))


def test_cpu_flow_that_needs_a_package_says_so(
    flows: CpuFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "numba_gap", lambda: "numba is not installed")
    assert flows.missing(flow("host:0 -> host:0 via cpu, work=chase")) == "numba is not installed"


def test_cpu_flow_memory_bytes_count_buffers_and_threads(flows: CpuFlows) -> None:
    assert flows.memory_bytes(flow("host:0 -> host:0 via cpu:2, work=stream"), 100) == 600
    assert flows.memory_bytes(flow("host:0 -> host:0 via cpu, size=8KiB"), 100) == 16384


@pytest.mark.parametrize("text", ["size=1MiB", "chunk=1MiB", "work=stream, size=2MiB"])
def test_cpu_flow_of_small_chunks_repeats_them_between_time_stamps(
    flows: CpuFlows, text: str
) -> None:
    usual = flows.open(flow("host:0 -> host:0 via cpu"), 0, 64 * MIB).lanes[0].work
    assert flows.missing(flow(f"host:0 -> host:0 via cpu, {text}")) is None
    (lane,) = flows.open(flow(f"host:0 -> host:0 via cpu, {text}"), 0, 64 * MIB).lanes
    assert lane.work >= usual


def test_cpu_copy_that_did_not_arrive_is_told_with_its_place(
    flows: CpuFlows, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "host:0 -> host:0 via cpu, size=64KiB, chunk=16KiB"
    opened = flows.open(flow(text), 0, MIB)
    run_together([opened.lanes], 0.02, clock=time.monotonic, pause=time.sleep)
    opened.check()

    def forgetful(target: Any, source: Any) -> None:
        if target.size == 16 << 10:
            target[:100] = source[:100]

    monkeypatch.setattr(np, "copyto", forgetful)
    opened = flows.open(flow(text), 0, MIB)
    opened.check()  # nothing was to arrive yet
    run_together([opened.lanes], 0.02, clock=time.monotonic, pause=time.sleep)
    with pytest.raises(MeasurementFailed, match=f"{text}: .* wrong, from offset 10[0-9] on"):
        opened.check()


def test_cpu_gemm_lets_torch_compute_on_its_own_thread_alone(flows: CpuFlows) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    (lane,) = flows.open(flow("core:0 -> core:0 via cpu, work=gemm"), 0, MIB).lanes
    told: list[int] = []
    assert isinstance(lane.stream, CpuStream)
    lane.stream.launch(lambda: told.append(torch.get_num_threads()))
    lane.stream.synchronize()
    assert told == [1]
