"""What people read: findings, tree, matrix, contradictions, unknown facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from topoprobe.machine.building import build
from topoprobe.machine.explaining import explain
from topoprobe.machine.facts import Facts, HostFact, PciFact
from topoprobe.machine.findings import findings
from topoprobe.machine.pcie import capability
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.base import Missing, Tool
from topoprobe.records.machine import MachineDocument

NAMES = [
    "nccl-xml/ndv4-topo.xml", "nccl-xml/oci-H100-topology.xml", "nccl-xml/ncv4-topo.xml",
    "nccl-xml/rccl-topo_8p_940.xml", "hwloc-xml/g4dnmetal.xml", "hwloc-xml/tuo.SPX.xml",
    "hwloc-xml/nvidiaDGX2.xml", "hwloc-xml/16intel64-manyVFs.xml",
]  # fmt: skip


def read(recordings: Path, name: str) -> MachineDocument:
    path = recordings / "topologies" / name
    return scan_files([(path.name, path.read_bytes())])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [80, 120])
def test_text_fits_the_terminal(name: str, width: int, recordings: Path) -> None:
    text = explain(read(recordings, name), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_ndv4_shows_findings_tree_matrix_and_unknown(recordings: Path) -> None:
    text = explain(read(recordings, "nccl-xml/ndv4-topo.xml"), 120)
    assert text.startswith("• 4 NUMA nodes, 8 GPUs, 8 NICs, 4 PCIe switches.")
    uplink = "share one Gen4 x16 uplink to the CPU: copies to all of them at once share 31.5 GB/s."
    assert uplink in " ".join(text.split())
    assert "│     └─ switch ffff:ff:02.0 · Gen4 x16 31.5 GB/s\n" in text
    rows = [line.split() for line in text.splitlines() if line.startswith("GPU0")]
    assert rows == [
        ["GPU0", "X", "PIX", *["SYS"] * 6, "PIX", "PIX", *["SYS"] * 6, "1", "NIC0,NIC1", "PIX",
         "24-47"],
    ]  # fmt: skip
    assert "PIX   one PCIe switch" in text
    assert "PHB may be NODE" in text


def test_matrix_continues_in_blocks_on_a_narrow_terminal(recordings: Path) -> None:
    text = explain(read(recordings, "nccl-xml/ndv4-topo.xml"), 80)
    assert len([line for line in text.splitlines() if line.startswith("GPU0")]) == 2


def test_xgmi_pairs_are_shown_as_such(recordings: Path) -> None:
    text = explain(read(recordings, "nccl-xml/rccl-topo_8p_940.xml"), 120)
    row = next(line for line in text.splitlines() if line.startswith("GPU0"))
    assert row.split()[1:9] == ["X", *["XGMI"] * 7]


def test_same_contradiction_on_many_devices_is_one_item(recordings: Path) -> None:
    text = explain(read(recordings, "nccl-xml/oci-H100-topology.xml"), 80)
    assert "pcie@0000:08:00.0 and 7 more: link capability: Gen2 x16 / Gen5 x16." in text


def test_far_nic_is_not_called_near(recordings: Path) -> None:
    document = read(recordings, "hwloc-xml/g4dnmetal.xml")
    assert any("Each of GPUs 0-3 has no NIC on its side" in s for s in findings(Machine(document)))
    assert "none near" in explain(document, 120)


def gpu_at(**more: Any) -> MachineDocument:
    port = PciFact(
        address="0000:00:01.0", root="0000:00", class_code="060400", maximum=capability(16e9, 16)
    )
    gpu = PciFact(
        address="0000:01:00.0", root="0000:00", parent=port.address, class_code="030200",
        vendor="10de", **more,
    )  # fmt: skip
    facts = Facts(source="a", tree="full", host=HostFact(name="h"), functions=(port, gpu))
    return build([facts], origin="live", tool=Tool(tool_version="0"))


def test_narrow_link_is_named_with_what_it_costs() -> None:
    document = gpu_at(maximum=capability(16e9, 16), current=capability(16e9, 8))
    said = findings(Machine(document))
    assert any("GPU 0 runs x8 of x16" in s and "50 %" in s for s in said)


def test_idle_speed_is_no_fault() -> None:
    document = gpu_at(maximum=capability(16e9, 16), current=capability(2.5e9, 16))
    assert not any("runs x" in s for s in findings(Machine(document)))
    assert "(Gen1 x16 now)" in explain(document, 100)


def test_narrow_slot_is_told_apart_from_a_bad_seat() -> None:
    wide = gpu_at(maximum=capability(16e9, 32))
    assert any("x32 card in an x16 slot" in s for s in findings(Machine(wide)))


def test_missing_driver_is_named_where_there_is_a_gpu() -> None:
    missing = Missing(subject="host", fact="nvml", reason="NVML library not found.")
    gpu = PciFact(address="0000:01:00.0", root="0000:00", class_code="030200", vendor="10de")
    facts = Facts(source="a", tree="full", functions=(gpu,), unknown=(missing,))
    document = build([facts], origin="live", tool=Tool(tool_version="0"))
    said = " ".join(findings(Machine(document)))
    assert "1 NVIDIA GPU cannot be used: NVML library not found. Install or load" in said


def test_hostile_name_cannot_drive_the_terminal_or_break_the_layout() -> None:
    host = HostFact(name="evil\x1b[2J\nname\x07")
    document = build([Facts(source="a", host=host)], origin="live", tool=Tool(tool_version="0"))
    text = explain(document, 80)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "evil?[2J name?" in text.splitlines()
