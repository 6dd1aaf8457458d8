"""Joining facts of several sources and folding them into one document."""

from __future__ import annotations

from typing import Any

import pytest

from topoprobe.machine.building import build
from topoprobe.machine.fabrics import draw_fabrics
from topoprobe.machine.facts import (
    Facts,
    GpuFact,
    HostFact,
    NicFact,
    NumaFact,
    PairFact,
    PartitionFact,
    PciFact,
    PeerFact,
)
from topoprobe.machine.findings import summary
from topoprobe.machine.pcie import capability
from topoprobe.machine.view import Machine
from topoprobe.records.base import Missing, Tool
from topoprobe.records.machine import (
    Gpu,
    HostBridge,
    LinkKind,
    MachineDocument,
    Nic,
    NicPort,
    NvSwitch,
    Other,
    Partition,
    PcieSwitch,
    PortRole,
)

GEN4 = capability(16e9, 16)
GEN5 = capability(32e9, 16)
BRIDGE, DISPLAY, ETHERNET = "060400", "030200", "020000"


def make(*sources: Facts) -> MachineDocument:
    return build(sources, origin="recorded", tool=Tool(tool_version="0"))


def pci(address: str, parent: str | None = None, class_code: str = BRIDGE, **more: Any) -> PciFact:
    return PciFact(address=address, root="0000:00", parent=parent, class_code=class_code, **more)


# A root port, a switch with two downstream ports, a GPU and a two-function NIC below it, and a
# function of the chip set on the root bus.
TREE = (
    pci("0000:00:01.0", maximum=GEN5),
    pci("0000:01:00.0", "0000:00:01.0", maximum=GEN4),
    pci("0000:02:00.0", "0000:01:00.0", maximum=GEN4),
    pci("0000:02:01.0", "0000:01:00.0", maximum=GEN4),
    pci("0000:03:00.0", "0000:02:00.0", DISPLAY, maximum=GEN5, current=capability(2.5e9, 16)),
    pci("0000:04:00.0", "0000:02:01.0", ETHERNET),
    pci("0000:04:00.1", "0000:02:01.0", ETHERNET),
    pci("0000:00:1f.0", class_code="060100"),
)


def test_ports_fold_into_their_host_bridge_and_switch() -> None:
    machine = Machine(make(Facts(source="a", tree="full", functions=TREE)))
    (bridge,) = machine.all(HostBridge)
    (switch,) = machine.all(PcieSwitch)
    assert [(p.address, p.role) for p in bridge.ports] == [("0000:00:01.0", PortRole.ROOT)]
    assert [(p.address, p.role) for p in switch.ports] == [
        ("0000:01:00.0", PortRole.UPSTREAM),
        ("0000:02:00.0", PortRole.DOWNSTREAM),
        ("0000:02:01.0", PortRole.DOWNSTREAM),
    ]
    assert switch.parent == bridge.id
    assert machine.all(Gpu)[0].parent == switch.id


def test_link_joins_ports_and_carries_the_lesser_of_both() -> None:
    machine = Machine(make(Facts(source="a", tree="full", functions=TREE)))
    link = machine.link_above("gpu@0000:03:00.0")
    assert link is not None
    assert (link.a, link.a_port, link.b_port) == (
        "pcie_switch@0000:01:00.0", "0000:02:00.0", "0000:03:00.0",
    )  # fmt: skip
    assert link.nominal == GEN4
    assert link.b_capability == GEN5
    assert link.current == capability(2.5e9, 16)


def test_functions_behind_one_port_share_a_wire() -> None:
    machine = Machine(make(Facts(source="a", tree="full", functions=TREE)))
    wires = {link.wire for nic in machine.all(Nic) if (link := machine.link_above(nic.id))}
    assert wires == {"wire@0000:02:01.0"}


def test_chip_set_function_is_kept_without_a_link() -> None:
    machine = Machine(make(Facts(source="a", tree="full", functions=TREE)))
    assert [other.id for other in machine.all(Other)] == ["other@0000:00:1f.0"]
    assert machine.link_above("other@0000:00:1f.0") is None


