"""CPU flows of the grammar on real cores."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from topoprobe.errors import EnvironmentMissing, UsageError
from topoprobe.measure.concurrent import run_together
from topoprobe.measure.devices.cpu.device import CpuDevice, available_cpus
from topoprobe.measure.devices.cpu.executors import CpuFlows, check, memory_bytes
from topoprobe.measure.flows import Flow, Work, parse_flow_set

CPU = available_cpus()[0]


def flow(text: str) -> Flow:
    return parse_flow_set(text).flows[0]


@pytest.mark.parametrize("work", list(Work))
def test_cpu_flow_of_every_work_has_a_rate(work: Work) -> None:
    if work is Work.CHASE:
        pytest.importorskip("numba")
    one = flow(f"host:0 -> core:{CPU} via cpu, work={work}, size=4MiB")
    with closing(CpuFlows(CpuDevice(available_cpus()))) as flows:
        opened = flows.open(one, 0)
        assert opened.cpus == (CPU,)
        (rate,) = run_together([opened.lanes], 0.05, clock=time.monotonic, pause=time.sleep)
    assert rate > 0.0


def test_cpu_flow_of_two_threads_takes_cpus_in_turn() -> None:
    cpus = available_cpus()
    with closing(CpuFlows(CpuDevice(cpus))) as flows:
        opened = flows.open(flow("host:0 -> host:0 via cpu:2, size=4MiB"), index=1)
    assert opened.cpus == (cpus[1 % len(cpus)], cpus[2 % len(cpus)])


def test_check_flow_of_a_gpu_cannot_be_run() -> None:
    with pytest.raises(EnvironmentMissing, match="executor cpu"):
        check(flow("host:0 -> gpu:0 via ce"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("host:0 -> host:0 via cpu, txn=256", "transaction size"),
        ("host:0 -> host:0 via cpu, size=1000", "multiple of 4096"),
    ],
)
def test_check_meaningless_key_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        check(flow(text))


def test_memory_bytes_count_buffers_and_threads() -> None:
    assert memory_bytes(flow("host:0 -> host:0 via cpu:2, work=stream"), 100) == 600
    assert memory_bytes(flow("host:0 -> host:0 via cpu, size=8KiB"), 100) == 16384
