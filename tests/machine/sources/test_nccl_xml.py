"""NCCL and RCCL files of strangers: guests, containers, clusters, hand-made and damaged ones."""

from __future__ import annotations

import pytest

from topoprobe.errors import InputError
from topoprobe.machine.sources import nccl_xml
from topoprobe.machine.sources.scan import scan_files
from topoprobe.machine.view import Machine
from topoprobe.records.machine import (
    Gpu,
    Link,
    LinkKind,
    MachineDocument,
    Nic,
    Numa,
    NvSwitch,
    Other,
    PcieSwitch,
)

GEN5 = 'link_speed="32.0 GT/s PCIe" link_width="16"'


def scan(inside: str) -> MachineDocument:
    return scan_files([("x.xml", f'<system version="1">{inside}</system>'.encode())])


def on_cpu(inside: str, numa: str = 'numaid="0"', affinity: str = "ff") -> str:
    return f'<cpu {numa} affinity="{affinity}" arch="x86_64">{inside}</cpu>'


def gpu(busid: str, inside: str = "", sm: str = "90", link: str = GEN5) -> str:
    return (
        f'<pci busid="{busid}" class="0x030200" vendor="0x10de" device="0x2330" {link}>'
        f'<gpu dev="0" sm="{sm}">{inside}</gpu></pci>'
    )


def nic(busid: str, inside: str = "", code: str = "0x020700") -> str:
    return (
        f'<pci busid="{busid}" class="{code}" vendor="0x15b3" device="0x1021" {GEN5}>'
        f"<nic>{inside}</nic></pci>"
    )


def net(name: str = "mlx5_0", **more: str) -> str:
    told = {"port": "1", "speed": "400000", "guid": "0xab", **more}
    return f'<net name="{name}" {" ".join(f"{k}={v!r}" for k, v in told.items())}/>'


def switch(busid: str, inside: str, link: str = GEN5, chip: str = "1000:c030") -> str:
    vendor, device = chip.split(":")
    return (
        f'<pci busid="{busid}" class="0x060400" vendor="0x{vendor}" device="0x{device}" {link}>'
        f"{inside}</pci>"
    )


def reasons(document: MachineDocument) -> dict[tuple[str, str], str]:
    return {(m.subject, m.fact): m.reason for m in document.unknown}


def links(document: MachineDocument, kind: LinkKind) -> list[Link]:
    return [link for link in document.links if link.kind is kind]


def ids(document: MachineDocument, kind: type) -> list[str]:
    return [node.id for node in document.nodes if isinstance(node, kind)]


@pytest.mark.parametrize(
    "target", ["fffffff:ffff:ff", "fffffff:ff:ff.0", "FFFFFFFF:FF:FF.0", "ffffffff:ffff:ff"]
)
@pytest.mark.parametrize("tclass", ["0x068000", "0x68000", "068000", "0x0680", ""])
def test_hidden_nvswitch_is_one_fabric_however_it_is_spelled(target: str, tclass: str) -> None:
    link = f'<nvlink target="{target}" count="18" tclass="{tclass}"/>'
    document = scan(on_cpu(gpu("0000:0f:00.0", link) + gpu("0000:1f:00.0", link)))
    assert ids(document, NvSwitch) == ["nvswitch@fabric"]
    assert [p.path_class for p in document.pairs] == ["NV18"]


@pytest.mark.parametrize(
    ("element", "words"),
    [
        ('<nvlink target="0000:1f:00.0" tclass="0x030200"/>', "no count"),
        ('<nvlink target="0000:1f:00.0" count="-1"/>', "'-1'"),
        ('<nvlink target="0000:1f:00.0" count="x"/>', "'x'"),
        ('<nvlink target="0000:1f:00.0" count="65000"/>', "65000"),
        ('<nvlink target="" count="4" tclass="0x030200"/>', "no PCI address"),
        ('<nvlink count="4" tclass="0x030200"/>', "no PCI address"),
    ],
)
def test_nvlink_that_tells_too_little_is_named(element: str, words: str) -> None:
    document = scan(on_cpu(gpu("0000:0f:00.0", element) + gpu("0000:1f:00.0")))
    assert links(document, LinkKind.NVLINK) == []
    told = [m.reason for m in document.unknown if m.fact.startswith("nvlink to")]
    assert len(told) == 1
    assert words in told[0]


