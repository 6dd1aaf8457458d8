"""hwloc files of strangers: all versions, filtered, made up, with memory of GPUs and of tiers."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from topoprobe.errors import InputError
from topoprobe.machine.sources import hwloc_xml
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.machine import (
    CxlMemory,
    Gpu,
    HostBridge,
    LinkKind,
    MachineDocument,
    Nic,
    Node,
    Numa,
    Nvme,
    NvSwitch,
    Package,
    Partition,
    PcieSwitch,
)

NUMAS = (
    '<object type="NUMANode" os_index="0" cpuset="0x0f" nodeset="0x1" local_memory="64"/>'
    '<object type="NUMANode" os_index="1" cpuset="0xf0" nodeset="0x2" local_memory="64"/>'
)
PLACE = 'cpuset="0x0f" nodeset="0x1"'


def scan(inside: str, version: str = ' version="2.0"', after: str = "") -> MachineDocument:
    text = (
        f'<topology{version}><object type="Machine" cpuset="0xff" nodeset="0x3">{inside}</object>'
        f"{after}</topology>"
    )
    return scan_files([("x.xml", text.encode())])


def group(inside: str, place: str = PLACE) -> str:
    return f'<object type="Group" {place}>{inside}</object>'


def bridge(inside: str, told: str = 'bridge_type="0-1" bridge_pci="0000:[00-09]"') -> str:
    return f'<object type="Bridge" {told}>{inside}</object>'


def pci(busid: str, inside: str = "", kind: str = "0302 [10de:2330]", more: str = "") -> str:
    return (
        f'<object type="PCIDev" pci_busid="{busid}" pci_type="{kind} [10de:0000] a1" '
        f'pci_link_speed="0.0" {more}>{inside}</object>'
    )


def device(name: str, more: str = "", **infos: str) -> str:
    remarks = "".join(f'<info name="{k}" value="{v}"/>' for k, v in infos.items())
    return f'<object type="OSDev" name="{name}" {more}>{remarks}</object>'


def reasons(document: MachineDocument) -> dict[tuple[str, str], str]:
    return {(m.subject, m.fact): m.reason for m in document.unknown}


def ids(document: MachineDocument, kind: type[Node]) -> list[str]:
    return [node.id for node in document.nodes if isinstance(node, kind)]


NIC = "0200 [8086:10d3]"


@pytest.mark.parametrize(
    ("version", "network", "verbs", "disk"),
    [
        ("", "2", "3", "0"),
        (' version="2.0"', "2", "3", "0"),
        (' version="2.1"', "2", "3", "0"),
        (' version="3.0"', "16", "32", "1"),
        (' version="3.0"', "2", "3", "0"),  # written before version 3 changed it
        ("", "16", "48", "1"),  # the version was lost
    ],
)
def test_os_devices_are_known_in_all_dialects(
    version: str, network: str, verbs: str, disk: str
) -> None:
    card = pci(
        "0000:01:00.0",
        device("eth0", f'osdev_type="{network}"') + device("mlx5_0", f'osdev_type="{verbs}"'),
        NIC,
    )
    drive = pci("0000:02:00.0", device("sda", f'osdev_type="{disk}"'), "0106 [8086:2922]")
    document = scan(NUMAS + group(bridge(card + drive)), version)
    port = Machine(document).all(Nic)[0].ports[0]
    assert (port.net_interface, port.verbs_device) == ("eth0", "mlx5_0")
    assert [d.block_devices for d in Machine(document).all(Nvme)] == [("sda",)]


@pytest.mark.parametrize(
    ("more", "infos"),
    [
        ("", {"Address": "02:00"}),
        ('osdev_type="999"', {"Address": "02:00"}),
        ('subtype="Slingshot"', {}),
    ],
)
def test_interface_without_a_kind_is_known_by_its_remarks(more: str, infos: dict[str, str]) -> None:
    document = scan(NUMAS + group(bridge(pci("0000:01:00.0", device("x0", more, **infos), NIC))))
    assert [p.net_interface for n in Machine(document).all(Nic) for p in n.ports] == ["x0"]


@pytest.mark.parametrize(
    ("version", "kind", "subtype"),
    [("2.0", "0", "SPM"), ("3.0", "2", "SPM"), ("3.0", "3", "CXLMem"), ("3.0", "2", "CXLMem")],
)
def test_memory_device_is_no_network(version: str, kind: str, subtype: str) -> None:
    inside = device(
        "mem0", f'osdev_type="{kind}" subtype="{subtype}"', CXLRAMSize="1024KiB", CXLPMEMSize="1"
    )
    card = pci("0000:01:00.0", inside, "0502 [8086:0d93]")
    document = scan(NUMAS + group(bridge(card)), f' version="{version}"')
    assert ids(document, Nic) == []
    expected = 1025 * 1024 if subtype == "CXLMem" else None
    assert [m.memory_bytes for m in Machine(document).all(CxlMemory)] == [expected]


def test_port_states_are_told_by_the_verbs_device() -> None:
    inside = device("mlx5_0", 'osdev_type="3"', Port1State="4") + device(
        "mlx5_1", 'osdev_type="3"', Port1State="1"
    )
    document = scan(NUMAS + group(bridge(pci("0000:01:00.0", inside, NIC))))
    states = [p.state for p in Machine(document).all(Nic)[0].ports]
    assert states == ["active", "down"]


def test_gpu_is_described_by_its_management_library_first() -> None:
    inside = device("opencl0d0", GPUModel="gfx942", OpenCLGlobalMemorySize="1") + device(
        "rsmi0", GPUModel="AMD Instinct", RSMIVRAMSize="2048KiB", AMDUUID="ab", XGMIHiveID="0x1F"
    )
    document = scan(NUMAS + group(bridge(pci("0000:01:00.0", inside, "1200 [1002:74a1]"))))
    gpu = Machine(document).all(Gpu)[0]
    assert (gpu.name, gpu.memory_bytes, gpu.uuid) == ("AMD Instinct", 2 << 20, "ab")
    assert gpu.hive_id == "000000000000001f"


def test_several_devices_of_a_library_on_one_function_are_partitions() -> None:
    inside = device("rsmi0", GPUModel="x") + device("rsmi1", GPUModel="x")
    document = scan(NUMAS + group(bridge(pci("0000:01:00.0", inside, "1200 [1002:74a1]"))))
    assert len(ids(document, Gpu)) == 1
    assert len(ids(document, Partition)) == 2


def test_gpu_with_an_unreadable_config_is_known_by_its_library() -> None:
    inside = device("nvml0", GPUModel="H100")
    document = scan(NUMAS + group(bridge(pci("0000:01:00.0", inside, "0000 [0000:0000]"))))
    assert ids(document, Gpu) == ["gpu@0000:01:00.0"]
    assert ("gpu@0000:01:00.0", "pci_vendor") in reasons(document)


@pytest.mark.parametrize("told", ['bridge_type="0-1"', "", 'bridge_pci="?"'])
def test_host_bridge_that_tells_no_bus_gets_that_of_its_devices(told: str) -> None:
    document = scan(NUMAS + group(bridge(pci("0001:3b:00.0"), told)))
    assert ids(document, HostBridge) == ["host_bridge@0001:3b"]
    assert Machine(document).all(Gpu)[0].numa_index == 0


def test_pci_domain_may_have_32_bits() -> None:
    document = scan(
        NUMAS + group(bridge(pci("10000:00:04.0"), 'bridge_type="0-1" bridge_pci="10000:[00-01]"'))
    )
    assert ids(document, Gpu) == ["gpu@10000:00:04.0"]
    assert ids(document, HostBridge) == ["host_bridge@10000:00"]


def test_bridge_without_an_address_keeps_what_is_below() -> None:
    inner = '<object type="Bridge" bridge_type="1-1" pci_busid="?">' + pci("0000:01:00.0")
    document = scan(NUMAS + group(bridge(inner + "</object>")))
    assert ids(document, Gpu) == ["gpu@0000:01:00.0"]
    assert ("host", "pci '?'") in reasons(document)


def test_device_without_an_address_is_named_and_its_port_stays() -> None:
    inside = pci("", device("eth0", 'osdev_type="2"'), NIC)
    document = scan(NUMAS + group(bridge(inside + pci("0000:02:00.0"))))
    assert ids(document, Nic) == ["nic:eth0"]
    assert any(fact.startswith("pci ") for _, fact in reasons(document))


def test_device_that_stands_twice_is_one() -> None:
    document = scan(NUMAS + group(bridge(pci("0000:01:00.0") + pci("0000:01:00.0"))))
    assert ids(document, Gpu) == ["gpu@0000:01:00.0"]
    assert [c.subject for c in document.contradictions] == ["gpu@0000:01:00.0"]


@pytest.mark.parametrize(
    ("place", "numa"),
    [
        (PLACE, 0),
        ('cpuset="0xf0"', 1),
        ('cpuset="0x30"', 1),
        ('cpuset="0xff" nodeset="0x3"', None),
        ('cpuset="0xf...f"', None),
        ("", None),
    ],
)
def test_host_bridge_is_near_the_part_that_it_hangs_on(place: str, numa: int | None) -> None:
    document = scan(NUMAS + group(bridge(pci("0000:01:00.0")), place))
    assert Machine(document).all(Gpu)[0].numa_index == numa
    assert (("gpu@0000:01:00.0", "numa_index") in reasons(document)) == (numa is None)


def test_file_without_bridges_places_devices_by_numa_node_only() -> None:
    other = 'cpuset="0xf0" nodeset="0x2"'
    document = scan(
        NUMAS + group(pci("0000:01:00.0") + pci("0000:02:00.0")) + group(pci("0000:81:00.0"), other)
    )
    assert Counter(p.path_class for p in document.pairs) == {None: 1, "SYS": 2}
    assert ("host", "host bridges") in reasons(document)


@pytest.mark.parametrize(
    ("info", "words"),
    [("", "without I/O"), ('<info name="Backend" value="Synthetic"/>', "synthetic")],
)
def test_file_without_pci_says_so(info: str, words: str) -> None:
    document = scan(info + '<object type="Package" cpuset="0x0f">' + NUMAS + "</object>")
    assert ids(document, Package) == ["package:0"]
    assert words in reasons(document)["host", "PCI devices"]


def test_devices_without_their_pci_functions_are_kept_without_a_place() -> None:
    inside = device("cuda0", GPUModel="H100") + device("nvml0", GPUModel="H100")
    ports = device("eth0", 'osdev_type="2"') + device("mlx5_0", 'osdev_type="3"')
    document = scan(NUMAS + inside + ports)
    assert (ids(document, Gpu), ids(document, Nic)) == (["gpu:0"], ["nic:eth0", "nic:mlx5_0"])
    assert ("gpu:0", "pci_address") in reasons(document)


@pytest.mark.parametrize(
    ("told", "info", "memory_of", "name"),
    [
        ('subtype="GPUMemory"', "0000:01:00.0", "gpu@0000:01:00.0", "memory of a GPU"),
        ('subtype="HBM"', "", None, "HBM memory"),
        ('subtype="CXL-DRAM"', "", None, "CXL-DRAM memory"),
    ],
)
def test_memory_that_is_not_the_cpus_is_told_apart(
    told: str, info: str, memory_of: str | None, name: str
) -> None:
    extra = f'<object type="NUMANode" os_index="8" {PLACE} {told}>'
    extra += f'<info name="PCIBusID" value="{info}"/></object>'
    document = scan(NUMAS + extra + group(bridge(pci("0000:01:00.0"))))
    machine = Machine(document)
    numa = machine.all(Numa)[2]
    assert (numa.cpus, numa.memory_of) == ((), memory_of)
    assert name in numa.name
    gpu = machine.all(Gpu)[0]
    assert gpu.numa_index == 0
    assert gpu.memory_numa_index == (8 if memory_of else None)


V1 = '<distances nbobjs="2" relative_depth="1" latency_base="10.0">{}</distances>'
V2 = '<distances2 type="NUMANode" nbobjs="2" kind="5" {}>{}</distances2>'


@pytest.mark.parametrize(
    ("inside", "after", "expected"),
    [
        (V1.format("".join(f'<latency value="{v}"/>' for v in ("1.0", "2.1", "2.1", "1.0"))), "",
         (10, 21)),
        ("", V2.format('name="NUMALatency" indexing="os"',
                       "<indexes>0 1</indexes><u64values>10 21 21 10</u64values>"), (10, 21)),
        ("", V2.format('indexing="os"',
                       "<indexes>0 </indexes><indexes>1</indexes><u64values>10 21 </u64values>"
                       "<u64values>21 10</u64values>"), (10, 21)),
        ("", V2.format('indexing="os"', "<indexes>0 1</indexes><u64values>10 21</u64values>"), ()),
        (V1.format('<latency value="1.0"/>'), "", ()),
    ],
)  # fmt: skip
def test_distances_are_read_in_all_dialects(
    inside: str, after: str, expected: tuple[int, ...]
) -> None:
    document = scan(inside + NUMAS, after=after)
    assert Machine(document).all(Numa)[0].distances == expected


def matrix(name: str, values: str, indexes: str = "1 2") -> str:
    return (
        f'<distances2 type="OSDev" nbobjs="2" kind="9" name="{name}" indexing="gp">'
        f"<indexes>{indexes}</indexes><u64values>{values}</u64values></distances2>"
    )


def two_gpus(model: str = "", kind: str = "0302 [10de:2330]") -> str:
    return NUMAS + group(
        bridge(
            "".join(
                pci(f"0000:0{i}:00.0", device(f"nvml{i}", f'gp_index="{i}"', GPUModel=model), kind)
                for i in (1, 2)
            )
        )
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVLinkBandwidth", LinkKind.NVLINK),
        ("XGMIBandwidth", LinkKind.XGMI),
        ("XeLinkBandwidth", LinkKind.XELINK),
    ],
)
def test_bandwidth_matrix_is_links(name: str, kind: LinkKind) -> None:
    document = scan(two_gpus(), after=matrix(name, "1000000 450000 450000 1000000"))
    found = [link for link in document.links if link.kind is kind]
    assert [(x.a, x.b) for x in found] == [("gpu@0000:01:00.0", "gpu@0000:02:00.0")]
    assert found[0].nominal is not None
    assert found[0].nominal.bandwidth_bytes_per_s == 450e9


@pytest.mark.parametrize(
    ("model", "kind", "value", "count"),
    [
        ("Tesla P100-SXM2-16GB", "0302 [10de:ffff]", 80000, 4),
        ("NVIDIA A40", "0302 [10de:2235]", 100000, 4),
        ("NVIDIA B200", "0302 [10de:ffff]", 900000, 18),
        ("unheard of", "0302 [10de:ffff]", 450000, 18),
    ],
)
def test_nvlinks_are_counted_with_hwlocs_own_rate(
    model: str, kind: str, value: int, count: int
) -> None:
    values = f"1000000 {value} {value} 1000000"
    document = scan(two_gpus(model, kind), after=matrix("NVLinkBandwidth", values))
    assert [x.count for x in document.links if x.kind is LinkKind.NVLINK] == [count]


@pytest.mark.parametrize(
    ("values", "indexes", "words"),
    [
        ("1 2 3", "1 2", "3 values for 2"),
        ("0 9 9 0", "1 77", "does not have"),
        ("", "", "0 values"),
    ],
)
def test_matrix_that_cannot_be_used_is_named(values: str, indexes: str, words: str) -> None:
    document = scan(two_gpus(), after=matrix("NVLinkBandwidth", values, indexes))
    assert [x for x in document.links if x.kind is LinkKind.NVLINK] == []
    assert words in reasons(document)["host", "NVLinkBandwidth"]


@pytest.mark.parametrize("speed", ["nan", "inf", "-1", "1e400", "x", ""])
def test_link_speed_that_is_none_is_unknown(speed: str) -> None:
    inside = pci("0000:01:00.0").replace('pci_link_speed="0.0"', f'pci_link_speed="{speed}"')
    document = scan(NUMAS + group(bridge(inside)))
    assert ("pcie@0000:01:00.0", "nominal") in reasons(document)


@pytest.mark.parametrize("text", ["<topology/>", "<topology><object type='PU'/></topology>"])
def test_topology_without_a_machine_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="Machine"):
        hwloc_xml.read(text.encode(), "x.xml")


def read(recordings: Path, name: str) -> MachineDocument:
    path = recordings / "topologies" / name
    return scan_files([(path.name, path.read_bytes())])


def test_lassens_gpu_memory_is_called_that(recordings: Path) -> None:
    document = read(recordings, "hwloc-xml/coral-lassen-hwloc1.xml")
    names = [n.name for n in Machine(document).all(Numa) if not n.cpus]
    assert names == [f"NUMA node {i} (memory of a GPU without CPUs)" for i in range(252, 256)]
    assert Machine(document).all(Numa)[0].distances == (10, 40, 80, 80, 80, 80)


def test_dgx2_has_slow_switch_links_and_full_gpu_links(recordings: Path) -> None:
    document = read(recordings, "hwloc-xml/nvidiaDGX2.xml")
    machine = Machine(document)
    current = {
        node.id: link.current.bandwidth_bytes_per_s
        for node in (*machine.all(Gpu), *machine.all(NvSwitch))
        if (link := machine.link_above(node.id)) and link.current
    }
    rates = Counter((name[:3], round((rate or 0) / 1e9, 3)) for name, rate in current.items())
    assert rates[("gpu", 15.754)] == 16
    assert set(rates) <= {("gpu", 15.754), ("nvs", 1.0)}
    assert sum(len(x.ports) for x in (*machine.all(HostBridge), *machine.all(PcieSwitch))) == 56
    assert Counter(link.count for link in document.links if link.kind is LinkKind.NVLINK) == {1: 96}
    numas = Counter(gpu.numa_index for gpu in machine.all(Gpu))
    assert list(numas.values()) == [8, 8]


def test_forced_locality_of_the_r910_is_of_two_nodes_each(recordings: Path) -> None:
    document = read(recordings, "sysfs/40intel64-2g2n4c+pcilocality.xml")
    machine = Machine(document)
    assert [(p.os_index, p.num_cores) for p in machine.all(Package)] == [(i, 10) for i in range(4)]
    assert [(n.os_index, n.parent) for n in machine.all(Numa)] == [
        (i, f"package:{i}") for i in range(4)
    ]
    cpus = {b.id: {cpu % 4 for cpu in b.cpus} for b in machine.all(HostBridge)}
    assert cpus == {"host_bridge@0000:00": {0, 2}, "host_bridge@0000:40": {1, 3}}
    assert {n.numa_index for n in machine.all(Nic)} == {None}


@pytest.mark.parametrize(
    "name",
    ["hwloc-xml/nvidiaDGX2.xml", "hwloc-xml/tuo.SPX.xml", "hwloc-xml/cxlmem+dax.v3.xml",
     "sysfs/40intel64-2g2n4c+pcilocality.xml"],
)  # fmt: skip
def test_every_pci_function_of_a_file_is_in_the_facts(name: str, recordings: Path) -> None:
    data = (recordings / "topologies" / name).read_bytes()
    facts = hwloc_xml.read(data, name)
    written = set(re.findall(r'pci_busid="([^"]+)"', data.decode()))
    assert {f.address for f in facts.functions} == written


def test_partitions_without_a_function_belong_to_the_only_gpu_around() -> None:
    own = device("rsmi0", 'gp_index="1"', GPUModel="MI300A")
    strays = device("rsmi1", 'gp_index="2"') + device("rsmi2", 'gp_index="3"')
    card = pci("0000:01:00.0", own, "1200 [1002:74a0]")
    other = pci("0001:01:00.0", device("rsmi3", 'gp_index="4"'), "1200 [1002:74a0]")
    document = scan(
        NUMAS
        + group(bridge(card + strays))
        + group(bridge(other, 'bridge_type="0-1" bridge_pci="0001:[00-09]"'), 'cpuset="0xf0"'),
        after=matrix("XGMIBandwidth", "0 1 1 9 1 0 1 9 1 1 0 9 9 9 9 0", "1 2 3 4"),
    )
    gpus = Machine(document).all(Gpu)
    assert [(g.id, g.partition_mode) for g in gpus] == [
        ("gpu@0000:01:00.0", "TPX"),
        ("gpu@0001:01:00.0", None),
    ]
    parts = Machine(document).all(Partition)
    assert [(p.name, p.parent) for p in parts] == [
        (f"rsmi{i}", "gpu@0000:01:00.0") for i in range(3)
    ]
    assert len([x for x in document.links if x.kind is LinkKind.XGMI]) == 1


def test_gpu_that_may_be_a_part_of_several_is_named() -> None:
    cards = pci("0000:01:00.0") + pci("0000:02:00.0")
    document = scan(NUMAS + group(bridge(cards) + device("nvml5", GPUModel="x")))
    assert len(ids(document, Gpu)) == 2
    assert ("host", "GPU nvml5") in reasons(document)


def test_port_below_a_bridge_is_kept() -> None:
    inner = '<object type="Bridge" bridge_type="1-1" pci_busid="0000:00:01.0">'
    nic = pci("?", device("eth0", 'osdev_type="2"'), NIC)
    document = scan(
        NUMAS + group(bridge(inner + nic + device("eth1", 'osdev_type="2"') + "</object>"))
    )
    assert sorted(ids(document, Nic)) == ["nic:eth0", "nic:eth1"]


def test_nvlinks_to_power_cpus_lead_to_their_numa_node() -> None:
    package = f'<object type="Package" os_index="0" gp_index="9" {PLACE}>'
    card = pci("0000:01:00.0", device("nvml0", 'gp_index="1"', GPUModel="P100"), "0302 [10de:15f9]")
    values = matrix("NVLinkBandwidth", "1000000 40000 40000 1000000", "OSDev:1 Package:9")
    document = scan(package + NUMAS + bridge(card) + "</object>", after=values)
    links = [x for x in document.links if x.kind is LinkKind.NVLINK]
    assert [({x.a, x.b}, x.count) for x in links] == [({"gpu@0000:01:00.0", "numa:0"}, 2)]


@pytest.mark.parametrize("number", ["-1", "4294967295", "", "x"])
def test_package_without_a_number_gets_the_next_free_one(number: str) -> None:
    package = '<object type="Package" os_index="{}" cpuset="0x0f"/>'
    document = scan(package.format("0") + package.format(number) + NUMAS)
    assert ids(document, Package) == ["package:0", "package:1"]


def port_with(device_name: str) -> MachineDocument:
    """Return a machine whose root port tells 1.97 GB/s, and the GPU below it 15.75."""
    gpu = pci("0000:01:00.0", device(device_name)).replace('speed="0.0"', 'speed="15.753846"')
    port = (
        '<object type="Bridge" bridge_type="1-1" bridge_pci="0000:[01-01]" '
        'pci_busid="0000:00:01.0" pci_type="0604 [8086:2030] [0000:0000] 04" '
        f'pci_link_speed="1.969231">{gpu}</object>'
    )
    return scan(NUMAS + group(bridge(port)))


def test_speed_that_nvml_told_may_be_the_most_and_contradicts_nothing() -> None:
    document = port_with("nvml0")
    link = Machine(document).link_above("gpu@0000:01:00.0")
    assert link is not None
    assert link.current is not None
    assert link.current.bandwidth_bytes_per_s == pytest.approx(15.753846e9, rel=1e-6)
    assert link.may_be_maximum
    assert document.contradictions == ()
    assert "NVML's: before release 3 the most" in reasons(document)[link.id, "nominal"]


def test_speed_that_nvml_did_not_tell_is_the_current_one() -> None:
    document = port_with("card0")
    link = Machine(document).link_above("gpu@0000:01:00.0")
    assert link is not None
    assert not link.may_be_maximum
    assert [c.subject for c in document.contradictions] == [link.id]
    assert "current speed" in reasons(document)[link.id, "nominal"]


@pytest.mark.parametrize("name", ["coral-lassen", "g4dnmetal", "nvidiaDGX2"])
def test_speeds_of_nvidias_gpus_are_not_called_those_of_the_moment(
    name: str, recordings: Path
) -> None:
    document = read(recordings, f"hwloc-xml/{name}.xml")
    machine = Machine(document)
    links = [machine.link_above(gpu.id) for gpu in machine.all(Gpu)]
    assert all(link is not None and link.may_be_maximum for link in links)
    assert [c for c in document.contradictions if c.fact == "current"] == []