def test_told_roles_win_over_the_place_in_the_tree() -> None:
    nested = (
        pci("0000:01:00.0", role=PortRole.UPSTREAM),
        pci("0000:02:00.0", "0000:01:00.0", role=PortRole.UPSTREAM),
    )
    machine = Machine(make(Facts(source="nccl", tree="switches", functions=nested)))
    assert [switch.parent for switch in machine.all(PcieSwitch)] == [
        "host_bridge@0000:00", "pcie_switch@0000:01:00.0",
    ]  # fmt: skip


def test_circle_of_bridges_ends() -> None:
    circle = (pci("0000:01:00.0", "0000:02:00.0"), pci("0000:02:00.0", "0000:01:00.0"))
    document = make(Facts(source="a", tree="full", functions=circle))
    assert any(isinstance(node, PcieSwitch) for node in document.nodes)


@pytest.mark.parametrize(
    ("class_code", "vendor", "device", "kind"),
    [
        ("030200", "10de", "2330", "gpu"),
        ("030000", "10de", "2684", "gpu"),
        ("030000", "1a03", "2000", "other"),  # a management controller's screen
        ("030000", "1002", "515e", "other"),
        ("038000", "1002", "66a1", "gpu"),
        ("120000", "1002", "74a1", "gpu"),
        ("0b4000", "1bcf", "001c", "gpu"),
        ("0b4000", "8086", "4940", "other"),  # QAT
        ("068000", "10de", "22a3", "nvswitch"),
        ("020700", "15b3", "1021", "nic"),
        ("010802", "144d", "a808", "nvme"),
        ("050210", "8086", "0d93", "cxl_memory"),
    ],
)
def test_kind_follows_from_class_and_vendor(
    class_code: str, vendor: str, device: str, kind: str
) -> None:
    function = pci("0000:05:00.0", None, class_code, vendor=vendor, device=device)
    document = make(Facts(source="a", tree="full", functions=(function,)))
    assert f"{kind}@0000:05:00.0" in {node.id for node in document.nodes}


def test_virtual_function_is_a_partition_of_its_device() -> None:
    physical = pci("0000:04:00.0", None, ETHERNET)
    virtual = pci("0000:04:00.1", None, ETHERNET, physical_function="0000:04:00.0")
    machine = Machine(make(Facts(source="a", tree="full", functions=(physical, virtual))))
    (part,) = machine.all(Partition)
    assert (part.parent, part.partition_kind) == ("nic@0000:04:00.0", "virtual_function")
    assert len(machine.all(Nic)) == 1


def test_mig_device_is_a_partition_of_its_gpu() -> None:
    part = PartitionFact(key="mig0", subject="0000:03:00.0", name="1g.10gb", partition_kind="mig")
    machine = Machine(make(Facts(source="a", tree="full", functions=TREE, partitions=(part,))))
    assert [p.parent for p in machine.all(Partition)] == ["gpu@0000:03:00.0"]
    assert len(machine.all(Gpu)) == 1


def test_sources_are_joined_by_address_and_each_fact_keeps_its_source() -> None:
    tree = Facts(source="tree", tree="full", functions=TREE)
    driver = Facts(
        source="driver",
        functions=(PciFact(address="0000:03:00.0", kind="gpu"),),
        gpus=(GpuFact(subject="0000:03:00.0", name="A GPU", memory_bytes=1 << 30),),
    )
    document = make(driver, tree)
    (gpu,) = Machine(document).all(Gpu)
    assert (gpu.name, gpu.memory_bytes) == ("A GPU", 1 << 30)
    said = {p.source: p.facts for p in document.provenance if p.subject == gpu.id}
    assert "parent" in said["tree"]
    assert set(said["driver"]) == {"kind", "name", "memory_bytes"}


def test_disagreeing_sources_are_reported_and_the_first_is_used() -> None:
    one = Facts(source="one", numas=(NumaFact(os_index=0, cpus=(0, 1)),))
    other = Facts(source="other", numas=(NumaFact(os_index=0, cpus=(0, 1, 2)),))
    document = make(one, other)
    (found,) = document.contradictions
    assert (found.subject, found.fact) == ("numa:0", "cpus")
    assert found.readings == ("one: 0-1", "other: 0-2")


