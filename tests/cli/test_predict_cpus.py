"""Predictions of flows that CPUs run, as the command tells them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace as replaced

from tests.model.fabric.made_up import made_up
from topoprobe.records.base import Estimate, Source, Tool
from topoprobe.records.calibration import (
    CalibrationDocument,
    Contention,
    CpuWork,
    FlowSetShare,
    FlowShare,
)
from topoprobe.records.documents import encode

Command = Callable[..., tuple[int, str, str]]


def of_cpus() -> CalibrationDocument:
    """Calibration of two CPUs whose triads and chases were measured side by side."""

    def estimate(value: float) -> Estimate:
        return Estimate(
            value=value, low=value, high=value, source=Source.MEASURED, n=9, evidence="timed"
        )

    works = (
        CpuWork(
            work="stream", solo_per_s=estimate(10e9), memory_bytes_per_unit=1.0,
            stall_ratio=estimate(5.0),
        ),
        CpuWork(work="chase", solo_per_s=estimate(1e7), memory_bytes_per_unit=64.0),
        CpuWork(work="gemm", solo_per_s=estimate(5e10), memory_bytes_per_unit=0.0),
    )  # fmt: skip
    contention = Contention(
        resource="memory:host", traffic_bytes_per_s=estimate(40e9), cpu_works=works
    )
    return CalibrationDocument(
        tool=Tool(tool_version="1"),
        machine=made_up("socket(cores=2)").document,
        contention=(contention,),
    )


def test_predict_of_cpus_goes_by_their_laws(predict: Command, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(encode(of_cpus()))
    flows = " | ".join(
        f"host:0 > core:{core} via cpu, work={work}"
        for core, work in ((0, "stream"), (1, "chase"), (1, "gemm"))
    )
    code, out, _ = predict(str(path), "--flows", flows, "--json")
    stream, chase, gemm = json.loads(out)["flows"]
    assert code == 0
    assert (stream["unit"], chase["unit"], gemm["unit"]) == ("bytes_per_s", "per_s", "flop_per_s")
    assert stream["rate_bytes_per_s"] == pytest.approx(10e9 / (1 + 5.0 * 5e6 * 64 / 40e9))
    assert chase["slowdown"] == pytest.approx(2.0)
    _, text, _ = predict(str(path), "--flows", flows)
    assert "shares CPU 1 with flow 3, as much time for each" in text
    assert "1.04 times as long while other CPUs draw 320 MB/s of memory" in text


@pytest.mark.parametrize(
    ("flows", "extra", "message"),
    [
        ("host:0 > core:0 via cpu, work=gemv", [], "no law of gemv was fitted"),
        ("host:0 > core:0 via cpu | host:0 > gpu:0", [], "predict them as two sets"),
        ("host:0 > core:0 via cpu", ["--model", "transactions"], "knows no CPUs"),
    ],
)
def test_predict_refuses_what_cpus_have_no_law_for(
    predict: Command, tmp_path: Path, flows: str, extra: list[str], message: str
) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(encode(of_cpus()))
    code, _, err = predict(str(path), "--flows", flows, *extra)
    assert code == 2
    assert message in err


def test_predict_counts_work_of_cpus_in_its_own_unit(predict: Command, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(encode(of_cpus()))
    flows = "host:0 > core:0 via cpu, work=stream | host:0 > core:1 via cpu, work=chase"
    document = json.loads(predict(str(path), "--flows", flows, "--json")[1])
    stream, chase = document["flows"]
    assert chase["rate_bytes_per_s"] is chase["solo_bytes_per_s"] is None
    assert chase["rate_per_s"] > 0.0
    assert stream["rate_bytes_per_s"] == stream["rate_per_s"]
    assert document["aggregate_bytes_per_s"] is document["wire_jain_ratio"] is None
    lines = predict(str(path), "--flows", flows)[1].splitlines()
    assert any(line.startswith("fairness of what each keeps") for line in lines)
    flows = flows.replace("chase", "stream")
    document = json.loads(predict(str(path), "--flows", flows, "--json")[1])
    rates = [one["rate_bytes_per_s"] for one in document["flows"]]
    assert document["aggregate_bytes_per_s"] == pytest.approx(sum(rates))
    assert document["wire_jain_ratio"] is None


def test_predict_of_cpus_names_a_cap_that_holds_a_flow_back(
    predict: Command, tmp_path: Path
) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(encode(of_cpus()))
    flows = "host:0 > core:0 via cpu, work=stream, cap=1GB/s | host:0 > core:1 via cpu, work=chase"
    _, out, _ = predict(str(path), "--flows", flows)
    assert "1.00 GB/s of 1.00 GB/s alone\n        goes no faster by itself: its own cap" in out
    (trust,) = json.loads(predict(str(path), "--flows", flows, "--json")[1])["trust"]
    assert trust.startswith("trust: no set of this calibration tells")
    assert trust in out


def test_predict_of_cpus_names_the_memory_of_a_numa_node(predict: Command, tmp_path: Path) -> None:
    calibration = of_cpus()
    (contention,) = calibration.contention
    traffic = Estimate(
        value=12e9, low=12e9, high=12e9, source=Source.MEASURED, n=9, evidence="timed"
    )
    scarce = replaced(
        contention,
        traffic_bytes_per_s=traffic,
        cpu_works=tuple(replaced(one, stall_ratio=None) for one in contention.cpu_works),
    )
    path = tmp_path / "calibration.json"
    path.write_bytes(encode(replaced(calibration, contention=(scarce,))))
    flows = " | ".join(f"host:0 > core:{core} via cpu, work=stream" for core in (0, 1))
    assert "the memory of NUMA node 0 (12.0 GB/s)" in predict(str(path), "--flows", flows)[1]


def test_predict_of_cpus_that_come_later_stalls_only_while_they_meet(
    predict: Command, tmp_path: Path
) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(encode(of_cpus()))
    flows = (
        "host:0 > core:0 via cpu, work=stream, duration=1s | "
        "host:0 > core:0 via cpu, work=stream, duration=1s, delay=2s"
    )
    document = json.loads(predict(str(path), "--flows", flows, "--json")[1])
    assert [one["slowdown"] for one in document["flows"]] == [1.0, 1.0]
    assert {one["rate_over"] for one in document["flows"]} == {"its own life"}


def test_predict_tells_how_far_off_the_laws_were(predict: Command, tmp_path: Path) -> None:
    def estimate(value: float) -> Estimate:
        return Estimate(value=value, low=value, high=value, source=Source.MEASURED, n=9,
                        evidence="timed")  # fmt: skip

    share = FlowShare(
        flow="host:0 -> core:0 via cpu", solo_per_s=estimate(2e9), shared_per_s=estimate(1e9),
        slowdown_ratio=estimate(2.0), predicted_slowdown_ratio=1.5,
    )  # fmt: skip
    flow_set = FlowSetShare(
        flows=(share, share), jain_ratio=estimate(1.0), max_min_ratio=estimate(1.0)
    )
    calibration = of_cpus()
    (contention,) = calibration.contention
    path = tmp_path / "calibration.json"
    path.write_bytes(
        encode(replaced(calibration, contention=(replaced(contention, sets=(flow_set,)),)))
    )
    _, out, _ = predict(str(path), "--flows", "host:0 > core:0 via cpu, work=stream")
    assert "were off by 25.0% in the median (50.0% if none were expected)" in out


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        ("host:0 > core:5 via cpu, work=stream", "no core:5; it has core:0 to core:1"),
        ("host:5 > core:0 via cpu, work=stream", "no host:5; it has only host:0"),
        (
            "host:0 > host:0 via cpu:3, work=stream",
            "asks for 3 threads and host:0 has 2 CPUs; give cpu:2",
        ),
        ("host:0 > core:0 via cpu, work=stream, txn=64", "a CPU chooses no transaction size"),
        ("host:0 > core:0 via cpu, work=gemm, cap=1G", "moves no bytes that cap could limit"),
        ("host:0 > gpu:0 via cpu", "gpu:0 is neither"),
    ],
)
def test_predict_of_cpus_refuses_what_bench_would(
    predict: Command, tmp_path: Path, flow: str, message: str
) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(encode(of_cpus()))
    code, _, err = predict(str(path), "--flows", flow)
    assert code == 2
    assert message in err


def test_predict_of_cpus_tells_stalls_beside_turns(predict: Command, tmp_path: Path) -> None:
    calibration = of_cpus()
    (contention,) = calibration.contention
    disk = CpuWork(
        work="disk", solo_per_s=replaced(contention.cpu_works[0].solo_per_s, value=2e9),
        memory_bytes_per_unit=1.0, wait_ratio=contention.cpu_works[0].stall_ratio,
        core_ratio=replaced(contention.cpu_works[0].solo_per_s, value=0.1),
    )  # fmt: skip
    works = (*contention.cpu_works, disk)
    path = tmp_path / "calibration.json"
    path.write_bytes(
        encode(replaced(calibration, contention=(replaced(contention, cpu_works=works),)))
    )
    flows = " | ".join(
        f"host:0 > core:{core} via cpu, work={work}"
        for core, work in ((0, "stream"), (0, "gemm"), (1, "chase"), (1, "disk"))
    )
    _, out, _ = predict(str(path), "--flows", flows)
    assert "shares CPU 0 with flow 2, as much time for each; its work takes" in out
    assert "it waits for its turn behind 1 flow on its CPU" in out