def test_nvlink_beside_the_gpu_element_counts_too() -> None:
    inside = gpu("0000:0f:00.0").replace(
        "</pci>", '<nvlink target="0000:1f:00.0" count="4"/></pci>'
    )
    document = scan(on_cpu(inside + gpu("0000:1f:00.0")))
    assert [link.count for link in links(document, LinkKind.NVLINK)] == [4]


def test_c2c_of_gb200_leads_to_the_cpu_with_its_bandwidth() -> None:
    document = scan(
        on_cpu(gpu("0008:01:00.0", '<c2c bw="44712" count="5"/>', sm="100"), 'numaid="0"')
        + on_cpu(gpu("0018:01:00.0", '<c2c bw="44712" count="5"/>', sm="100"), 'numaid="1"')
    )
    found = links(document, LinkKind.C2C)
    assert [{link.a, link.b} for link in found] == [
        {"gpu@0008:01:00.0", "numa:0"},
        {"gpu@0018:01:00.0", "numa:1"},
    ]
    for link in found:
        assert link.nominal is not None
        assert link.nominal.bandwidth_bytes_per_s == pytest.approx(223.56e9)


def test_nvlink_of_power9_to_its_cpu_is_no_nvswitch() -> None:
    link = '<nvlink target="0004:00:01.0" count="3" tclass="0x068001"/>'
    document = scan(on_cpu(gpu("0004:04:00.0", link, sm="70")))
    assert [{link.a, link.b} for link in links(document, LinkKind.NVLINK)] == [
        {"gpu@0004:04:00.0", "numa:0"}
    ]
    assert ids(document, NvSwitch) == []


@pytest.mark.parametrize(
    ("sm", "capability"),
    [("90", "9.0"), ("103", "10.3"), ("120", "12.0"), ("0", None), ("-1", None), ("x", None)],
)
def test_sm_is_the_compute_capability(sm: str, capability: str | None) -> None:
    gpus = Machine(scan(on_cpu(gpu("0000:0f:00.0", sm=sm)))).all(Gpu)
    assert [g.compute_capability for g in gpus] == [capability]


@pytest.mark.parametrize(
    ("gcn", "architecture"), [("gfx942", "gfx942"), ("910", "gfx90a"), ("906", "gfx906")]
)
def test_sm_of_an_amd_gpu_is_no_compute_capability(gcn: str, architecture: str) -> None:
    inside = (
        '<pci busid="0000:0c:00.0" class="0x120000" vendor="0x1002" device="0x74a1">'
        f'<gpu dev="-1" sm="104" gcn="{gcn}" rank="3"/></pci>'
    )
    gpus = Machine(scan(on_cpu(inside))).all(Gpu)
    assert [(g.compute_capability, g.architecture) for g in gpus] == [(None, architecture)]


@pytest.mark.parametrize("wrap", ["{}", "<nic>{}</nic>", "<pci>{}</pci>", "<group>{}</group>"])
def test_port_without_a_function_is_a_nic_of_unknown_place(wrap: str) -> None:
    document = scan(on_cpu(wrap.format(net("eth0"))))
    assert ids(document, Nic) == ["nic:eth0"]
    assert ("nic:eth0", "pci_address") in reasons(document)


@pytest.mark.parametrize("under", ["<nic>{}</nic>", "{}"])
def test_the_same_port_under_both_cpus_is_one_nic(under: str) -> None:
    inside = under.format(net("mlx5_0"))
    document = scan(on_cpu(inside) + on_cpu(inside, 'numaid="1"', "ff00"))
    assert ids(document, Nic) == ["nic:mlx5_0"]
    assert [(c.subject, c.readings) for c in document.contradictions] == [
        ("nic:mlx5_0", ("below NUMA node 0", "below NUMA node 1"))
    ]


def test_the_same_function_under_both_cpus_is_one_nic_with_all_ports() -> None:
    one, other = nic("0000:1a:00.0", net("a")), nic("0000:1a:00.0", net("a") + net("b"))
    document = scan(on_cpu(one) + on_cpu(other, 'numaid="1"'))
    assert [[p.name for p in n.ports] for n in Machine(document).all(Nic)] == [["a", "b"]]
    assert [c.subject for c in document.contradictions] == ["nic@0000:1a:00.0"]


def test_repeated_switch_keeps_what_hangs_on_either() -> None:
    document = scan(
        on_cpu(switch("ffff:ff:01.0", gpu("0000:0f:00.0")))
        + on_cpu(switch("ffff:ff:01.0", gpu("0000:1f:00.0")), 'numaid="1"')
    )
    assert ids(document, Gpu) == ["gpu@0000:0f:00.0", "gpu@0000:1f:00.0"]
    assert [c.subject for c in document.contradictions] == ["pcie_switch@ffff:ff:01.0"]


