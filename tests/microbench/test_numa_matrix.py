"""Every node's memory from every node's CPUs, on two nodes that are one here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.microbench.context import MIB, context, machine
from topoprobe.errors import EnvironmentMissing
from topoprobe.measure.devices.cpu import team
from topoprobe.measure.devices.cpu.buffer import CpuBuffer
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.microbench import latency, numa_matrix
from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import Host, MachineDocument, Numa

CPUS = available_cpus()
BENCHMARK = numa_matrix.NumaMatrixBenchmark()


def nodes(*nodes_: Numa) -> MachineDocument:
    host = Host(id="host", name="a host")
    return MachineDocument(
        tool=Tool(tool_version="0"), origin="synthetic", sources=(), nodes=(host, *nodes_)
    )


def node(
    index: int,
    cpus: tuple[int, ...] = (),
    memory_bytes: int | None = MIB,
    memory_of: str | None = None,
) -> Numa:
    return Numa(
        id=f"numa:{index}",
        name=f"node {index}",
        parent="host",
        os_index=index,
        cpus=cpus,
        memory_bytes=memory_bytes,
        memory_of=memory_of,
    )


@pytest.fixture(autouse=True)
def short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "_MIN_SAMPLE_S", 1e-4)
    monkeypatch.setattr(team, "_MIN_SAMPLE_S_PER_THREAD", 0.0)
    monkeypatch.setattr(latency, "_IDLE_HOPS", 1000)


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every buffer be placed where it is asked for, and tell where; node 2 refuses."""
    asked: list[int] = []

    def place(num_bytes: int, node: int, fill: Callable[[NDArray[np.uint8]], None]) -> CpuBuffer:
        asked.append(node)
        if node == 2:
            raise EnvironmentMissing("The kernel refused to place memory.")
        buffer = CpuBuffer(num_bytes, f"host:{node}")
        fill(buffer.array)
        return buffer

    monkeypatch.setattr(numa_matrix, "buffer_on_node", place)
    return asked


def test_matrix_of_one_node_is_missing() -> None:
    assert "one NUMA node" in (BENCHMARK.missing(machine()) or "")
    gpu_memory = node(1, memory_of="gpu:0")
    empty = node(2, memory_bytes=0)
    found = BENCHMARK.missing(nodes(node(0, CPUS), gpu_memory, empty))
    assert "one NUMA node" in (found or "")


def test_matrix_has_every_pair_of_nodes(placed: list[int]) -> None:
    two = nodes(node(0, CPUS[:1]), node(1, CPUS[:1]))
    assert BENCHMARK.missing(two) is None
    series = BENCHMARK.run(two, context(8 * MIB)).series
    assert all(one.status in (Status.OK, Status.UNSTABLE) for one in series)
    pairs = {(0, 0), (0, 1), (1, 0), (1, 1)}
    for name in ("numa.latency", "numa.bandwidth"):
        found = [one for one in series if one.name == name]
        assert {(one.factors["cpu_node"], one.factors["memory_node"]) for one in found} == pairs
    assert len(series) == 3 * len(pairs)
    assert placed == [0] * 4 + [1] * 4


def test_matrix_node_without_cpus_is_reached_from_others(placed: list[int]) -> None:
    series = BENCHMARK.run(nodes(node(0, CPUS[:1]), node(1)), context(8 * MIB)).series
    assert {one.factors["cpu_node"] for one in series} == {0}
    assert {one.factors["memory_node"] for one in series} == {0, 1}


def test_matrix_memory_that_cannot_be_placed_is_skipped_with_the_reason(
    placed: list[int],
) -> None:
    series = BENCHMARK.run(nodes(node(0, CPUS[:1]), node(2)), context(8 * MIB)).series
    skipped = [one for one in series if one.status is Status.SKIPPED]
    assert {one.factors["memory_node"] for one in skipped} == {2}
    assert {one.reason for one in skipped} == {"The kernel refused to place memory."}