def test_class_in_fewer_digits_is_no_contradiction() -> None:
    short = Facts(source="hwloc", tree="full", functions=(pci("0000:03:00.0", None, "0302"),))
    long = Facts(source="nccl", functions=(pci("0000:03:00.0", None, DISPLAY),))
    document = make(short, long)
    assert document.contradictions == ()
    assert Machine(document).all(Gpu)[0].pci_class == DISPLAY


def test_switches_that_only_a_partial_tree_shows_are_left_out() -> None:
    full = Facts(source="full", tree="full", functions=TREE)
    partial = Facts(
        source="nccl",
        tree="switches",
        functions=(
            pci("ffff:ff:01.0", role=PortRole.UPSTREAM),
            pci("0000:03:00.0", "ffff:ff:01.0", DISPLAY),
        ),
    )
    machine = Machine(make(partial, full))
    assert [s.pci_address for s in machine.all(PcieSwitch)] == ["0000:01:00.0"]
    assert machine.all(Gpu)[0].parent == "pcie_switch@0000:01:00.0"


def test_source_that_tells_nothing_is_not_named() -> None:
    silent = Facts(source="nvml", unknown=(Missing(subject="host", fact="nvml", reason="none"),))
    document = make(Facts(source="sysfs", host=HostFact(name="h")), silent)
    assert document.sources == ("sysfs",)
    assert ("host", "nvml", "none") in {(m.subject, m.fact, m.reason) for m in document.unknown}


def test_numa_node_is_found_by_the_cpus_near_a_device_and_said_so() -> None:
    numas = (NumaFact(os_index=0, cpus=(0, 1)), NumaFact(os_index=1, cpus=(2, 3)))
    near = pci("0000:03:00.0", None, DISPLAY, cpus=(2, 3))
    everywhere = pci("0000:05:00.0", None, DISPLAY, cpus=(0, 1, 2, 3))
    document = make(Facts(source="a", tree="full", numas=numas, functions=(near, everywhere)))
    assert [gpu.numa_index for gpu in Machine(document).all(Gpu)] == [1, None]
    derived = [p.subject for p in document.provenance if p.source.startswith("derived")]
    assert derived == ["gpu@0000:03:00.0"]


def test_numa_node_that_its_own_cpus_deny_is_not_believed() -> None:
    numas = (NumaFact(os_index=0, cpus=(0, 1)), NumaFact(os_index=1, cpus=(2, 3)))
    odd = pci("0000:03:00.0", None, DISPLAY, numa_index=1, cpus=(0, 1, 2, 3))
    document = make(Facts(source="a", tree="full", numas=numas, functions=(odd,)))
    assert Machine(document).all(Gpu)[0].numa_index is None
    assert [c.fact for c in document.contradictions] == ["numa_index"]


def test_nic_without_an_address_is_one_nic_of_unknown_place() -> None:
    nic = NicFact(key="eth0", ports=(NicPort(name="eth0"),))
    gpu = pci("0000:03:00.0", None, DISPLAY)
    document = make(Facts(source="a", tree="full", functions=(gpu,), nics=(nic,)))
    assert [n.id for n in Machine(document).all(Nic)] == ["nic:eth0"]
    assert [p.path_class for p in document.pairs] == [None]


def peer(a: str, b: str | None, count: int, **more: Any) -> PeerFact:
    return PeerFact(a=a, b=b, kind=LinkKind.NVLINK, count=count, **{"b_kind": "gpu", **more})


GPUS = (pci("0000:03:00.0", None, DISPLAY), pci("0000:05:00.0", None, DISPLAY))


def test_link_told_by_both_ends_is_one_link() -> None:
    peers = (peer("0000:03:00.0", "0000:05:00.0", 4), peer("0000:05:00.0", "0000:03:00.0", 4))
    document = make(Facts(source="a", tree="full", functions=GPUS, peers=peers))
    found = [link for link in document.links if link.kind is LinkKind.NVLINK]
    assert [link.count for link in found] == [4]
    assert document.contradictions == ()


