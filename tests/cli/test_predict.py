from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.model.calibration.samples import results
from topoprobe.cli.predict import can_be_measured
from topoprobe.machine.sources.scan import make_up
from topoprobe.measure.flows import parse_flow_set
from topoprobe.records.base import Estimate, Source, Tool
from topoprobe.records.calibration import (
    CalibrationDocument,
    LinkCalibration,
)
from topoprobe.records.documents import encode
from topoprobe.records.machine import MachineDocument

Command = Callable[..., tuple[int, str, str]]
THREE = "host:0 > gpu:0 via ce | host:0 > gpu:1 via ce | nic:0 > gpu:0, txn=128"


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


@pytest.mark.parametrize(
    ("flow", "can"),
    [
        ("host:0 > gpu:0", True),
        ("nic:0 > host:0, txn=64KiB", True),
        ("nic:0 > gpu:0", False),
        ("nic:0 > host:0, cap=1G", False),
        ("nvme:0 > host:0, txn=100", False),
        ("host:0 > gpu:0, size=100", False),
        ("host:0 > core:0, size=1MiB", True),
        ("host:0 > core:0, chunk=64KiB", False),
        ("h0/host:0 > h0/gpu:0", False),
    ],
)
def test_next_step_is_bench_only_for_what_it_takes(flow: str, can: bool) -> None:
    assert can_be_measured(parse_flow_set(flow).flows[0]) is can


@pytest.mark.parametrize(
    ("flow", "names_bench"),
    [
        ("gpu:0 > gpu:0 via sm, work=gemm", True),
        ("gpu:0 > gpu:0, work=gemm", False),
        ("host:0 > gpu:0, work=stream", False),
        ("gpu:0 > gpu:0 via sm, work=chase", False),
        ("gpu:0 > gpu:0 via sm:4, work=gemv", False),
    ],
)
def test_predict_of_work_names_bench_only_where_it_measures_it(
    predict: Command, flow: str, names_bench: bool
) -> None:
    code, _, err = predict("hgx-h100", "--flows", flow)
    assert code == 2
    assert ("bench" in err) is names_bench


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
