from __future__ import annotations

import dataclasses

import pytest

from topoprobe.errors import ModelError
from topoprobe.model.calibration.builtin import builtin_calibration
from topoprobe.model.catalogue.devices import NOMINAL_DEVICES, NominalDevice, find_nominal_device
from topoprobe.model.catalogue.shapes import LLAMA_2_7B, TINY_LLAMA, find_shape
from topoprobe.model.cost import FEATURES, StepFeatures, derive_law, law_from, num_matrix_parameters
from topoprobe.model.deployment import (
    Deployment,
    deploy_calibrated,
    deploy_nominal,
    num_kv_blocks,
)
from topoprobe.records.base import Estimate, Source, Tool
from topoprobe.records.calibration import (
    CalibrationDocument,
    Coefficient,
    ComputeRate,
    DeviceCalibration,
    ModelCost,
    ModelShape,
)
from topoprobe.records.machine import Host, MachineDocument

A100 = next(each for each in NOMINAL_DEVICES if each.name == "a100-80gb-sxm")
TOOL = Tool(tool_version="0")


def estimate(value: float) -> Estimate:
    return Estimate(
        value=value, low=value, high=value, source=Source.MEASURED, n=5, evidence="test"
    )


def cost(shape: ModelShape = TINY_LLAMA, **changes: float) -> ModelCost:
    return ModelCost(
        model=shape,
        devices=("host",),
        coefficients=tuple(
            Coefficient(feature=feature, unit="s", estimate=estimate(1e-3)) for feature in FEATURES
        ),
        num_fit_shapes=20,
        num_validation_shapes=7,
        **changes,
    )


def calibration(*models: ModelCost, with_rates: bool = True) -> CalibrationDocument:
    rates = ()
    if with_rates:
        rates = tuple(
            ComputeRate(
                dtype="fp32",
                method=method,
                num_threads=2,
                variant="numpy",
                rate_flop_per_s=estimate(rate),
            )
            for method, rate in (("fma", 1e11), ("gemm", 2e11))
        )
    device = DeviceCalibration(
        device="host",
        kind="cpu",
        name="a CPU",
        memory_bytes=estimate(8e9),
        memory_bandwidth_bytes_per_s=estimate(5e10),
        compute=rates,
    )
    machine = MachineDocument(
        tool=TOOL, origin="synthetic", sources=(), nodes=(Host(id="host", name="host"),)
    )
    return CalibrationDocument(tool=TOOL, machine=machine, devices=(device,), models=models)


def test_nominal_deployment_is_the_roofline_of_the_data_sheet() -> None:
    deployment = deploy_nominal(A100, "llama-2-7b")
    assert deployment.law == derive_law(LLAMA_2_7B, flop_per_s=312e12, bytes_per_s=2039e9)
    assert deployment.source is Source.NOMINAL
    assert "data sheet" in deployment.evidence


@pytest.mark.parametrize("device", NOMINAL_DEVICES, ids=lambda device: device.name)
def test_every_nominal_device_runs_a_published_model(device: NominalDevice) -> None:
    assert find_nominal_device(device.name) is device
    deployment = deploy_nominal(device, "llama-2-7b")
    law = deployment.law
    assert law.per_token_ps == round(
        2 * num_matrix_parameters(LLAMA_2_7B) * 1e12 / device.compute_flop_per_s["fp16"].value
    )
    assert num_kv_blocks(deployment, 16, None) > 100


def test_unknown_names_are_refused() -> None:
    assert find_nominal_device("abacus") is None
    assert find_shape("abacus") is None
    with pytest.raises(ModelError, match="no model 'abacus'; expected one of llama-2-7b"):
        deploy_nominal(A100, "abacus")


def test_nominal_device_without_the_data_type_is_refused() -> None:
    device = dataclasses.replace(
        A100, title="X", compute_flop_per_s={"fp64": A100.compute_flop_per_s["fp64"]}
    )
    with pytest.raises(ModelError, match="X has no nominal fp32 rate"):
        deploy_nominal(device, "tiny-llama")


