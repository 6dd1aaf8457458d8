"""KFD's topology: GPUs and their partitions, xGMI bundles, and what a torn copy leaves open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from topoprobe.errors import InputError
from topoprobe.machine.facts import Facts
from topoprobe.machine.sources import kfd
from topoprobe.machine.sources.files import Folder
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Gpu, LinkKind, MachineDocument, Numa, Partition

GIB = 1 << 30
CPU = {"cpu_cores_count": 64, "simd_count": 0}
MI300X = {
    "cpu_cores_count": 0, "simd_count": 1216, "vendor_id": 0x1002, "device_id": 0x74A1,
    "gfx_target_version": 90402, "domain": 0, "hive_id": 7, "num_xcc": 8,
}  # fmt: skip
Links = Mapping[int, Mapping[str, int]]
NO_LINKS: Links = MappingProxyType({})


def node(
    root: Path,
    number: int,
    properties: Mapping[str, int],
    io: Links = NO_LINKS,
    p2p: Links = NO_LINKS,
) -> None:
    """Write a node; links are given by the node that they lead to."""
    folder = root / "nodes" / str(number)
    _write(folder, properties)
    for kind, links in (("io_links", io), ("p2p_links", p2p)):
        for index, (to, told) in enumerate(links.items()):
            _write(folder / kind / str(index), {"node_from": number, "node_to": to, **told})


def bank(root: Path, number: int, heap: int, size: int) -> None:
    _write(
        root / "nodes" / str(number) / f"mem_banks/{heap}",
        {"heap_type": heap, "size_in_bytes": size},
    )


def _write(folder: Path, properties: Mapping[str, int]) -> None:
    folder.mkdir(parents=True)
    text = "".join(f"{name} {value}\n" for name, value in properties.items())
    (folder / "properties").write_text(text, encoding="ascii")


def gpu(bus: int, **more: int) -> dict[str, int]:
    return {**MI300X, "location_id": bus << 8, **more}


def pcie(weight: int = 20, rate: int = 64000) -> dict[str, int]:
    return {"type": 2, "weight": weight, "min_bandwidth": 312, "max_bandwidth": rate}


def xgmi(weight: int = 15, least: int = 50000, most: int = 50000) -> dict[str, int]:
    return {"type": 11, "weight": weight, "min_bandwidth": least, "max_bandwidth": most}


def read(root: Path) -> Facts:
    return kfd.read(Folder(root), "x")


def scan(root: Path) -> MachineDocument:
    return scan_files([("x", Folder(root))])


@pytest.fixture
def mi210(recordings: Path) -> MachineDocument:
    path = recordings / "topologies/kfd/topo-mi210-xgmi-pcie.tar.xz"
    return scan_files([(path.name, path.read_bytes())])


def test_mi210_has_two_cpu_nodes_of_64_cores_and_eight_gpus(mi210: MachineDocument) -> None:
    machine = Machine(mi210)
    assert [(n.os_index, n.num_cpus, n.distances) for n in machine.all(Numa)] == [
        (0, 64, (10, 32)),
        (1, 64, (32, 10)),
    ]
    places = [(g.pci_address, g.numa_index) for g in machine.all(Gpu)]
    assert places == [
        (f"0000:{bus}:00.0", int(bus > "7f"))
        for bus in ("03", "26", "43", "63", "83", "a3", "c3", "e3")
    ]
    assert {(g.model, g.architecture) for g in machine.all(Gpu)} == {
        ("AMD Instinct MI210", "gfx90a")
    }


def test_mi210_hives_of_four_are_fully_linked_over_xgmi(mi210: MachineDocument) -> None:
    machine = Machine(mi210)
    hives = Counter(g.hive_id for g in machine.all(Gpu))
    assert list(hives.values()) == [4, 4]
    links = [link for link in mi210.links if link.kind is LinkKind.XGMI]
    assert len(links) == 12  # 24 entries, one from either end
    hive_of = {g.id: g.hive_id for g in machine.all(Gpu)}
    for link in links:
        assert hive_of[link.a] == hive_of[link.b]
        assert link.count == 1
        assert link.nominal is not None
        assert link.nominal.bandwidth_bytes_per_s == 50e9


def test_mi210_gpus_hang_on_their_numa_node_with_gen4(mi210: MachineDocument) -> None:
    links = [link for link in mi210.links if link.kind is LinkKind.PCIE]
    assert Counter(link.a for link in links) == {"numa:0": 4, "numa:1": 4}
    for link in links:
        assert link.nominal is not None
        assert (link.nominal.transfers_per_s, link.nominal.num_lanes) == (16e9, 16)
        # 32000 MB/s is the raw figure
        assert link.nominal.bandwidth_bytes_per_s == pytest.approx(31.508e9, rel=1e-4)


def test_mi210_pairs_of_two_sockets_are_sys_and_others_unknown(mi210: MachineDocument) -> None:
    classes = Counter((p.path_class, p.peer_status) for p in mi210.pairs)
    assert classes == {("SYS", "OK"): 16, (None, "OK"): 12}
    reasons = [m for m in mi210.unknown if m.fact == "class"]
    assert len(reasons) == 12
    assert mi210.contradictions == ()


def test_mi210_transfer_across_sockets_has_a_way(mi210: MachineDocument) -> None:
    way = Machine(mi210).resources_between("gpu@0000:03:00.0", "gpu@0000:83:00.0")
    assert [r.kind for r in way] == [LinkKind.PCIE, LinkKind.INTER_SOCKET, LinkKind.PCIE]


@pytest.mark.parametrize("above", ["", "a/b/topology", "sys/class/kfd/kfd/topology"])
def test_nodes_are_found_wherever_the_copy_was_taken(tmp_path: Path, above: str) -> None:
    node(tmp_path / above, 0, CPU)
    node(tmp_path / above, 1, gpu(0x43), {0: pcie()})
    assert kfd.matches(Folder(tmp_path))
    assert [g.subject for g in read(tmp_path).gpus] == ["0000:43:00.0"]


def test_folder_of_nodes_itself_is_read(tmp_path: Path) -> None:
    node(tmp_path, 0, CPU)
    assert [n.os_index for n in read(tmp_path / "nodes").numas] == [0]


@pytest.mark.parametrize("names", [[], ["nodes"], ["nodes/0", "nodes/x"], ["0"]])
def test_other_folders_are_no_topology(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).mkdir(parents=True)
    assert not kfd.matches(Folder(tmp_path))
    with pytest.raises(InputError, match="nodes"):
        read(tmp_path)


def test_location_tells_bus_device_function_and_domain(tmp_path: Path) -> None:
    node(tmp_path, 0, gpu(0xC1, location_id=0xC1 << 8 | 3 << 3 | 1, domain=0x10000))
    assert read(tmp_path).functions[0].address == "10000:c1:03.1"


def test_domain_is_zero_where_old_kernels_do_not_tell_it(tmp_path: Path) -> None:
    told = gpu(0x43)
    del told["domain"]
    node(tmp_path, 0, told)
    assert read(tmp_path).functions[0].address == "0000:43:00.0"


def test_gpu_without_a_location_keeps_its_number(tmp_path: Path) -> None:
    node(tmp_path, 0, {**CPU, "simd_count": 8})  # an APU
    facts = read(tmp_path)
    assert [(g.subject, g.numa_index) for g in facts.gpus] == [("gpu:0", 0)]
    assert facts.functions == ()
    assert Machine(scan(tmp_path)).all(Gpu)[0].id == "gpu:0"


@pytest.mark.parametrize("shift", [0, 28])
@pytest.mark.parametrize(
    ("parts", "dies", "mode"), [(8, 1, "CPX"), (2, 4, "DPX"), (3, 2, "TPX"), (4, 2, "QPX")]
)
def test_partitions_are_parts_of_one_gpu(
    tmp_path: Path, shift: int, parts: int, dies: int, mode: str
) -> None:
    node(tmp_path, 0, CPU)
    for part in range(parts):
        location = 0x43 << 8 | part << shift
        others = {n + 1: xgmi(13, 819200, 819200) for n in range(parts) if n != part}
        node(tmp_path, part + 1, gpu(0, location_id=location, num_xcc=dies), {0: pcie(), **others})
        bank(tmp_path, part + 1, 1, 24 * GIB)
    machine = Machine(scan(tmp_path))
    assert [(g.id, g.partition_mode) for g in machine.all(Gpu)] == [("gpu@0000:43:00.0", mode)]
    assert machine.all(Gpu)[0].memory_bytes == parts * 24 * GIB
    assert [(p.parent, p.partition_kind) for p in machine.all(Partition)] == [
        ("gpu@0000:43:00.0", "compute")
    ] * parts
    assert machine.document.contradictions == ()
    assert not [link for link in machine.document.links if link.kind is LinkKind.XGMI]


def test_whole_gpu_of_several_dies_is_in_single_partition_mode(tmp_path: Path) -> None:
    node(tmp_path, 0, gpu(0x43))
    node(tmp_path, 1, gpu(0x44, num_xcc=1))
    assert [g.partition_mode for g in read(tmp_path).gpus] == ["SPX", None]


def test_function_that_sysfs_has_is_a_gpu_of_its_own(tmp_path: Path) -> None:
    top = tmp_path / "sys/class/kfd/kfd/topology"
    for function in (0, 1):
        node(top, function, gpu(0, location_id=0x43 << 8 | function, num_xcc=1))
        device = tmp_path / f"sys/bus/pci/devices/0000:43:00.{function}"
        device.mkdir(parents=True)
        (device / "class").write_text("0x120000\n", encoding="ascii")
    assert [g.subject for g in read(tmp_path).gpus] == ["0000:43:00.0", "0000:43:00.1"]


def test_partitions_of_two_gpus_have_one_bundle_between_them(tmp_path: Path) -> None:
    numbers = {0x43: (0, 1), 0x83: (2, 3)}
    for bus, mine in numbers.items():
        far = numbers[0x83 if bus == 0x43 else 0x43]
        for part, number in enumerate(mine):
            told = gpu(0, location_id=bus << 8 | part, num_xcc=4)
            node(tmp_path, number, told, {other: xgmi(41) for other in far})
    document = scan(tmp_path)
    assert [link.kind for link in document.links if link.kind is LinkKind.XGMI] == [LinkKind.XGMI]


def test_bundle_has_as_many_links_as_its_greatest_figure_says(tmp_path: Path) -> None:
    node(tmp_path, 0, gpu(0x43), {1: xgmi(15, 50000, 200000)})
    node(tmp_path, 1, gpu(0x83), {0: xgmi(15, 50000, 200000)})
    link = scan(tmp_path).links[-1]
    assert (link.count, link.nominal and link.nominal.bandwidth_bytes_per_s) == (4, 200e9)


def test_xgmi_over_several_links_is_no_wire(tmp_path: Path) -> None:
    node(tmp_path, 0, gpu(0x43), {1: xgmi(30, 0, 0)})
    node(tmp_path, 1, gpu(0x83), {0: xgmi(30, 0, 0)})
    facts = read(tmp_path)
    assert facts.peers == ()
    assert [(p.a, p.b, p.peer_status) for p in facts.pairs] == [
        ("0000:43:00.0", "0000:83:00.0", "OK")
    ]


def test_link_without_peer_access_is_not_called_ok(tmp_path: Path) -> None:
    node(tmp_path, 0, gpu(0x43), {}, {1: {**pcie(40), "flags": 16}})
    node(tmp_path, 1, gpu(0x83))
    assert read(tmp_path).pairs == ()


def test_apu_hangs_on_its_cpu_over_xgmi(tmp_path: Path) -> None:
    node(tmp_path, 0, CPU)
    node(tmp_path, 1, gpu(0x43), {0: xgmi(13)})
    document = scan(tmp_path)
    link = next(link for link in document.links if link.kind is LinkKind.XGMI)
    assert {link.a, link.b} == {"gpu@0000:43:00.0", "numa:0"}


def test_memory_is_what_the_banks_add_up_to(tmp_path: Path) -> None:
    node(tmp_path, 0, CPU)
    bank(tmp_path, 0, 0, 512 * GIB)
    node(tmp_path, 1, gpu(0x43), {0: pcie()})
    bank(tmp_path, 1, 1, 32 * GIB)
    bank(tmp_path, 1, 2, 160 * GIB)
    facts = read(tmp_path)
    assert facts.numas[0].memory_bytes == 512 * GIB
    assert facts.gpus[0].memory_bytes == 192 * GIB


def test_numa_numbers_are_those_with_cpus_in_sysfs(tmp_path: Path) -> None:
    for index, cpus in ((0, "0-63"), (1, ""), (8, "64-127")):
        folder = tmp_path / f"sys/devices/system/node/node{index}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(f"{cpus}\n", encoding="ascii")
    for number in (0, 1):
        node(tmp_path / "sys/class/kfd/kfd/topology", number, CPU)
    assert [n.os_index for n in read(tmp_path).numas] == [0, 8]


@pytest.mark.parametrize(
    ("rate", "lanes"), [(64000, (32e9, 16)), (32000, (16e9, 16)), (312, None), (0, None)]
)
def test_rate_to_the_cpu_is_read_as_sixteen_lanes(
    tmp_path: Path, rate: int, lanes: tuple[float, int] | None
) -> None:
    node(tmp_path, 0, CPU)
    node(tmp_path, 1, gpu(0x43), {0: pcie(20, rate)})
    nominal = read(tmp_path).functions[0].nominal
    assert (nominal and (nominal.transfers_per_s, nominal.num_lanes)) == lanes


def test_two_nodes_with_one_location_are_a_duplicate(tmp_path: Path) -> None:
    node(tmp_path, 0, gpu(0x43))
    node(tmp_path, 1, gpu(0x43))
    document = scan(tmp_path)
    assert len(Machine(document).all(Gpu)) == 1
    assert [(c.subject, c.readings) for c in document.contradictions] == [
        ("gpu@0000:43:00.0", ("node 0", "node 1"))
    ]


def test_missing_nodes_and_links_are_named(tmp_path: Path) -> None:
    node(tmp_path, 1, gpu(0x43, io_links_count=3), {0: pcie(), 4: xgmi()})
    named = {m.fact: m.reason for m in read(tmp_path).unknown}
    assert {fact for fact in named if fact.startswith("KFD node")} == {"KFD node 0", "KFD node 4"}
    assert named["io_links of KFD node 1"] == "Its properties count 3, and 2 can be read."


def test_node_that_nobody_may_read_is_named(tmp_path: Path) -> None:
    node(tmp_path, 0, CPU)
    node(tmp_path, 1, {})
    assert "KFD node 1" in {m.fact for m in read(tmp_path).unknown}


def test_weight_that_fits_no_way_is_reported(tmp_path: Path) -> None:
    hypertransport = {"type": 1, "weight": 32}
    node(tmp_path, 0, CPU, {1: hypertransport})
    node(tmp_path, 1, CPU, {0: hypertransport})
    node(tmp_path, 2, gpu(0x43), {0: pcie()}, {3: pcie(40, 0)})
    node(tmp_path, 3, gpu(0x83), {1: pcie()}, {2: pcie(72, 0)})
    contradictions = read(tmp_path).contradictions
    assert [c.readings for c in contradictions] == [("40", "20 + 32 + 20")]


@pytest.mark.parametrize(
    "text", ["", "simd_count", "simd_count x\n\x00\n", "simd_count " + "9" * 99]
)
def test_damaged_properties_are_no_gpu_and_no_crash(tmp_path: Path, text: str) -> None:
    node(tmp_path, 0, CPU)
    (tmp_path / "nodes/1").mkdir()
    (tmp_path / "nodes/1/properties").write_text(text, encoding="ascii")
    assert [len(Machine(scan(tmp_path)).all(kind)) for kind in (Numa, Gpu)] == [1, 0]