@pytest.mark.parametrize("order", [1, -1])
def test_data_direct_engine_is_no_second_nic(order: int) -> None:
    parts = [nic("0000:1a:00.0", net("mlx5_0")), nic("0000:1b:00.0", net("mlx5_0_dma"), "0x080100")]
    document = scan(on_cpu("".join(parts[::order])))
    assert ids(document, Nic) == ["nic@0000:1a:00.0"]
    assert ids(document, Other) == ["other@0000:1b:00.0"]
    assert ("other@0000:1b:00.0", "network ports") in reasons(document)


def test_data_direct_engine_alone_stands_for_its_nic() -> None:
    document = scan(on_cpu(nic("0000:1b:00.0", net("mlx5_0"), "0x080100")))
    assert ids(document, Nic) == ["nic@0000:1b:00.0"]


@pytest.mark.parametrize("speed", ["-1", "0", "", "x"])
def test_port_without_a_speed_has_an_unknown_rate(speed: str) -> None:
    document = scan(on_cpu(nic("0000:1a:00.0", net("a", speed=speed))))
    assert Machine(document).all(Nic)[0].ports[0].rate_bits_per_s is None
    assert ("nic@0000:1a:00.0", "rate of a") in reasons(document)


@pytest.mark.parametrize("under", [nic("0000:1a:00.0", net("a", speed="100000000")), None])
def test_speed_a_thousand_times_too_high_is_mended(under: str | None) -> None:
    document = scan(on_cpu(under or f"<nic>{net('a', speed='100000000')}</nic>"))
    assert Machine(document).all(Nic)[0].ports[0].rate_bits_per_s == 100e9
    assert [c.fact for c in document.contradictions] == ["rate of a"]


def test_two_ports_of_one_name_are_told_apart() -> None:
    inside = net("mlx5_0") + net("mlx5_0", port="2") + net("mlx5_0", port="2")
    ports = Machine(scan(on_cpu(nic("0000:1a:00.0", inside)))).all(Nic)[0].ports
    assert [p.name for p in ports] == ["mlx5_0:1", "mlx5_0:2"]


QEMU = "104c:8232"
GEN1 = 'link_speed="2.5 GT/s PCIe" link_width="1"'


@pytest.mark.parametrize("below", [GEN5, 'link_speed="" link_width="0"'])
def test_emulated_switch_above_a_gpu_does_not_bound_it(below: str) -> None:
    document = scan(on_cpu(switch("0000:04:00.0", gpu("0000:05:00.0", link=below), GEN1, QEMU)))
    link = next(link for link in document.links if link.b == "pcie_switch@0000:04:00.0")
    assert link.nominal is None
    complaints = [c for c in document.contradictions if "emulated" in c.meaning]
    assert [c.subject for c in complaints] == ["pcie_switch@0000:04:00.0"]


@pytest.mark.parametrize(
    ("inside", "link"),
    [
        (gpu("0000:05:00.0"), GEN5),  # the hypervisor was told the real speed
        (nic("0000:05:00.0", "", "0x020000").replace(GEN5, GEN1), GEN1),  # as on real cards
    ],
)
def test_plausible_switch_keeps_its_link(inside: str, link: str) -> None:
    document = scan(on_cpu(switch("0000:04:00.0", inside, link, QEMU)))
    found = next(x for x in document.links if x.b == "pcie_switch@0000:04:00.0")
    assert found.nominal is not None
    assert document.contradictions == ()


@pytest.mark.parametrize("numa", ['numaid="-1"', "", 'numaid="x"', 'numaid="99999999999999999999"'])
def test_cpu_without_a_numa_node_keeps_its_devices(numa: str) -> None:
    document = scan(on_cpu(gpu("0000:0f:00.0"), numa) + on_cpu(gpu("0000:1f:00.0"), numa))
    assert ids(document, Numa) == []
    assert len(ids(document, Gpu)) == 2
    assert [p.path_class for p in document.pairs] == [None]
    assert ("gpu@0000:0f:00.0", "numa_index") in reasons(document)


