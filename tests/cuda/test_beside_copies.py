"""Kernels, CPUs, drives and adapters beside a GPU's copies, on the simulated runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cuda.boxes import Box, context
from topoprobe.machine.sources.scan import make_up
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.measure.devices.cuda.availability import nvidia_gpus
from topoprobe.measure.flows import parse_flow_set
from topoprobe.microbench import cuda_host_traffic, cuda_interference
from topoprobe.microbench.cuda_host_traffic import CudaHostTrafficBenchmark
from topoprobe.microbench.cuda_interference import CudaInterferenceBenchmark
from topoprobe.model.calibration.contention import slowdown_matrix
from topoprobe.model.calibration.readings import Readings
from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import Numa
from topoprobe.records.results import Environment, Experiment, ResultsDocument

MakeBox = Callable[..., Box]


def by_work(outcome: Any, name: str, work: str) -> list[Any]:
    return [
        one
        for one in outcome.series
        if one.name == name and f"work={work}" in str(one.factors.get("set", ""))
    ]


@pytest.mark.parametrize("name", ["hgx-h100", "1 gpu(h100)"])
def test_sets_are_texts_of_the_grammar(name: str) -> None:
    machine = make_up(name)
    assert machine is not None
    for gpu in nvidia_gpus(machine)[:1]:
        for one in (
            *cuda_interference.sets_of(machine, gpu),
            *cuda_host_traffic.sets_of(machine, gpu, (0,)),
        ):
            assert parse_flow_set(str(one)) == one


def test_interference_gives_every_load_beside_every_copy(make_box: MakeBox) -> None:
    outcome = CudaInterferenceBenchmark().run(make_box("1 gpu(h100)").machine, context())
    for work in ("gemv", "stream"):
        shared = by_work(outcome, "contention.shared", work)
        assert len(shared) == 2 * 5
        assert all(one.samples for one in shared), [one.reason for one in shared]
    gemm = by_work(outcome, "contention.shared", "gemm")
    assert {one.status for one in gemm} == {Status.SKIPPED}
    assert all("torch" in (one.reason or "") for one in gemm)


def test_interference_becomes_a_slowdown_matrix(make_box: MakeBox) -> None:
    box = make_box("1 gpu(h100)")
    outcome = CudaInterferenceBenchmark().run(box.machine, context(num_samples=3))
    document = ResultsDocument(
        tool=Tool(tool_version="0"),
        machine=box.machine,
        environment=Environment(python="3"),
        suite="quick",
        started_at="2026-01-01T00:00:00+00:00",
        experiments=(
            Experiment(
                benchmark="cuda.interference", revision=1, summary="", status=Status.OK,
                series=outcome.series,
            ),
        ),
    )  # fmt: skip
    matrix = slowdown_matrix(Readings(document), box.gpus[0])
    assert matrix is not None
    assert len(matrix.flows) == 2 + 5  # loads that run here, and copies


def test_host_traffic_of_two_sockets_runs_streams_of_the_near_and_the_far_node() -> None:
    machine = make_up("hgx-h100")
    assert machine is not None
    gpu = nvidia_gpus(machine)[0]
    near = next(one for one in machine.nodes if isinstance(one, Numa) and one.os_index == 0)
    allowed = near.cpus[:3]  # of this node; the other's memory is left to the same CPUs
    streams = {
        (str(flow.source), flow.executor.count)
        for one in cuda_host_traffic.sets_of(machine, gpu, allowed)
        for flow in one.flows
        if flow.executor.kind == "cpu"
    }
    assert streams == {("host:0", 3), ("host:1", 3)}


def test_host_traffic_says_what_the_machine_lacks(make_box: MakeBox) -> None:
    if not available_cpus():
        pytest.skip("no CPU to run STREAM on")
    outcome = CudaHostTrafficBenchmark().run(make_box("1 gpu(h100)").machine, context())
    shared = by_work(outcome, "contention.shared", "stream")
    assert len(shared) == 4
    assert all(one.samples for one in shared), [one.reason for one in shared]
    absent = [one.reason for one in outcome.series if "set" not in one.factors]
    assert len(absent) == 2
    assert "no drive" in str(absent[0])
    assert "no network adapter" in str(absent[1])
