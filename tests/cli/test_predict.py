from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace as replaced

from tests.model.calibration.samples import results
from topoprobe.cli.main import main
from topoprobe.cli.predict import can_be_measured
from topoprobe.machine.sources.scan import make_up
from topoprobe.measure.flows import parse_flow_set
from topoprobe.records.base import Estimate, Source, Tool
from topoprobe.records.calibration import (
    CalibrationDocument,
    Contention,
    CpuWork,
    FlowSetShare,
    FlowShare,
    LinkCalibration,
)
from topoprobe.records.documents import encode
from topoprobe.records.machine import MachineDocument

Command = Callable[..., tuple[int, str, str]]
THREE = "host:0 > gpu:0 via ce | host:0 > gpu:1 via ce | nic:0 > gpu:0, txn=128"


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process; return exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["topoprobe", "predict", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def machine(text: str) -> MachineDocument:
    document = make_up(text)
    assert document is not None
    return document


def measured(text: str, rate: float) -> CalibrationDocument:
    """Calibration in which one GPU's copies from the host were timed."""
    document = machine(text)
    link = next(link for link in document.links if link.b.startswith("gpu"))
    estimate = Estimate(
        value=rate, low=rate, high=rate, source=Source.MEASURED, n=9, evidence="timed copies"
    )
    return CalibrationDocument(
        tool=Tool(tool_version="1"),
        machine=document,
        links=(LinkCalibration(link=link.id, a_to_b_bytes_per_s=estimate),),
    )


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
        machine=machine("socket(cores=2)"),
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


def test_predict_of_cpus_that_nobody_measured_asks_for_a_calibration(predict: Command) -> None:
    code, _, err = predict("hgx-h100", "--flows", "host:0 > host:0")
    assert code == 2
    assert "give the calibration of a machine that `topoprobe profile`" in err


def test_predict_tells_when_bytes_have_arrived(predict: Command) -> None:
    flows = "host:0 > gpu:0, size=1GiB | host:0 > gpu:0, size=1GiB, delay=1s"
    _, out, _ = predict("hgx-h100", "--flows", flows, "--json")
    first, later = json.loads(out)["flows"]
    assert first["completion_s"] == pytest.approx((1 << 30) / first["solo_bytes_per_s"])
    assert later["completion_s"] == pytest.approx(1.0 + first["completion_s"])
    assert "done after" in predict("hgx-h100", "--flows", flows)[1]


def test_predict_first_says_who_is_slowed_and_last_what_comes_next(predict: Command) -> None:
    code, out, err = predict("hgx-h100", "--flows", THREE)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("2 of 3 flows are slowed; flow 3 most, by x2.68: cap or delay")
    assert "one packet of each port in turn: 128 bytes of this one, 256 of the others" in out
    assert lines[-1] == "nominal capacity: 63.0 GB/s after line encoding x 0.95 [pcie-bench]"
    # bench has no flow between a NIC and a GPU.
    assert err.startswith("next: topoprobe predict hgx-h100 --flows 'host:0 -> gpu:0 via ce |")
    assert err.endswith("--model transactions\n")


def test_predict_json_has_the_shape_that_scripts_rely_on(predict: Command) -> None:
    code, out, _ = predict("hgx-h100", "--flow", THREE, "--json", "--quiet")
    document = json.loads(out)
    assert code == 0
    assert set(document["flows"][0]) == {
        "number", "text", "src", "dst", "executor", "work", "size_bytes", "txn_bytes",
        "cap_bytes_per_s", "duration_s", "start_s", "rate_bytes_per_s", "solo_bytes_per_s",
        "rate_per_s", "solo_per_s", "unit", "rate_over", "is_upper_bound", "slowdown",
        "bottleneck", "why",
    }  # fmt: skip
    assert [one["executor"] for one in document["flows"]] == ["ce", "ce", "nic"]
    assert [one["number"] for one in document["flows"]] == [1, 2, 3]
    assert document["text"] == " | ".join(one["text"] for one in document["flows"])
    assert document["flows"][2]["txn_bytes"] == 128
    assert (document["schema"], document["version"]) == ("topoprobe.prediction", 1)
    assert (document["machine"], document["model"]) == ("hgx-h100", "fluid")
    rates = [one["rate_bytes_per_s"] / 1e9 for one in document["flows"]]
    # Equal packets per second on the wire of gpu:0, whose headers are 20 and 24 bytes.
    assert rates[0] == pytest.approx(2 * rates[2])
    assert rates[0] * 276 / 256 + rates[2] * 152 / 128 == pytest.approx(59.86, rel=1e-3)
    assert document["aggregate_bytes_per_s"] == pytest.approx(sum(rates) * 1e9)
    assert 0 < document["wire_jain_ratio"] < document["jain_ratio"] < 1
    assert document["bottlenecks"][0]["source"] == "nominal"


def test_predict_by_transactions_agrees_with_the_fluid_model(predict: Command) -> None:
    rates = []
    for model in ("fluid", "transactions"):
        _, out, _ = predict("hgx-h100", "--flows", THREE, "--model", model, "--json")
        document = json.loads(out)
        assert document["model"] == model
        rates.append([one["rate_bytes_per_s"] for one in document["flows"]])
    assert rates[0] == pytest.approx(rates[1], rel=0.01)


def test_predict_of_a_calibration_starts_from_what_was_measured(
    predict: Command, tmp_path: Path
) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(encode(measured("socket: gpu(a100)", 24.1e9)))
    code, out, _ = predict(str(path), "--flows", "host:0 > gpu:0")
    assert code == 0
    assert "24.1 GB/s of 24.1 GB/s alone" in out
    assert "measured capacity: timed copies" in out


def test_predict_of_a_machine_document_and_of_its_name_are_alike(
    predict: Command, tmp_path: Path
) -> None:
    path = tmp_path / "machine.json"
    path.write_bytes(encode(machine("hgx-h100")))
    assert predict(str(path), "--flows", THREE)[1] == predict("hgx-h100", "--flows", THREE)[1]


def test_predict_without_contention_says_so(predict: Command) -> None:
    _, out, _ = predict("hgx-h100", "--flow", "host:0 > gpu:0", "--flow", "host:1 > gpu:4")
    assert out.startswith("No flow slows another one")
    assert "slower" not in out


def test_predict_tells_what_it_assumes(predict: Command) -> None:
    _, out, _ = predict("8x4090", "--flows", "host:0 > gpu:0")
    assert out.startswith("No flow is known to slow another one, but not all that they cross is")
    assert "at most 25.9 GB/s of 25.9 GB/s alone" in out
    assert "taken not to limit: the memory of NUMA node 0, the catalogue has no memory" in out


def test_predict_counts_work_of_cpus_in_its_own_unit(predict: Command, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(encode(of_cpus()))
    flows = "host:0 > core:0 via cpu, work=stream | host:0 > core:1 via cpu, work=chase"
    document = json.loads(predict(str(path), "--flows", flows, "--json")[1])
    stream, chase = document["flows"]
    assert chase["rate_bytes_per_s"] is chase["solo_bytes_per_s"] is None
    assert chase["rate_per_s"] > 0.0
    assert document["aggregate_bytes_per_s"] == stream["rate_bytes_per_s"] == stream["rate_per_s"]
    alone = predict(str(path), "--flows", "host:0 > core:0 via cpu, work=chase", "--json")
    assert json.loads(alone[1])["aggregate_bytes_per_s"] is None


def test_predict_of_cpus_names_a_cap_that_holds_a_flow_back(
    predict: Command, tmp_path: Path
) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(encode(of_cpus()))
    flows = "host:0 > core:0 via cpu, work=stream, cap=1GB/s | host:0 > core:1 via cpu, work=chase"
    _, out, _ = predict(str(path), "--flows", flows)
    assert "1.00 GB/s of 1.00 GB/s alone\n        goes no faster by itself: its own cap" in out
    assert "trust: no set of this calibration tells" in out


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


def test_predict_says_all_by_where_flows_lose_alike(predict: Command) -> None:
    _, out, _ = predict("hgx-h100", "--flows", "host:0 > gpu:0 | host:0 > gpu:0")
    assert out.startswith("2 of 2 flows are slowed; all by x2.00: cap or delay some, or find")


def test_predict_of_flows_that_never_meet_finds_no_slowdown(predict: Command) -> None:
    flows = "host:0 > gpu:0, size=1GiB | host:0 > gpu:0, size=1GiB, delay=10s"
    for model in ("fluid", "transactions"):
        _, out, _ = predict("hgx-h100", "--flows", flows, "--model", model)
        assert out.startswith("No flow slows another one")
        assert "with flow" not in out
        assert "rates are means over the time that each flow takes" in out


def test_predict_tells_many_flows_in_groups_slowest_first(predict: Command) -> None:
    flows = " | ".join(
        [f"h{host}/gpu:{gpu} > h{host + 8}/gpu:{gpu}" for host in range(4) for gpu in range(8)]
        + ["h4/gpu:0 > h8/gpu:0"]
    )
    _, out, err = predict("16 x hgx-h100 : rail 400gb", "--flows", flows)
    lines = out.splitlines()
    assert lines[1] == "2 flows  h0/gpu:0 -> h8/gpu:0 via nic and more: flows 1, 33"
    assert "31 flows  h0/gpu:1 -> h8/gpu:1 via nic and more: flows 2-32" in out
    assert "flow 1: goes by nic:mlx5_0 of h0, rail 0, nic:mlx5_0 of h8" in out
    assert len(lines) < 15
    assert len(err) < 200


def test_predict_of_many_unlike_flows_tells_the_slowest_and_counts_the_rest(
    predict: Command,
) -> None:
    flows = " | ".join(f"host:0 > gpu:{n % 8}, size={n + 1}MiB, delay={n + 1}ms" for n in range(40))
    _, out, _ = predict("hgx-h100", "--flows", flows)
    assert "more, slowed less: --json has them" in out
    assert len(out.splitlines()) < 60


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


def test_predict_of_nothing_names_it_visibly(predict: Command) -> None:
    assert "'' does not exist" in predict("", "--flows", THREE)[2]


@pytest.mark.parametrize(
    ("name", "flow"), [("mi300x", "gpu:0 > gpu:1"), ("8x4090", "gpu:0 > gpu:1")]
)
def test_next_step_is_no_bench_where_gpus_cannot_be_measured(
    predict: Command, name: str, flow: str
) -> None:
    assert predict(name, "--flows", flow)[2].startswith("next: topoprobe predict ")
    assert predict(name, "--flows", flow, "--model", "transactions")[2] == ""


def test_predict_of_gpus_with_hidden_nvlinks_says_so_first(predict: Command) -> None:
    name = str(Path(__file__).parents[1] / "data" / "machines" / "azure-ndv4.nccl.xml")
    _, out, _ = predict(name, "--flows", "gpu:0 > gpu:1, cap=1GB/s")
    assert "no source shows the NVLinks of gpu:0 and gpu:1" in out
    _, bare, _ = predict(name, "--flows", "gpu:0 > gpu:1")
    assert bare.startswith("No flow slows another one, as far as sources show: NVLinks may be")


@pytest.mark.parametrize(
    ("flow", "can"),
    [
        ("host:0 > gpu:0", True),
        ("nic:0 > host:0, txn=64KiB", True),
        ("nic:0 > gpu:0", False),
        ("nic:0 > host:0, cap=1G", False),
        ("nvme:0 > host:0, txn=100", False),
        ("host:0 > gpu:0, size=100", False),
        ("h0/host:0 > h0/gpu:0", False),
    ],
)
def test_next_step_is_bench_only_for_what_it_takes(flow: str, can: bool) -> None:
    assert can_be_measured(parse_flow_set(flow).flows[0]) is can


def test_predict_of_a_pod_goes_over_the_network(predict: Command) -> None:
    flows = "h0/gpu:0 > h3/gpu:0 | h1/gpu:0 > h3/gpu:0"
    code, out, err = predict("4 x hgx-h100 : rail 400gb", "--flows", flows)
    assert code == 0
    assert "shares the network port of nic:mlx5_0, inwards of h3 (48.0 GB/s) with flow 2" in out
    assert "--model transactions" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hgx-h100"], "There are no flows to predict; add --flows"),
        (["hgx-h100", "--flows", THREE, "--model", "exact"], "expected fluid or transactions"),
        (["hgx-h100", "--flows", "host:0 > gpu:9"], "has no gpu:9; it has gpu:0 to gpu:7"),
        (["hgx-h100", "--flows", "host:0 > gpu:0, size=-1"], "column 22: found '-1'"),
        (["hgx-h100", "--flows", "h0/host:0 > h0/gpu:0"], "names host 0, and this is one machine"),
        (["hgx-h1000", "--flows", THREE], "did you mean hgx-h100?"),
        (["2 x hgx-h100 : rail 0gb", "--flows", THREE], "Pod, column 21"),
        (["2 x hgx-h100 : rail", "--flows", THREE], "does not say of which host"),
    ],
)
def test_predict_refuses_bad_input_in_a_sentence(
    predict: Command, arguments: list[str], message: str
) -> None:
    code, out, err = predict(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_predict_refuses_a_calibration_of_another_machine(predict: Command, tmp_path: Path) -> None:
    strange = CalibrationDocument(
        tool=Tool(tool_version="1"),
        machine=machine("socket: gpu(a100)"),
        links=measured("hgx-h100", 1e9).links,
    )
    path = tmp_path / "strange.json"
    path.write_bytes(encode(strange))
    code, _, err = predict(str(path), "--flows", "host:0 > gpu:0")
    assert code == 2
    assert "give a calibration of this machine" in err


def test_predict_refuses_results_and_tells_how_to_calibrate(
    predict: Command, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(encode(results()))
    code, _, err = predict(str(path), "--flows", "host:0 > gpu:0")
    assert code == 2
    assert f"topoprobe calibrate {path}" in err
