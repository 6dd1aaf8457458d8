"""Data sheets: every number has a source, none is sparse, none is there twice."""

from __future__ import annotations

import pytest

from topoprobe.machine.synthetic.parts import GPUS
from topoprobe.model.catalogue.devices import (
    NOMINAL_DEVICES,
    NominalDevice,
    find_by_driver_name,
    find_nominal_device,
    memory_rate,
    named_figures,
)

H100 = find_nominal_device("h100-80gb-sxm")
every_device = pytest.mark.parametrize("device", NOMINAL_DEVICES, ids=lambda device: device.name)


@every_device
def test_number_has_a_source_and_is_above_zero(device: NominalDevice) -> None:
    figures = list(named_figures(device))
    assert len(figures) >= 9
    for name, figure in figures:
        assert figure.value > 0, name
        assert figure.source.startswith(("NVIDIA", "AMD", "architecture")), name


@every_device
def test_rates_are_dense(device: NominalDevice) -> None:
    rates = {dtype: figure.value for dtype, figure in device.compute_flop_per_s.items()}
    if "bf16" in rates:
        assert rates["bf16"] == rates["fp16"]
    if "fp8" in rates:
        assert rates["fp8"] == pytest.approx(2 * rates["fp16"], rel=0.03)
    if "tf32" in rates:
        assert rates["tf32"] == pytest.approx(rates["fp16"] / 2, rel=0.02)
    assert rates["fp32"] < rates["fp16"]
    for dtype, figure in device.half_accumulate_flop_per_s.items():
        assert figure.value == pytest.approx(2 * rates[dtype], rel=0.01)


def test_names_are_unique() -> None:
    for names in (
        [device.name for device in NOMINAL_DEVICES],
        [device.title for device in NOMINAL_DEVICES],
        [device.driver_name for device in NOMINAL_DEVICES if device.driver_name],
    ):
        assert len(names) == len(set(names))


def test_devices_of_the_built_in_machines_are_found_by_their_driver_names() -> None:
    assert all(find_by_driver_name(gpu.name) is not None for gpu in GPUS.values())


@pytest.mark.parametrize("part", sorted(GPUS))
def test_device_agrees_with_the_part_of_made_up_machines(part: str) -> None:
    device, gpu = find_by_driver_name(GPUS[part].name), GPUS[part]
    assert device is not None
    assert device.memory_bytes.value == pytest.approx(gpu.memory_bytes, rel=0.10)
    assert device.pcie.generation.value == gpu.generation
    links = device.peer_links
    assert (None if links is None else links.bytes_per_s.value) == gpu.link_bytes_per_s


def test_rtx_figures_from_a_white_paper_alone_are_marked() -> None:
    device = find_nominal_device("rtx5090-32gb")
    assert device is not None
    unchecked = {name for name, figure in named_figures(device) if not figure.is_checked}
    assert "memory_bytes" in unchecked
    assert "compute fp8, fp16 accumulation" in unchecked
    assert unchecked.isdisjoint({"compute bf16", "compute fp8", "compute fp32"})


def test_memory_rate_of_the_driver_wins_over_the_catalogue() -> None:
    assert H100 is not None
    of_driver = memory_rate(H100, bus_width_bits=5120, memory_clock_hz=2619e6)
    assert of_driver is not None
    assert of_driver.value == pytest.approx(3352e9, rel=1e-3)
    assert of_driver.source == "driver: 5120 bit x 2619 MHz x 2"


@pytest.mark.parametrize(("bus", "clock"), [(None, 2619e6), (5120, None), (None, None)])
def test_memory_rate_without_the_driver_is_the_catalogue(
    bus: int | None, clock: float | None
) -> None:
    assert H100 is not None
    assert memory_rate(H100, bus_width_bits=bus, memory_clock_hz=clock) == H100.memory_bytes_per_s
    assert memory_rate(None, bus_width_bits=bus, memory_clock_hz=clock) is None
