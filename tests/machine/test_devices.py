"""Telling kinds and names of PCI functions."""

from __future__ import annotations

import pytest

from topoprobe.machine.devices import Kind, kind_of, label_of, model_of
from topoprobe.machine.facts import PciFact


def function(class_code: str | None, vendor: str, device: str, **more: object) -> PciFact:
    return PciFact(
        address="0000:01:00.0", class_code=class_code, vendor=vendor, device=device, **more
    )


@pytest.mark.parametrize(
    ("class_code", "vendor", "device", "kind"),
    [
        ("030200", "10de", "2330", Kind.GPU),
        ("030000", "10de", "2684", Kind.GPU),
        ("040300", "10de", "22ba", Kind.OTHER),  # its sound
        ("0c0330", "10de", "1ad8", Kind.OTHER),  # its USB
        ("0c8000", "10de", "1ad9", Kind.OTHER),  # its USB-C
        ("068000", "10de", "22a3", Kind.NVSWITCH),
        ("0680", "10de", "1af1", Kind.NVSWITCH),
        ("068000", "8086", "09a2", Kind.OTHER),
        ("120000", "1002", "74a5", Kind.GPU),
        ("038000", "1002", "66a1", Kind.GPU),
        ("030000", "1002", "164e", Kind.GPU),  # inside an AMD processor
        ("030000", "8086", "4680", Kind.GPU),  # inside an Intel processor
        ("030000", "1a03", "2000", Kind.OTHER),
        ("030000", "102b", "0536", Kind.OTHER),
        ("030000", "1002", "515e", Kind.OTHER),
        ("030000", "1002", "474f", Kind.OTHER),
        ("030000", "1013", "00b8", Kind.OTHER),
        ("030000", "1af4", "1050", Kind.OTHER),
        ("030000", "1414", "5353", Kind.OTHER),
        ("0b4000", "1bcf", "001c", Kind.GPU),
        ("0b4000", "8086", "4940", Kind.OTHER),
        ("060400", "1000", "c030", Kind.BRIDGE),
        ("020700", "15b3", "1021", Kind.NIC),
        ("02", "15b3", "1021", Kind.NIC),
        ("028000", "17db", "0501", Kind.NIC),
        ("010802", "144d", "a80a", Kind.NVME),
        ("010700", "1000", "00b2", Kind.OTHER),
        ("050210", "1b00", "c000", Kind.CXL_MEMORY),
        ("060000", "8086", "09a2", Kind.OTHER),
        (None, "10de", "2330", Kind.OTHER),
    ],
)
def test_kind_follows_from_class_and_vendor(
    class_code: str | None, vendor: str, device: str, kind: Kind
) -> None:
    assert kind_of(function(class_code, vendor, device), has_storage=False) is kind


def test_management_screen_is_known_by_its_name_too() -> None:
    screen = PciFact(address="0000:01:00.0", class_code="0300", vendor="1002", name="ES1000")
    assert kind_of(screen, has_storage=False) is Kind.OTHER


def test_word_of_a_source_goes_before_the_class() -> None:
    gpu = PciFact(address="0000:01:00.0", vendor="10de", kind="gpu")
    assert kind_of(gpu, has_storage=False) is Kind.GPU


def test_network_function_without_an_interface_is_no_nic() -> None:
    assert kind_of(function("0200", "15b3", "1021", has_interface=False), has_storage=False) is (
        Kind.OTHER
    )


@pytest.mark.parametrize(
    ("vendor", "device", "model"),
    [
        ("10de", "2335", "NVIDIA H200-SXM-141GB"),
        ("10de", "2901", "NVIDIA B200"),
        ("10de", "2941", "NVIDIA GB200"),
        ("10de", "26b9", "NVIDIA L40S"),
        ("10de", "27b8", "NVIDIA L4"),
        ("10de", "2236", "NVIDIA A10"),
        ("10de", "2684", "NVIDIA GeForce RTX 4090"),
        ("10de", "2b85", "NVIDIA GeForce RTX 5090"),
        ("1002", "74a5", "AMD Instinct MI325X"),
        ("1002", "75a0", "AMD Instinct MI350X"),
        ("15b3", "1021", "Mellanox ConnectX-7"),
        ("15b3", "1023", "Mellanox ConnectX-8"),
        ("15b3", "a2dc", "Mellanox BlueField-3"),
        ("1000", "c030", "Broadcom PEX890xx Gen5 switch"),
    ],
)
def test_numbers_of_servers_devices_have_names(vendor: str, device: str, model: str) -> None:
    assert model_of(function(None, vendor, device)) == model


def test_unknown_numbers_are_shown_with_what_the_class_says() -> None:
    assert label_of(function("0302", "10de", "ffee")) == "NVIDIA GPU 10de:ffee"
    assert label_of(function("0880", "1234", "0001")) == "system peripheral 1234:0001"