@pytest.mark.parametrize("busid", ['busid=""', 'busid="zz"', ""])
def test_device_without_an_address_is_named_and_what_is_below_stays(busid: str) -> None:
    document = scan(on_cpu(f'<pci {busid} class="0x060400">{gpu("0000:0f:00.0")}</pci>'))
    assert ids(document, Gpu) == ["gpu@0000:0f:00.0"]
    assert any(fact.startswith("pci ") for _, fact in reasons(document))


@pytest.mark.parametrize("dev", ['dev="3"', 'dev="-1"', 'dev="x"', ""])
def test_gpu_without_an_address_is_still_a_gpu(dev: str) -> None:
    document = scan(on_cpu(f'<pci busid=""><gpu {dev} sm="90"/></pci>'))
    assert ids(document, Gpu) == ["gpu:3" if "3" in dev else "gpu:0"]
    assert Machine(document).all(Gpu)[0].numa_index == 0


def test_gpu_element_with_its_own_busid_has_a_place() -> None:
    assert ids(scan(on_cpu('<gpu busid="0000:0f:00.0" sm="90"/>')), Gpu) == ["gpu@0000:0f:00.0"]


def test_devices_outside_of_any_cpu_are_kept() -> None:
    document = scan(gpu("0000:0f:00.0") + nic("0000:1a:00.0", net()))
    assert (ids(document, Gpu), ids(document, Nic)) == (["gpu@0000:0f:00.0"], ["nic@0000:1a:00.0"])


def test_switch_without_a_class_is_known_by_what_it_carries() -> None:
    inside = f'<pci busid="0000:01:00.0">{gpu("0000:0f:00.0")}{gpu("0000:1f:00.0")}</pci>'
    document = scan(on_cpu(inside))
    assert ids(document, PcieSwitch) == ["pcie_switch@0000:01:00.0"]
    assert [p.path_class for p in document.pairs] == ["PIX"]


def test_only_the_first_machine_of_an_nvlink_domain_is_read() -> None:
    document = scan(
        on_cpu(gpu("0008:01:00.0"), 'host_hash="0x1" numaid="0"')
        + on_cpu(gpu("0008:01:00.0"), 'host_hash="0x2" numaid="0"')
        + on_cpu(gpu("0018:01:00.0"), 'host_hash="0x1" numaid="1"')
    )
    assert ids(document, Gpu) == ["gpu@0008:01:00.0", "gpu@0018:01:00.0"]
    assert "2 machines" in reasons(document)["host", "other machines"]
    assert document.contradictions == ()


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ('vendor="AuthenticAMD" familyid="175" modelid="1"', "family 25 model 1 = Milan"),
        ('vendor="AuthenticAMD" familyid="25" modelid="17"', "family 25 model 17 = Genoa"),
        ('vendor="AuthenticAMD" familyid="143" modelid="49"', "family 23 model 49 = Rome"),
        ('vendor="GenuineIntel" familyid="6" modelid="143"', "model 143 = Sapphire Rapids"),
        ('vendor="GenuineIntel" familyid="6" modelid="999"', "family 6 model 999)"),
    ],
)
def test_numa_node_names_its_processor(told: str, name: str) -> None:
    numa = Machine(scan(on_cpu("", f'numaid="0" {told}'))).all(Numa)[0]
    assert name in numa.name


def test_pcilink_between_virtual_switches_is_named() -> None:
    inside = switch("0000:01:00.0", '<pcilink target="0000:21:00.0"/>' + gpu("0000:0f:00.0"))
    assert ("pcie_switch@0000:01:00.0", "pcilink") in reasons(scan(on_cpu(inside)))


@pytest.mark.parametrize("inside", ["", "<gpu/>", "<x><y/></x>"])
def test_system_without_any_device_or_cpu_is_refused(inside: str) -> None:
    with pytest.raises(InputError, match="<cpu>"):
        nccl_xml.read(f"<system>{inside}</system>".encode(), "x.xml")


@pytest.mark.parametrize(
    "link", ['link_speed="{n} GT/s" link_width="16"', 'link_speed="8 GT/s" link_width="{n}"']
)
def test_absurd_numbers_are_unknown(link: str) -> None:
    nines = "9" * 400
    inside = gpu("0000:0f:00.0", f'<c2c bw="{nines}" count="2"/>', link=link.format(n=nines))
    document = scan(on_cpu(inside + nic("0000:1a:00.0", net(speed=nines))))
    uplink = Machine(document).link_above("gpu@0000:0f:00.0")
    assert uplink is not None
    assert uplink.nominal is None or uplink.nominal.bandwidth_bytes_per_s is None