@pytest.mark.parametrize("model", ["llama-2-7b", "llama-3-8b"])
def test_builtin_deployment_sums_operators(model: str) -> None:
    document = builtin_calibration("hgx-h100")
    assert document is not None
    deployment = deploy_calibrated(document, model)
    sheet = find_nominal_device("h100-80gb-sxm")
    assert sheet is not None
    nominal = deploy_nominal(sheet, model).law
    decode = StepFeatures(
        num_sequences=8, num_tokens=8, num_prefill_pairs=0, num_context_tokens=8000
    )
    assert deployment.source is Source.DERIVED
    assert "timed on NVIDIA H100 80GB HBM3 with vLLM 0.24.0" in deployment.evidence
    assert 1.0 < deployment.law.per_token_ps / nominal.per_token_ps < 1.6
    assert 1.0 < deployment.law.step_ps(decode) / nominal.step_ps(decode) < 1.6


def test_builtin_deployment_without_operators_is_nominal() -> None:
    for machine, model in (("mi300x", "llama-3-8b"), ("hgx-h100", "tiny-llama")):
        document = builtin_calibration(machine)
        assert document is not None
        assert deploy_calibrated(document, model).source is Source.NOMINAL


def test_calibrated_deployment_takes_the_measured_law() -> None:
    measured = cost(mean_error_ratio=0.05)
    deployment = deploy_calibrated(calibration(measured), None)
    assert deployment.law == law_from(measured)
    assert deployment.source is Source.MEASURED
    assert deployment.evidence == (
        "step law fitted on 20 shapes, mean error 5.0% on 7 other shapes"
    )
    assert deployment.memory_bytes == 8e9


def test_calibration_with_several_laws_asks_which() -> None:
    document = calibration(cost(), cost(LLAMA_2_7B))
    with pytest.raises(ModelError, match="tiny-llama:fp32, llama-2-7b:fp16; name one"):
        deploy_calibrated(document, None)
    assert deploy_calibrated(document, "llama-2-7b:fp16").shape == LLAMA_2_7B


def test_calibration_without_the_law_derives_it_from_the_best_ceilings() -> None:
    deployment = deploy_calibrated(calibration(), "tiny-llama")
    assert deployment.law == derive_law(TINY_LLAMA, flop_per_s=2e11, bytes_per_s=5e10)
    assert deployment.source is Source.DERIVED
    assert deployment.evidence == "roofline of a CPU; no step was measured"


def test_calibration_that_cannot_answer_says_why() -> None:
    with pytest.raises(ModelError, match="no step law; name a model"):
        deploy_calibrated(calibration(), None)
    with pytest.raises(ModelError, match="no device with a measured fp32 rate"):
        deploy_calibrated(calibration(with_rates=False), "tiny-llama")
    with pytest.raises(ModelError, match="no device with a measured fp16 rate"):
        deploy_calibrated(calibration(), "llama-2-7b")


def test_model_without_a_rate_of_its_type_is_offered_in_one_that_runs() -> None:
    document = builtin_calibration("dgx-v100")
    assert document is not None
    with pytest.raises(ModelError, match=r"rate .*, or choose llama-3-8b:fp16\.$"):
        deploy_calibrated(document, "llama-3-8b")
    assert deploy_calibrated(document, "llama-3-8b:fp16").shape.dtype == "fp16"
    volta = find_nominal_device("v100-32gb-sxm")
    assert volta is not None
    with pytest.raises(ModelError, match=r"choose another device, or llama-3-8b:fp16\.$"):
        deploy_nominal(volta, "llama-3-8b")


def test_type_whose_weights_exceed_the_memory_is_not_offered() -> None:
    with pytest.raises(ModelError, match=r"or choose another model\.$"):
        deploy_calibrated(calibration(), "llama-2-7b")


def test_kv_blocks_fill_what_the_weights_leave() -> None:
    deployment = deploy_nominal(A100, "llama-2-7b")
    assert num_kv_blocks(deployment, 16, None) == int((72e9 - 13_476_298_752) / (16 * 512 * 1024))
    assert num_kv_blocks(deployment, 32, 20e9) == int((20e9 - 13_476_298_752) / (32 * 512 * 1024))


def test_kv_blocks_without_room_are_refused() -> None:
    deployment = deploy_nominal(A100, "llama-2-7b")
    with pytest.raises(ModelError, match=r"takes 12.6 GiB for weights"):
        num_kv_blocks(deployment, 16, 13e9)


def test_kv_blocks_without_a_memory_size_are_refused() -> None:
    known = deploy_nominal(A100, "llama-2-7b")
    unknown = Deployment(known.shape, ("x",), known.law, known.source, "", memory_bytes=None)
    with pytest.raises(ModelError, match="give --memory or --num-blocks"):
        num_kv_blocks(unknown, 16, None)