def test_link_told_from_one_end_counts_for_both_gpus() -> None:
    there, back = (
        peer("0000:03:00.0", "0000:05:00.0", 4), peer("0000:05:00.0", "0000:03:00.0", 4),
    )  # fmt: skip
    for peers in ((there,), (there, back)):
        document = make(Facts(source="a", tree="full", functions=GPUS, peers=peers))
        assert [gpu.num_nvlinks for gpu in Machine(document).all(Gpu)] == [4, 4]


def test_ends_that_count_differently_are_reported() -> None:
    peers = (peer("0000:03:00.0", "0000:05:00.0", 4), peer("0000:05:00.0", "0000:03:00.0", 3))
    document = make(Facts(source="a", tree="full", functions=GPUS, peers=peers))
    assert [c.readings for c in document.contradictions] == [
        ("gpu@0000:03:00.0: 4", "gpu@0000:05:00.0: 3")
    ]


def test_hidden_switches_are_one_fabric_that_joins_all_gpus() -> None:
    peers = tuple(peer(g.address, None, 18, b_kind="nvswitch") for g in GPUS)
    document = make(Facts(source="a", tree="full", functions=GPUS, peers=peers))
    assert [n.id for n in Machine(document).all(NvSwitch)] == ["nvswitch@fabric"]
    reasons = [m.reason for m in document.unknown if m.subject == "nvswitch@fabric"]
    assert reasons == ["No source tells the NVSwitches' addresses."]
    assert summary(Machine(document)).startswith("2 GPUs, NVSwitches (how many is not told)")
    assert "to NVSwitches whose addresses are not told." in draw_fabrics(Machine(document), 200)
    assert [p.path_class for p in document.pairs] == ["NV18"]


NVLINKS = "No source shows its NVLinks; classes between GPUs are those of PCIe."


@pytest.mark.parametrize(
    ("gpu", "facts", "is_said"),
    [
        ({}, {}, True),
        ({"vendor": "10de"}, {}, True),
        ({"vendor": "10de", "device": "2330"}, {}, True),
        # AMD's, a card without any, and a matrix, which shows those that are up.
        ({"vendor": "1002"}, {}, False),
        ({"vendor": "10de", "device": "26b9"}, {}, False),
        ({}, {"gpus": (GpuFact(subject="0000:03:00.0", architecture="gfx906"),)}, False),
        ({}, {"gpus": (GpuFact(subject="0000:03:00.0", num_nvlinks=0),)}, False),
        (
            {},
            {"pairs": (PairFact(a="0000:03:00.0", b="0000:05:00.0", path_class="SYS"),)},
            False,
        ),
    ],
)
def test_nvlinks_that_no_source_could_tell_are_unknown(
    gpu: dict[str, Any], facts: dict[str, Any], is_said: bool
) -> None:
    function = pci("0000:03:00.0", None, DISPLAY, kind="gpu", **gpu)
    document = make(Facts(source="a", tree="full", functions=(function,), **facts))
    reasons = [m.reason for m in document.unknown if m.fact == "num_nvlinks"]
    assert reasons == ([NVLINKS] if is_said else [])


def test_link_to_a_device_that_is_not_there_is_reported_and_left_out() -> None:
    peers = (peer("0000:03:00.0", "0000:99:00.0", 4),)
    document = make(Facts(source="a", tree="full", functions=GPUS, peers=peers))
    assert [link.kind for link in document.links] == [LinkKind.PCIE] * 2
    assert "no device 0000:99:00.0" in document.contradictions[0].readings


def test_c2c_links_join_a_gpu_and_its_cpu() -> None:
    link = PeerFact(
        a="0000:03:00.0", b_kind="cpu", b_numa_index=0, kind=LinkKind.C2C, count=5,
        bandwidth_bytes_per_s=223e9,
    )  # fmt: skip
    numas = (NumaFact(os_index=0, cpus=(0,)),)
    document = make(
        Facts(source="a", tree="full", functions=GPUS, numas=numas, peers=(link,))
    )  # fmt: skip
    (c2c,) = [x for x in document.links if x.kind is LinkKind.C2C]
    assert (c2c.a, c2c.b, c2c.count) == ("gpu@0000:03:00.0", "numa:0", 5)
    machine = Machine(document)
    assert [r.kind for r in machine.resources_between(c2c.a, "numa:0")] == [LinkKind.C2C]
