"""What people read: findings, tree, matrix, contradictions, unknown facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from topoprobe.machine.building import build
from topoprobe.machine.explaining import explain
from topoprobe.machine.fabrics import draw_fabrics
from topoprobe.machine.facts import Facts, HostFact, PartitionFact, PciFact
from topoprobe.machine.findings import findings
from topoprobe.machine.matrix import draw_matrix
from topoprobe.machine.pcie import capability
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.synthetic import NAMES as MACHINES
from topoprobe.machine.synthetic import machine_facts
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


def made_up(text: str) -> MachineDocument:
    facts = machine_facts(text)
    assert facts is not None
    return build([facts], origin="synthetic", tool=Tool(tool_version="0"))


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("width", [80, 120])
def test_built_in_machine_fits_the_terminal(name: str, width: int) -> None:
    text = explain(made_up(name), width)
    assert max(len(line) for line in text.splitlines()) <= width


def test_sixteen_gpus_and_twenty_six_nics_are_readable_at_eighty_columns() -> None:
    text = draw_matrix(Machine(made_up("2 socket: 2 switch: 4 gpu, 6 nic, 1 nvme")), 80)
    wide = draw_matrix(Machine(made_up("2 socket: [8 gpu, 13 nic]")), 80)
    for drawn, num_gpus, num_nics in ((text, 16, 24), (wide, 16, 26)):
        lines = drawn.splitlines()
        assert max(map(len, lines)) <= 80
        assert "…" not in drawn
        heads = [word for line in lines if line.startswith("   ") for word in line.split()]
        assert heads[: num_gpus + num_nics] == [
            *(f"GPU{i}" for i in range(num_gpus)), *(f"NIC{i}" for i in range(num_nics)),
        ]  # fmt: skip
        assert all(sum(line.startswith(f"GPU{i} ") for line in lines) >= 4 for i in range(num_gpus))


def test_drives_are_columns_and_neighbours_alike_share_one() -> None:
    text = draw_matrix(Machine(made_up("2 socket: 2 switch: gpu, 2 nvme(1tb)")), 120)
    head, row = (line.split() for line in text.splitlines()[:2])
    assert head[4:9] == ["NVMe0-1", "NVMe2-3", "NVMe4-5", "NVMe6-7", "NUMA"]
    assert row[5:10] == ["PIX", "PHB", "SYS", "SYS", "0"]
    assert "NVMe7  nvme7n1  931 GiB" in text


def test_dgx2_shows_which_switches_each_gpu_has_links_to(recordings: Path) -> None:
    text = draw_fabrics(Machine(read(recordings, "hwloc-xml/nvidiaDGX2.xml")), 80)
    rows = [line.split() for line in text.splitlines() if line.startswith("GPUs")]
    assert rows == [
        ["GPUs", "0-7", *["1"] * 6, *["-"] * 6, "6", "150", "GB/s"],
        ["GPUs", "8-15", *["-"] * 6, *["1"] * 6, "6", "150", "GB/s"],
    ]
    assert "SW11 0000:c7:00.0" in text


def test_hidden_switches_fabric_and_links_to_cpus_are_sentences() -> None:
    text = " ".join(draw_fabrics(Machine(made_up("gb200-nvl4-tray")), 80).split())
    assert "GPUs 0-3 each have 18 NVLinks (900 GB/s each way) to NVSwitches whose" in text
    assert "clique 1 of cluster" in text
    assert "GPUs 0-3 each have 5 C2C links (224 GB/s each way) to the CPU." in text


def test_hives_are_told_apart_where_there_are_several(recordings: Path) -> None:
    document = read(recordings, "kfd/topo-mi210-xgmi-pcie.tar.xz")
    text = draw_fabrics(Machine(document), 80)
    assert text.startswith("xGMI hives: GPUs 0-3; GPUs 4-7;")


def test_direct_links_and_no_links_need_no_block_of_their_own(recordings: Path) -> None:
    assert draw_fabrics(Machine(made_up("dgx-v100")), 80) == ""
    assert draw_fabrics(Machine(read(recordings, "hwloc-xml/g4dnmetal.xml")), 80) == ""


def test_numa_node_that_is_gpu_memory_is_named_so(recordings: Path) -> None:
    text = explain(read(recordings, "sysfs/nvidiagpunumanodes.tar.bz2"), 120)
    assert "NUMA node 255 · 15.0 GiB · memory of GPU 0\n" in text
    assert "NUMA node 250 · 15.0 GiB · memory of GPU 5\n" in text


def test_virtual_functions_are_counted_and_partitions_listed() -> None:
    physical = PciFact(
        address="0000:01:00.0", root="0000:00", class_code="020000", has_interface=True
    )
    virtual = [
        PciFact(address=f"0000:01:00.{i}", root="0000:00", class_code="020000",
                physical_function=physical.address)
        for i in range(1, 4)
    ]  # fmt: skip
    gpu = PciFact(address="0000:02:00.0", root="0000:00", class_code="030200", vendor="10de")
    part = PartitionFact(key="0", subject=gpu.address, name="1g.10gb", partition_kind="mig")
    facts = Facts(source="a", functions=(physical, *virtual, gpu), partitions=(part,))
    text = explain(build([facts], origin="live", tool=Tool(tool_version="0")), 80)
    assert "└─ virtual functions: 3\n" in text
    assert "└─ MIG 1g.10gb\n" in text


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
