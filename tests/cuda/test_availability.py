from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from topoprobe.measure.devices.cuda.availability import cuda_gap, nvidia_gpus
from topoprobe.records.base import Tool
from topoprobe.records.machine import AnyNode, Gpu, Host, MachineDocument


def machine_with(*gpus: Gpu) -> MachineDocument:
    nodes: tuple[AnyNode, ...] = (Host(id="host", name="test"), *gpus)
    return MachineDocument(tool=Tool(tool_version="0"), origin="synthetic", sources=(), nodes=nodes)


def gpu(
    address: str = "0000:01:00.0",
    vendor: str = "0x10de",
    driver: str | None = "nvidia 580.95.05",
    capability: str | None = "9.0",
) -> Gpu:
    return Gpu(
        id=f"gpu@{address}",
        name="GPU",
        pci_address=address,
        pci_vendor=vendor,
        driver=driver,
        compute_capability=capability,
    )


@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "cupy" else real(name)
    )


def test_gap_without_a_gpu_says_so() -> None:
    assert cuda_gap(machine_with()) == "this machine has no NVIDIA GPU"


def test_gap_with_another_vendors_gpu_says_why_it_cannot_be_measured() -> None:
    assert "not NVIDIA's" in (cuda_gap(machine_with(gpu(vendor="0x1002"))) or "")


def test_gap_with_a_foreign_driver_names_it() -> None:
    assert "nouveau" in (cuda_gap(machine_with(gpu(driver="nouveau"))) or "")


@pytest.mark.parametrize(
    ("driver", "capability", "extra"),
    [
        ("nvidia 580.95.05", "9.0", "cuda13"),
        ("nvidia 570.86", "9.0", "cuda12"),
        ("nvidia 580.95.05", "7.0", "cuda12"),
        ("nvidia", None, "cuda13"),
    ],
)
def test_gap_without_cupy_names_the_extra_that_suits_driver_and_gpu(
    no_cupy: None, driver: str, capability: str | None, extra: str
) -> None:
    machine = machine_with(gpu(driver=driver, capability=capability))
    assert cuda_gap(machine) == f"cupy is not installed; pip install 'topoprobe[{extra}]'"


def test_gap_with_cupy_and_a_working_driver_is_none(fake_cupy: ModuleType) -> None:
    assert cuda_gap(machine_with(gpu())) is None


def test_gap_with_cupy_and_a_driver_that_fails_repeats_its_words(
    fake_cupy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise fake_cupy.cuda.runtime.CUDARuntimeError("cudaErrorInsufficientDriver: too old")

    monkeypatch.setattr(fake_cupy.cuda.runtime, "getDeviceCount", fail)
    assert "cudaErrorInsufficientDriver: too old" in (cuda_gap(machine_with(gpu())) or "")


def test_gap_with_every_gpu_hidden_says_where_to_look(
    fake_cupy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_cupy.cuda.runtime, "getDeviceCount", lambda: 0)
    assert "CUDA_VISIBLE_DEVICES" in (cuda_gap(machine_with(gpu())) or "")


def test_nvidia_gpus_are_in_address_order() -> None:
    machine = machine_with(gpu("0000:41:00.0"), gpu("0000:01:00.0"), gpu("0000:11:00.0", "0x1002"))
    assert [one.pci_address for one in nvidia_gpus(machine)] == ["0000:01:00.0", "0000:41:00.0"]
