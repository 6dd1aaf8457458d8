"""Built-in machines have a calibration: valid, sourced, and marked as not measured."""

from __future__ import annotations

import pytest

from topoprobe.model.calibration.builtin import BUILTIN_NAMES, builtin_calibration
from topoprobe.model.catalogue.devices import find_nominal_device
from topoprobe.records.base import Source
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.documents import decode, encode
from topoprobe.records.machine import Gpu

every_machine = pytest.mark.parametrize("name", BUILTIN_NAMES)


def calibration(name: str) -> CalibrationDocument:
    document = builtin_calibration(name)
    assert document is not None
    return document


@every_machine
def test_builtin_calibration_is_a_valid_document(name: str) -> None:
    document = calibration(name)
    assert decode(encode(document)) == document
    gpus = [node.id for node in document.machine.nodes if isinstance(node, Gpu)]
    assert [device.device for device in document.devices] == gpus


@every_machine
def test_builtin_calibration_gives_each_link_a_rate_or_the_reason(name: str) -> None:
    document = calibration(name)
    rated = {link.link for link in document.links}
    missing = {each.subject for each in document.missing}
    assert {link.id for link in document.machine.links} <= rated | missing
    for link in document.links:
        assert link.a_to_b_bytes_per_s is not None
        assert link.a_to_b_bytes_per_s.source is Source.NOMINAL
        assert link.a_to_b_bytes_per_s == link.b_to_a_bytes_per_s


def test_builtin_devices_have_the_figures_of_their_data_sheet() -> None:
    nominal = find_nominal_device("v100-32gb-sxm")
    assert nominal is not None
    for device in calibration("dgx-v100").devices:
        assert device.memory_bandwidth_bytes_per_s is not None
        assert device.memory_bandwidth_bytes_per_s.value == 900e9
        assert device.memory_bandwidth_bytes_per_s.evidence.startswith("NVIDIA V100 data sheet")
        rates = {rate.dtype: rate.rate_flop_per_s.value for rate in device.compute}
        assert rates == {k: v.value for k, v in nominal.compute_flop_per_s.items()}


@pytest.mark.parametrize(
    ("name", "num_operators"), [("dgx-a100", 7), ("hgx-h100", 7), ("hgx-h200", 7), ("4xl40s", 3)]
)
def test_builtin_operators_are_those_that_others_timed(name: str, num_operators: int) -> None:
    document = calibration(name)
    assert len(document.operators) == num_operators
    for cost in document.operators:
        assert cost.devices == tuple(device.device for device in document.devices)
        for each in cost.coefficients:
            assert each.estimate.source is Source.DERIVED
            assert each.estimate.low <= each.estimate.value <= each.estimate.high
            assert "aiconfigurator @095f58a, Apache-2.0" in each.estimate.evidence
            assert f"mean error {cost.mean_error_ratio:.1%}" in each.estimate.evidence


@pytest.mark.parametrize("name", ["dgx-v100", "hgx-b200", "mi300x", "8x4090", "gb200-nvl4-tray"])
def test_builtin_machine_that_nobody_timed_has_no_operators(name: str) -> None:
    document = calibration(name)
    assert document.operators == ()
    without = {each.subject for each in document.missing if each.fact == "operators"}
    assert without == {device.device for device in document.devices}


@every_machine
def test_builtin_devices_are_in_the_catalogue(name: str) -> None:
    for device in calibration(name).devices:
        assert device.compute
        assert device.memory_bandwidth_bytes_per_s is not None


@pytest.mark.parametrize("name", ["abacus", "2 socket: 2 gpu(h100)", ""])
def test_other_names_have_no_builtin_calibration(name: str) -> None:
    assert builtin_calibration(name) is None
