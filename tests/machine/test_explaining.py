"""What people read: findings, tree, matrix, contradictions, unknown facts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from topoprobe.machine.building import build
from topoprobe.machine.drawing import draw_tree
from topoprobe.machine.explaining import explain
from topoprobe.machine.fabrics import draw_fabrics
from topoprobe.machine.facts import (
    Facts,
    GpuFact,
    HostFact,
    NicFact,
    PackageFact,
    PairFact,
    PartitionFact,
    PciFact,
)
from topoprobe.machine.findings import findings, summary
from topoprobe.machine.matrix import draw_matrix
from topoprobe.machine.pcie import capability
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.synthetic import NAMES as MACHINES
from topoprobe.machine.synthetic import machine_facts
from topoprobe.machine.view import Machine
from topoprobe.records.base import Missing, Tool
from topoprobe.records.machine import Gpu, MachineDocument

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


def test_link_that_is_alone_is_one() -> None:
    text = draw_fabrics(
        Machine(made_up("socket: gpu(c2c=1 nvlink=1 fabric), gpu(nvlink=1 fabric)")), 120
    )
    assert "has 1 C2C link to the CPU" in text
    assert "each have 1 NVLink to NVSwitches" in text


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


def test_tree_and_matrix_number_nics_and_drives_alike() -> None:
    text = explain(made_up("2 socket: [gpu, 2 nic(cx7), nvme]"), 120)
    tree = {
        found[1] + found[2]: found[3] for found in re.finditer(r"─ (NIC|NVMe) ([0-9]+) (\S+)", text)
    }
    legend = dict(re.findall(r"(NIC[0-9]+|NVMe[0-9]+)  .*?([0-9a-f:]+\.[0-7])", text))
    assert len(tree) == 6
    assert legend == tree


def test_name_that_says_no_more_than_a_number_is_not_repeated() -> None:
    text = explain(told_by_matrix("PIX", nics=("NIC0", "NIC1")), 80)
    assert "├─ NIC 0\n" in text
    assert "└─ NIC 1\n" in text
    assert "NIC NIC0" not in text
    assert "NIC0 " not in text.rpartition("PIX   one PCIe switch")[2].partition("Unknown")[0]


def told_by_matrix(
    path_class: str | None, *, nics: tuple[str, ...] = (), cpus: tuple[int, ...] = ()
) -> MachineDocument:
    gpus = tuple(GpuFact(subject=f"gpu:{i}", cpus=cpus) for i in range(2))
    pairs = [PairFact(a="gpu:0", b="gpu:1", path_class=path_class)]
    pairs += [PairFact(a="gpu:0", b=f"nic:{name}", path_class=path_class) for name in nics]
    facts = Facts(
        source="a", gpus=gpus, nics=tuple(NicFact(key=n) for n in nics), pairs=tuple(pairs)
    )
    return build([facts], origin="recorded", tool=Tool(tool_version="0"))


def test_matrix_of_which_nothing_is_known_is_one_line_with_the_reason() -> None:
    text = draw_matrix(Machine(told_by_matrix(None, nics=("NIC0",))), 120)
    assert text.splitlines() == [
        "No path class of GPUs to GPUs and NICs is known. It is not known where one of them is "
        "attached."
    ]


def test_places_are_told_though_no_path_class_is() -> None:
    text = draw_matrix(Machine(told_by_matrix(None, cpus=(0, 1))), 120)
    assert "GPU1 0-1" in text
    assert "?" not in text


def test_names_of_nics_and_drives_stand_in_one_column() -> None:
    text = draw_matrix(Machine(made_up("socket: [gpu, nic, 11 nvme(1tb)]")), 80)
    rows = [line for line in text.splitlines() if line.startswith(("NIC0 ", "NVMe"))]
    assert {len(re.match(r"\S+ +", row)[0]) for row in rows if "  " in row} == {8}  # type: ignore[index]


def test_nearest_nics_are_named_and_many_by_ranges() -> None:
    few = draw_matrix(Machine(made_up("socket: switch: gpu, 3 nic")), 80)
    many = draw_matrix(Machine(made_up("socket: switch: gpu, 5 nic")), 80)
    assert "NIC0,NIC1,NIC2 PIX" in few
    assert "NIC0-4 PIX" in many


def test_nearest_nic_is_no_management_port(recordings: Path) -> None:
    text = draw_matrix(Machine(read(recordings, "hwloc-xml/epyc-corona-p2.xml")), 120)
    near = [line.split() for line in text.splitlines() if line.startswith("GPU7")]
    assert near[-1][-3:-1] == ["NIC0", "NODE"]
    text = draw_matrix(Machine(read(recordings, "hwloc-xml/coral-lassen.xml")), 120)
    assert "NIC0,NIC1 NODE" in text
    assert "alike" not in text


def test_functions_of_the_chip_set_are_counted_once_at_the_end(recordings: Path) -> None:
    text = draw_tree(Machine(read(recordings, "hwloc-xml/epyc-corona-p2.xml")), 120)
    assert text.splitlines()[-1] == "Not drawn: 11 chip set functions."
    assert text.count("chip set") == 1


def test_narrow_terminal_takes_the_rate_of_a_link_before_the_name(recordings: Path) -> None:
    machine = Machine(read(recordings, "lspci/h100x8-pex890xx-lspci-vvv.txt.xz"))
    row = next(line for line in draw_tree(machine, 74).splitlines() if "NIC 3 " in line)
    assert row.endswith("· Gen4 x16 · MT2892 Family [ConnectX-6 Dx]")
    row = next(line for line in draw_tree(machine, 120).splitlines() if "NIC 3 " in line)
    assert "Gen4 x16 31.5 GB/s" in row


def test_speed_that_may_be_the_maximum_is_not_called_the_one_now(recordings: Path) -> None:
    text = draw_tree(Machine(read(recordings, "hwloc-xml/g4dnmetal.xml")), 120)
    assert text.count("15.8 GB/s now or at most · Tesla T4") == 8


def test_core_that_is_alone_is_one() -> None:
    package = PackageFact(os_index=0, num_cores=1, num_threads=1)
    facts = Facts(source="a", packages=(package,))
    text = draw_tree(Machine(build([facts], origin="live", tool=Tool(tool_version="0"))), 80)
    assert "1 core, 1 thread" in text
    assert "1 cores" not in text


def test_lists_of_cpus_in_contradictions_are_ranges() -> None:
    gpus = [(GpuFact(subject="gpu:0", cpus=cpus),) for cpus in ((0, 1, 2), (7,))]
    sources = [Facts(source=f"s{i}", gpus=found) for i, found in enumerate(gpus)]
    text = explain(build(sources, origin="recorded", tool=Tool(tool_version="0")), 80)
    assert "gpu:0: cpus: 0-2 / 7." in text


def test_far_nic_is_not_called_near(recordings: Path) -> None:
    document = read(recordings, "hwloc-xml/g4dnmetal.xml")
    assert any("Each of GPUs 0-3 has no NIC on its side" in s for s in findings(Machine(document)))
    assert "none near" in explain(document, 120)


def test_accelerators_that_are_no_gpus_are_called_by_their_name() -> None:
    functions = tuple(
        PciFact(address=f"0000:0{i}:00.0", root="0000:00", class_code=code, vendor=vendor,
                device=device)
        for i, (code, vendor, device) in enumerate(
            [("0b4000", "1bcf", "001c"), ("0b4000", "1bcf", "001c"), ("030200", "10de", "2330")]
        )
    )  # fmt: skip
    facts = Facts(source="a", tree="full", functions=functions)
    document = build([facts], origin="recorded", tool=Tool(tool_version="0"))
    assert summary(Machine(document)) == (
        "1 GPU, 2 accelerators; the GPU is NVIDIA H100-SXM5-80GB; the accelerators are NEC Vector "
        "Engine 1.0; here called GPUs 0 and 1."
    )
    assert len(Machine(document).all(Gpu)) == 3


def test_models_stand_in_the_order_of_the_gpus() -> None:
    functions = tuple(
        PciFact(address=f"0000:0{i}:00.0", root="0000:00", class_code="030000", vendor="10de",
                name=name)
        for i, name in enumerate(("RTX 5090", "RTX 3090", "RTX 5090"))
    )  # fmt: skip
    document = build(
        [Facts(source="a", functions=functions)], origin="live", tool=Tool(tool_version="0")
    )
    assert "the GPUs are RTX 5090, RTX 3090." in summary(Machine(document))


def test_one_contradiction_is_it() -> None:
    gpus = [(GpuFact(subject="gpu:0", uuid=uuid),) for uuid in ("a", "b")]
    sources = [Facts(source=f"s{i}", gpus=found) for i, found in enumerate(gpus)]
    document = build(sources, origin="recorded", tool=Tool(tool_version="0"))
    assert len(document.contradictions) == 1
    assert findings(Machine(document))[-1] == (
        "1 reading contradicts another or cannot be; it is listed below."
    )


def test_uplink_read_at_one_moment_only_is_told_so(recordings: Path) -> None:
    said = findings(Machine(read(recordings, "hwloc-xml/coral-lassen.xml")))
    assert any("share 3.94 GB/s (read while it may have rested)." in text for text in said)


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
