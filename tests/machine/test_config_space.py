"""Configuration spaces written by hand, and what lspci says of the same bytes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.machine.config_bytes import Space, gpu
from topoprobe.machine.config_space import (
    AccessControl,
    ConfigSpace,
    ResizableBar,
    VirtualFunctions,
    read_config_space,
)
from topoprobe.machine.pcie import capability
from topoprobe.records.machine import PortRole

MIB, GIB = 1 << 20, 1 << 30


def test_every_capability_of_a_full_space_is_read() -> None:
    found = gpu().read()
    assert (found.power_state, found.port_type, found.role) == ("D3hot", 0, None)
    assert found.maximum == capability(32e9, 16)
    assert found.current == capability(2.5e9, 16)
    assert found.max_payload_supported_bytes == 512
    assert (found.max_payload_bytes, found.max_read_request_bytes) == (256, 4096)
    assert found.access_control == AccessControl(
        ("SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "DirectTrans"),
        ("SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd"),
    )
    assert found.resizable_bars == (
        ResizableBar(1, 256 * MIB, (256 * MIB, 512 * MIB)),
        ResizableBar(3, 128 * GIB, (128 * GIB,)),
    )
    assert found.virtual_functions == VirtualFunctions(32, 4, 4, 1)
    assert found.is_cxl


def test_shorter_readings_tell_less() -> None:
    user, plain = gpu().read(64), gpu().read(256)
    assert user == ConfigSpace()
    assert plain.maximum == capability(32e9, 16)
    assert (plain.access_control, plain.resizable_bars, plain.is_cxl) == (None, (), False)


def test_bridge_tells_the_buses_behind_it_and_its_side_of_the_link() -> None:
    space = Space(is_bridge=True).put(0x18, 3, 0x1F1A19)
    space.express(6, (4, 8), (4, 4))
    found = space.read(256)
    assert (found.secondary_bus, found.subordinate_bus) == (0x1A, 0x1F)
    assert (found.role, found.current) == (PortRole.DOWNSTREAM, capability(16e9, 4))


@pytest.mark.parametrize(
    ("version", "rates", "rate"),
    [(2, 0b111, 8e9), (2, 0, 5e9), (1, 0b111, 5e9), (2, 0b1111111, 128e9)],
)
def test_highest_rate_is_of_the_list_where_the_version_has_one(
    version: int, rates: int, rate: float
) -> None:
    space = Space()
    space.express(0, (2, 4), (1, 4), rates, version)
    assert space.read().maximum == capability(rate, 4)


@pytest.mark.parametrize("told", [(0, 0), (0xF, 0x3F)])
def test_link_of_a_function_without_one_is_unknown(told: tuple[int, int]) -> None:
    space = Space()
    space.express(9, told, told)
    found = space.read()
    assert (found.maximum, found.current) == (None, None)


def test_reserved_packet_size_is_unknown() -> None:
    space = Space()
    at = space.express(0, (4, 16), (4, 16))
    space.put(at + 0x08, 2, 7 << 5 | 6 << 12)
    found = space.read()
    assert (found.max_payload_bytes, found.max_read_request_bytes) == (None, None)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\xff" * 64, ConfigSpace(is_gone=True)),
        (b"\xff" * 4096, ConfigSpace(is_gone=True)),
        (bytes(256), ConfigSpace(is_blank=True)),
        (b"", None),
        (b"\x86\x80", None),
    ],
)
def test_space_that_cannot_be_read_says_so(data: bytes, found: ConfigSpace | None) -> None:
    assert read_config_space(data) == found


def test_lists_that_lead_in_circles_end() -> None:
    space = gpu()
    space.put(0x41, 1, 0x40).put(0x100, 4, 0x100 << 20 | 1 << 16 | 0x0D)
    found = space.read()
    assert found.maximum is None
    assert found.access_control is not None


@given(length=st.integers(0, 4096), damage=st.lists(st.tuples(st.integers(0, 4095), st.binary())))
@settings(deadline=None, max_examples=60)
def test_damaged_space_never_raises(length: int, damage: list[tuple[int, bytes]]) -> None:
    data = gpu().data
    for at, junk in damage:
        data[at : at + len(junk)] = junk
    read_config_space(bytes(data[:length]))


@pytest.mark.skipif(shutil.which("lspci") is None, reason="lspci is not installed")
def test_lspci_reads_the_same(tmp_path: Path) -> None:
    rows = [f"{at:02x}: {gpu().data[at : at + 16].hex(' ')}" for at in range(0, 4096, 16)]
    dump = tmp_path / "dump"
    dump.write_text("\n".join(("0000:01:00.0 GPU", *rows, "")))
    told = subprocess.run(
        ["lspci", "-vvv", "-F", str(dump)], capture_output=True, text=True, check=True
    ).stdout
    said = re.sub(r"\s+", " ", told)
    for words in (
        "Status: D3",
        "DevCap: MaxPayload 512 bytes",
        "MaxPayload 256 bytes, MaxReadReq 4096 bytes",
        "LnkCap: Port #0, Speed 32GT/s, Width x16",
        "LnkSta: Speed 2.5GT/s (downgraded), Width x16",
        "ACSCap: SrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans+",
        "ACSCtl: SrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-",
        "BAR 1: current size: 256MB, supported: 256MB 512MB",
        "BAR 3: current size: 128GB, supported: 128GB",
        "Initial VFs: 32, Total VFs: 32, Number of VFs: 4",
        "VF offset: 4, stride: 1",
        "Vendor=1e98",
    ):
        assert words in said, words
