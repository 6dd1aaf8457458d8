"""What products are sold with."""

from __future__ import annotations

import pytest

from topoprobe.machine.nvlink import (
    capability_of_device,
    capability_of_model,
    expected_num_nvlinks,
    expected_nvlinks,
    nominal_bytes_per_s,
    nvlink_bytes_per_s,
)
from topoprobe.records.machine import Gpu


@pytest.mark.parametrize(
    ("model", "capability", "count"),
    [
        ("Tesla P100-SXM2-16GB", "6.0", 4),
        ("Tesla P100-PCIE-16GB", "6.0", 0),
        ("Tesla V100-SXM2-32GB", "7.0", 6),
        ("GV100GL [Tesla V100 SXM3 32GB]", "7.0", 6),
        ("Tesla V100S-PCIE-32GB", "7.0", 0),
        ("NVIDIA A100-SXM4-80GB", "8.0", 12),
        ("NVIDIA A100-PCIE-40GB", "8.0", None),
        ("NVIDIA A100 80GB PCIe", "8.0", None),
        ("NVIDIA A800-SXM4-80GB", "8.0", 8),
        ("NVIDIA H100 80GB HBM3", "9.0", 18),
        ("GH100[H100 SXM5 80GB]", "9.0", 18),
        ("NVIDIA H100 PCIe", "9.0", None),
        ("NVIDIA H100 NVL", "9.0", None),
        ("NVIDIA H200", "9.0", 18),
        ("NVIDIA H200 NVL", "9.0", None),
        ("NVIDIA H20", "9.0", 18),
        ("NVIDIA H800", "9.0", 8),
        ("NVIDIA GH200 480GB", "9.0", None),
        ("NVIDIA B200", "10.0", 18),
        ("NVIDIA GB200", "10.0", 18),
        ("NVIDIA GB300", "10.3", 18),
        ("NVIDIA RTX A6000", "8.6", None),
        ("NVIDIA GeForce RTX 3090", "8.6", None),
        ("NVIDIA A40", "8.6", None),
        ("Tesla T4", "7.5", 0),
        ("NVIDIA Rubin", None, None),
        (None, None, None),
    ],
)
def test_product_has_the_links_it_is_sold_with(
    model: str | None, capability: str | None, count: int | None
) -> None:
    assert capability_of_model(model) == capability
    assert expected_nvlinks(model, None, None) == count


@pytest.mark.parametrize(
    ("device", "count"), [("2330", 18), ("20b0", 12), ("1db8", 6), ("2941", 18), ("2331", None)]
)
def test_device_id_goes_before_the_name(device: str, count: int | None) -> None:
    assert expected_nvlinks("NVIDIA Graphics Device", None, device) == count


@pytest.mark.parametrize(
    ("capability", "count"), [("8.9", 0), ("12.0", 0), ("9.0", None), (None, None)]
)
def test_capability_alone_tells_only_generations_without_links(
    capability: str | None, count: int | None
) -> None:
    assert expected_nvlinks("NVIDIA Graphics Device", capability, "ffff") == count


def test_divided_gpu_is_expected_to_have_nothing() -> None:
    gpu = Gpu(id="gpu:0", name="NVIDIA A100-SXM4-40GB", pci_vendor="10de")
    assert expected_num_nvlinks(gpu) == 12
    mig = Gpu(id="gpu:0", name="NVIDIA A100-SXM4-40GB", is_mig_enabled=True)
    assert expected_num_nvlinks(mig) is None
    amd = Gpu(id="gpu:0", name="A100-SXM4", pci_vendor="1002")
    assert expected_num_nvlinks(amd) is None


@pytest.mark.parametrize(
    ("printed", "nominal"),
    [
        (25.0, 25e9),
        (25.781, 25e9),
        (26.562, 25e9),
        (53.125, 50e9),
        (14.062, 14.0625e9),
        (31.5, 31.5e9),
    ],
)
def test_printed_rate_has_its_nominal_one(printed: float, nominal: float) -> None:
    assert nominal_bytes_per_s(printed) == nominal


def test_rates_and_capabilities_of_unknown_parts_are_unknown() -> None:
    assert nvlink_bytes_per_s("9.0") == 25e9
    assert nvlink_bytes_per_s("9.9") is None
    assert nvlink_bytes_per_s(None) is None
    assert capability_of_device("10de", "2330") == "9.0"
    assert capability_of_device("1002", "2330") is None
