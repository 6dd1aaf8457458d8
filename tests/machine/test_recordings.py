"""Recorded machines must read to the figures worked out by hand for each of them."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.documents import decode, encode
from topoprobe.records.machine import (
    CxlMemory,
    Gpu,
    HostBridge,
    LinkKind,
    MachineDocument,
    Nic,
    Numa,
    Nvme,
    NvSwitch,
    Package,
    PcieSwitch,
)

Read = Callable[[str], MachineDocument]


@pytest.fixture
def read(recordings: Path) -> Read:
    def scan(name: str) -> MachineDocument:
        path = recordings / "topologies" / name
        return scan_files([(path.name, path.read_bytes())])

    return scan


class Row(NamedTuple):
    """What a recording must show: node counts, and pairs of GPUs (g) and NICs (n) by class."""

    name: str
    nodes: dict[type, int]
    gpu_pairs: dict[str | None, int]
    nic_pairs: dict[str | None, int]
    pcie_gpu_pairs: dict[str | None, int] | None = None


ROWS = [
    Row("nccl-xml/ndv4-topo.xml", {Numa: 4, PcieSwitch: 4, Gpu: 8, Nic: 8, Package: 0},
        {"PIX": 4, "SYS": 24}, {"PIX": 16, "SYS": 48}),
    Row("nccl-xml/ncv4-topo.xml", {Numa: 4, PcieSwitch: 0, Gpu: 4, Nic: 1},
        {"SYS": 6}, {None: 4}),
    Row("nccl-xml/p4d-24xl-topo.xml", {Numa: 2, PcieSwitch: 4, Gpu: 8, Nic: 4},
        {"PIX": 4, "PHB": 8, "SYS": 16}, {"PIX": 8, "PHB": 8, "SYS": 16}),
    Row("nccl-xml/oci-H100-topology.xml",
        {Numa: 2, PcieSwitch: 24, Gpu: 8, Nic: 8, NvSwitch: 4},
        {"NV18": 28}, {"PXB": 8, "PHB": 24, "SYS": 32}, {"PHB": 12, "SYS": 16}),
    Row("nccl-xml/oci-topo-flattened.xml", {Numa: 4, PcieSwitch: 4, Gpu: 8, Nic: 8},
        {"PIX": 4, "SYS": 24}, {"PIX": 16, "SYS": 48}),
    Row("nccl-xml/perlmutter-a100x4-nccl_topo.xml", {Numa: 4, PcieSwitch: 0, Gpu: 4, Nic: 4},
        {"NV4": 6}, {"PHB": 4, "SYS": 12}, {"SYS": 6}),
    Row("nccl-xml/rccl-topo_8p_940.xml", {Numa: 2, PcieSwitch: 24, Gpu: 8, Nic: 8},
        {"PHB": 12, "SYS": 16}, {"PXB": 8, "PHB": 24, "SYS": 32}),
    Row("nccl-xml/rccl-topo_16p1h.xml", {Numa: 4, PcieSwitch: 28, Gpu: 16, Nic: 8},
        {"PXB": 24, "SYS": 96}, {"PXB": 32, "SYS": 96}),
    Row("nccl-xml/rccl-topo_8p1h.xml", {Numa: 2, PcieSwitch: 14, Gpu: 8, Nic: 4},
        {"PXB": 12, "SYS": 16}, {"PXB": 16, "SYS": 16}),
    Row("nccl-xml/rccl-topo_4p_940.xml", {Numa: 4, PcieSwitch: 0, Gpu: 4, Nic: 4},
        {"SYS": 6}, {"PHB": 4, "SYS": 12}),
    Row("nccl-xml/rccl-topo_8p_rome_n4.xml", {Numa: 7, Gpu: 8, Nic: 1},
        {"PHB": 2, "SYS": 26}, {"SYS": 8}),
    Row("nccl-xml/rccl-topo_8p_pcie.xml", {Numa: 1, Gpu: 8, Nic: 1},
        {"PXB": 12, "PHB": 16}, {"PXB": 4, "PHB": 4}),
    Row("hwloc-xml/g4dnmetal.xml", {Package: 2, Numa: 2, Gpu: 8, Nic: 2, Nvme: 3},
        {"PHB": 4, "NODE": 8, "SYS": 16}, {"NODE": 8, "SYS": 8}),
    Row("hwloc-xml/coral-lassen.xml", {Package: 2, Numa: 2, Gpu: 4, Nic: 6, Nvme: 1},
        {"PIX": 2, "SYS": 4}, {"NODE": 12, "SYS": 12}),
    Row("hwloc-xml/coral-lassen-hwloc1.xml", {Package: 2, Numa: 6, Gpu: 4, Nic: 6, Nvme: 1},
        {"PIX": 2, "SYS": 4}, {"NODE": 12, "SYS": 12}),
    Row("hwloc-xml/epyc-corona-p2.xml", {Package: 2, Numa: 2, Gpu: 8, Nic: 3},
        {"NODE": 12, "SYS": 16}, {"PHB": 3, "NODE": 9, "SYS": 12}),
    Row("hwloc-xml/tuo.SPX.xml", {Package: 4, Numa: 4, Gpu: 4, Nic: 5, Nvme: 16},
        {"SYS": 6}, {"PHB": 4, "NODE": 1, "SYS": 15}),
    Row("hwloc-xml/nvidiaDGX2.xml", {Package: 2, Numa: 2, Gpu: 16, Nic: 0, NvSwitch: 12},
        {"NV6": 120}, {}, {"PIX": 8, "PXB": 16, "NODE": 32, "SYS": 64}),
    Row("hwloc-xml/16intel64-manyVFs.xml", {Package: 2, Numa: 2, Gpu: 0, Nic: 6}, {}, {}),
    Row("hwloc-xml/cxlmem+dax.v2.xml",
        {Package: 1, Numa: 1, Gpu: 0, Nic: 1, HostBridge: 2, CxlMemory: 4}, {}, {}),
    Row("hwloc-xml/cxlmem+dax.v3.xml",
        {Package: 1, Numa: 1, Gpu: 0, Nic: 1, HostBridge: 2, CxlMemory: 4}, {}, {}),
    Row("sysfs/40intel64-2g2n4c+pcilocality.xml",
        {Package: 4, Numa: 4, HostBridge: 2, Gpu: 0, Nic: 5}, {}, {}),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_recording_has_the_devices_and_path_classes_of_its_machine(row: Row, read: Read) -> None:
    document = read(row.name)
    machine = Machine(document)
    found = {kind: len(machine.all(kind)) for kind in row.nodes}
    assert found == row.nodes
    gpus = {gpu.id for gpu in machine.all(Gpu)}
    nics = {nic.id for nic in machine.all(Nic)}
    between_gpus = [p for p in document.pairs if p.b in gpus]
    to_nics = [p for p in document.pairs if p.b in nics]
    assert Counter(p.path_class for p in between_gpus) == row.gpu_pairs
    assert Counter(p.path_class for p in to_nics) == row.nic_pairs
    if row.pcie_gpu_pairs is not None:
        assert Counter(p.pcie_class for p in between_gpus) == row.pcie_gpu_pairs


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_recording_gives_a_consistent_document(row: Row, read: Read) -> None:
    document = read(row.name)
    assert decode(encode(document)) == document
    ids = [node.id for node in document.nodes]
    assert len(set(ids)) == len(ids)
    assert all(node.parent in ids for node in document.nodes if node.id != "host")
    assert all({link.a, link.b} <= set(ids) for link in document.links)
    order = {node_id: place for place, node_id in enumerate(ids)}
    assert all(order[pair.a] < order[pair.b] for pair in document.pairs)
    reasons = {m.subject for m in document.unknown if m.fact == "class"}
    assert {f"{p.a} {p.b}" for p in document.pairs if p.path_class is None} == reasons


def links_of_kind(document: MachineDocument, kind: LinkKind) -> list[Any]:
    return [link for link in document.links if link.kind is kind]


def test_ndv4_gpus_share_a_switch_uplink_of_gen4(read: Read) -> None:
    machine = Machine(read("nccl-xml/ndv4-topo.xml"))
    gpu = machine.all(Gpu)[0]
    assert gpu.pci_address == "0001:00:00.0"
    way = machine.resources_between(gpu.id, "numa:1")
    assert [round((r.capacity_bytes_per_s or 0) / 1e9, 1) for r in way] == [31.5, 31.5, 0.0]
    neighbour = machine.resources_between(machine.all(Gpu)[1].id, "numa:1")
    assert way[0].id != neighbour[0].id
    assert way[1].id == neighbour[1].id


def test_ncv4_self_links_are_reported_and_never_drawn(read: Read) -> None:
    document = read("nccl-xml/ncv4-topo.xml")
    assert links_of_kind(document, LinkKind.NVLINK) == []
    assert len([c for c in document.contradictions if "itself" in c.readings[0]]) == 4
    assert all(gpu.num_nvlinks is None for gpu in Machine(document).all(Gpu))
    unknown = {(m.subject, m.fact) for m in document.unknown}
    assert ("gpu@0001:00:00.0", "num_nvlinks") in unknown
    assert ("pcie@0001:00:00.0", "nominal") in unknown


def test_oci_h100_bogus_uplinks_are_reported_and_not_used(read: Read) -> None:
    document = read("nccl-xml/oci-H100-topology.xml")
    doubted = [c.subject for c in document.contradictions if c.fact == "nominal"]
    assert len(doubted) == 8
    by_id = {link.id: link for link in document.links}
    assert all(by_id[link_id].nominal is None for link_id in doubted)
    machine = Machine(document)
    assert sum(len(nic.ports) for nic in machine.all(Nic)) == 16
    assert all(gpu.num_nvlinks == 18 for gpu in machine.all(Gpu))
    per_switch = Counter(link.count for link in links_of_kind(document, LinkKind.NVLINK))
    assert per_switch == {4: 16, 5: 16}


def test_oci_h100_gpus_reach_one_nic_below_their_own_switch(read: Read) -> None:
    document = read("nccl-xml/oci-H100-topology.xml")
    near = {(pair.a[-7:-5], pair.b[-7:-5]) for pair in document.pairs if pair.path_class == "PXB"}
    assert near == {
        ("0f", "0c"), ("2d", "2a"), ("44", "41"), ("5b", "58"),
        ("89", "86"), ("a8", "a5"), ("c0", "bd"), ("d8", "d5"),
    }  # fmt: skip


def test_oci_h100_transfer_between_gpus_is_spread_over_all_switches(read: Read) -> None:
    machine = Machine(read("nccl-xml/oci-H100-topology.xml"))
    a, b = (gpu.id for gpu in machine.all(Gpu)[:2])
    way = machine.resources_between(a, b)
    assert len(way) == 8
    assert sum(r.share for r in way[:4]) == pytest.approx(1)
    assert sum(r.capacity_bytes_per_s or 0 for r in way[:4]) == pytest.approx(450e9)


def test_flattened_numa_ids_need_not_count_from_zero(read: Read) -> None:
    document = read("nccl-xml/oci-topo-flattened.xml")
    assert [numa.os_index for numa in Machine(document).all(Numa)] == [1, 3, 5, 7]


def test_perlmutter_gpus_are_directly_linked_with_four_nvlinks_each(read: Read) -> None:
    document = read("nccl-xml/perlmutter-a100x4-nccl_topo.xml")
    links = links_of_kind(document, LinkKind.NVLINK)
    assert [link.count for link in links] == [4] * 6
    assert all(link.nominal.bandwidth_bytes_per_s == 100e9 for link in links)
    machine = Machine(document)
    assert [gpu.numa_index for gpu in machine.all(Gpu)] == [3, 2, 1, 0]
    assert [gpu.num_nvlinks for gpu in machine.all(Gpu)] == [12] * 4


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("nccl-xml/rccl-topo_8p_940.xml", {1: 28}),
        # 16, 8 and 32 tags in the file, each link told by both of its ends
        ("nccl-xml/rccl-topo_16p1h.xml", {4: 8, 2: 4, 1: 16}),
        ("nccl-xml/rccl-topo_8p_pcie.xml", {}),
        ("hwloc-xml/tuo.SPX.xml", {1: 6}),
    ],
)
def test_xgmi_links_are_found_once(name: str, counts: dict[int, int], read: Read) -> None:
    document = read(name)
    assert Counter(link.count for link in links_of_kind(document, LinkKind.XGMI)) == counts


def test_network_rate_a_thousand_times_too_high_is_flagged_and_repaired(read: Read) -> None:
    document = read("nccl-xml/rccl-topo_4p_940.xml")
    assert len([c for c in document.contradictions if c.fact.startswith("rate of")]) == 4
    rates = {p.rate_bits_per_s for nic in Machine(document).all(Nic) for p in nic.ports}
    assert rates == {200e9}


def test_corona_gen2_lane_is_half_a_gigabyte_whatever_the_file_says(read: Read) -> None:
    document = read("hwloc-xml/epyc-corona-p2.xml")
    link = Machine(document).link_above("nic@0000:e7:00.0")
    assert link is not None
    assert link.current is not None
    assert link.current.bandwidth_bytes_per_s == 0.5e9
    assert any(c.subject == "nic@0000:e7:00.0" for c in document.contradictions)


def test_corona_infiniband_shares_a_host_bridge_with_one_gpu_only(read: Read) -> None:
    document = read("hwloc-xml/epyc-corona-p2.xml")
    near = [p.a for p in document.pairs if p.b == "nic@0000:c4:00.0" and p.path_class == "PHB"]
    assert near == ["gpu@0000:c3:00.0"]


def test_g4dn_links_carry_gen3_x16(read: Read) -> None:
    machine = Machine(read("hwloc-xml/g4dnmetal.xml"))
    for gpu in machine.all(Gpu):
        link = machine.link_above(gpu.id)
        assert link is not None
        assert link.current is not None
        assert link.current.bandwidth_bytes_per_s == pytest.approx(15.753846e9, rel=1e-6)
    assert {nic.name for nic in machine.all(Nic)} == {"rdmap197s0", "eth0"}
    assert all(machine.package(nic.id) == machine.all(Package)[1] for nic in machine.all(Nic))


def test_lassen_package_and_numa_numbers_are_those_of_the_system(read: Read) -> None:
    machine = Machine(read("hwloc-xml/coral-lassen.xml"))
    assert [package.os_index for package in machine.all(Package)] == [0, 8]
    assert [numa.os_index for numa in machine.all(Numa)] == [0, 8]
    assert sum(package.num_cores or 0 for package in machine.all(Package)) == 40
    assert sum(package.num_threads or 0 for package in machine.all(Package)) == 160


def test_lassen_gpu_memory_is_not_taken_for_cpu_memory(read: Read) -> None:
    machine = Machine(read("hwloc-xml/coral-lassen-hwloc1.xml"))
    without_cpus = [numa for numa in machine.all(Numa) if not numa.cpus]
    assert [numa.os_index for numa in without_cpus] == [252, 253, 254, 255]
    assert all("of a GPU without CPUs" in numa.name for numa in without_cpus)


def test_lassen_reads_the_same_in_two_dialects(read: Read) -> None:
    one = read("hwloc-xml/coral-lassen.xml")
    other = read("hwloc-xml/coral-lassen-hwloc1.xml")
    assert one.pairs == other.pairs
    assert [n.id for n in one.nodes if "@" in n.id] == [n.id for n in other.nodes if "@" in n.id]


def test_cxl_machine_reads_the_same_in_versions_two_and_three(read: Read) -> None:
    one = read("hwloc-xml/cxlmem+dax.v2.xml")
    other = read("hwloc-xml/cxlmem+dax.v3.xml")
    assert one.nodes == other.nodes
    assert one.links == other.links


def test_dgx2_switch_with_unreadable_config_is_still_a_switch(read: Read) -> None:
    document = read("hwloc-xml/nvidiaDGX2.xml")
    switch = Machine(document).node("nvswitch@0000:66:00.0")
    assert isinstance(switch, NvSwitch)
    assert switch.pci_vendor is None
    assert (switch.id, "pci_vendor") in {(m.subject, m.fact) for m in document.unknown}


def test_tuo_cassini_sits_at_the_host_bridge_of_its_gpu(read: Read) -> None:
    document = read("hwloc-xml/tuo.SPX.xml")
    near = {(p.a[4:8], p.b[4:8]) for p in document.pairs if p.path_class == "PHB"}
    assert near == {(f"000{i}", f"000{i}") for i in range(4)}


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_compressed_recording_reads_like_the_plain_one(
    pack: Callable[[bytes], bytes], recordings: Path
) -> None:
    plain = (recordings / "topologies/nccl-xml/ndv4-topo.xml").read_bytes()
    assert scan_files([("x.xml", pack(plain))]) == scan_files([("x.xml", plain)])


def test_machine_document_reads_back_as_itself(read: Read) -> None:
    document = read("nccl-xml/p4d-24xl-topo.xml")
    assert scan_files([("machine.json", encode(document))]) == document


def test_perlmutter_reads_the_same_from_nccl_and_from_nvidia_smi(recordings: Path) -> None:
    paths = [
        recordings / "topologies/nccl-xml/perlmutter-a100x4-nccl_topo.xml",
        recordings / "topologies/nvidia-smi-topo/perlmutter-a100x4.txt",
    ]
    one, other, both = (
        scan_files([(path.name, path.read_bytes()) for path in some])
        for some in (paths[:1], paths[1:], paths)
    )
    classes = [[p.path_class for p in d.pairs if p.b.startswith("gpu")] for d in (one, other, both)]
    assert classes == [["NV4"] * 6] * 3
    numas = [[gpu.numa_index for gpu in Machine(d).all(Gpu)] for d in (one, other, both)]
    assert numas == [[3, 2, 1, 0]] * 3
    links = [Counter(x.count for x in links_of_kind(d, LinkKind.NVLINK)) for d in (one, other)]
    assert links == [{4: 6}] * 2
    assert both.contradictions == ()


@pytest.mark.parametrize("name", ["ndv4-topo", "oci-topo-flattened", "p4d-24xl-topo"])
def test_gpus_of_unknown_model_say_that_nvlinks_are_untold(name: str, read: Read) -> None:
    document = read(f"nccl-xml/{name}.xml")
    untold = {m.subject for m in document.unknown if m.fact == "num_nvlinks"}
    assert untold == {gpu.id for gpu in Machine(document).all(Gpu)}


@pytest.mark.parametrize(
    "name", ["nccl-xml/rccl-topo_8p_rome_n4.xml", "nvidia-smi-topo/rtx4090x8-2nic.txt"]
)
def test_gpus_without_nvlinks_say_nothing_of_them(name: str, read: Read) -> None:
    assert all(missing.fact != "num_nvlinks" for missing in read(name).unknown)
