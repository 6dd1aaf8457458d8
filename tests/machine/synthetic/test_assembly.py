"""Made-up machines as documents: counts, places, links, and classes that follow from the text."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.machine.building import build
from topoprobe.machine.synthetic import machine_facts
from topoprobe.machine.view import Machine
from topoprobe.records.base import Tool
from topoprobe.records.documents import decode, encode
from topoprobe.records.machine import (
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


def document(text: str) -> MachineDocument:
    facts = machine_facts(text)
    assert facts is not None
    return build([facts], origin="synthetic", tool=Tool(tool_version="0"))


def machine(text: str) -> Machine:
    return Machine(document(text))


def classes(text: str) -> list[str | None]:
    return [pair.path_class for pair in document(text).pairs]


def test_counts_and_places_are_those_of_the_text() -> None:
    made = machine("2 socket: 2 numa(64gib): 4 switch: 2 gpu, nic, nvme")
    counts = {
        kind: len(made.all(kind))
        for kind in (Package, Numa, HostBridge, PcieSwitch, Gpu, Nic, Nvme, NvSwitch)
    }
    assert counts == {
        Package: 2, Numa: 4, HostBridge: 4, PcieSwitch: 16, Gpu: 32, Nic: 16, Nvme: 16, NvSwitch: 0,
    }  # fmt: skip
    assert [gpu.numa_index for gpu in made.all(Gpu)] == [n for n in range(4) for _ in range(8)]
    assert made.package(made.all(Gpu)[-1].id) == made.all(Package)[1]
    assert made.host is not None
    assert made.host.memory_bytes == 256 << 30
    assert made.document.origin == "synthetic"


def test_socket_without_numa_nodes_is_one() -> None:
    made = machine("2 socket: gpu")
    assert [(n.os_index, n.parent) for n in made.all(Numa)] == [(0, "package:0"), (1, "package:1")]


def test_parts_without_a_socket_share_one() -> None:
    made = machine("2 gpu, nic")
    assert len(made.all(Package)) == len(made.all(HostBridge)) == 1
    assert classes("2 gpu, nic") == ["PHB"] * 3


def test_things_in_a_socket_hang_on_ports_of_their_own() -> None:
    made = machine("socket: 3 gpu")
    (bridge,) = made.all(HostBridge)
    links = [made.link_above(gpu.id) for gpu in made.all(Gpu)]
    assert len({link.a_port for link in links if link}) == 3
    assert len(bridge.ports) == 3


def test_host_bridges_set_things_apart() -> None:
    assert classes("socket: root: gpu, nic") == ["PHB"]
    assert classes("socket: root: gpu, 2 nic") == ["PHB", "PHB"]
    assert classes("socket: [root: gpu], root: nic") == ["NODE"]
    assert classes("socket: [root: gpu], nic") == ["NODE"]
    assert classes("[socket: gpu], socket: nic") == ["SYS"]
    assert classes("socket: 2 numa: gpu") == ["SYS"]


def test_switches_in_switches_are_several() -> None:
    assert classes("switch: gpu, nic") == ["PIX"]
    assert classes("switch: nic, switch: gpu") == ["PXB"]


def test_cpus_are_numbered_as_linux_does() -> None:
    made = machine("2 socket(cores=4 threads=2): 2 numa")
    assert [numa.cpus for numa in made.all(Numa)] == [
        (0, 1, 8, 9), (2, 3, 10, 11), (4, 5, 12, 13), (6, 7, 14, 15),
    ]  # fmt: skip
    assert made.all(Package)[1].cpus == (4, 5, 6, 7, 12, 13, 14, 15)


def test_cores_that_do_not_divide_are_all_shared_out() -> None:
    made = machine("socket(cores=5): 3 numa")
    assert [len(numa.cpus) for numa in made.all(Numa)] == [1, 2, 2]


def test_named_numa_nodes_take_their_share_in_order() -> None:
    made = machine("socket(cores=4): [numa(index=5): gpu], numa(index=2)")
    assert {numa.os_index: numa.cpus for numa in made.all(Numa)} == {2: (0, 1), 5: (2, 3)}
    assert made.all(Gpu)[0].numa_index == 5


def test_link_is_the_lesser_of_port_and_device() -> None:
    made = machine("socket(gen4): gpu(h100), gpu(gen3 x8), gpu")
    found = []
    for gpu in made.all(Gpu):
        link = made.link_above(gpu.id)
        assert link is not None
        assert link.nominal is not None
        found.append((link.nominal.transfers_per_s, link.nominal.num_lanes))
    # The last one's own port is not told: its slot decides.
    assert found == [(16e9, 16), (8e9, 8), (16e9, 16)]


def test_switch_gives_its_generation_to_what_is_below() -> None:
    made = machine("socket(gen5): switch(gen3 x8): gpu(h100)")
    for node, lanes in ((made.all(PcieSwitch)[0], 8), (made.all(Gpu)[0], 16)):
        link = made.link_above(node.id)
        assert link is not None
        assert link.nominal is not None
        assert (link.nominal.transfers_per_s, link.nominal.num_lanes) == (8e9, lanes)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("4 gpu(a100 nvlink=12)", ["NV4"] * 6),
        ("3 gpu(h100 nvlink=18), 4 nvswitch(h100)", ["NV18"] * 3),
        ("2 gpu(h100 nvlink=18 fabric)", ["NV18"]),
        ("2 gpu(gb200 nvlink=18 clique=3)", ["NV18"]),
        ("3 gpu(mi300x xgmi=2)", ["PHB"] * 3),
    ],
)
def test_links_between_gpus_have_the_class_of_their_kind(text: str, wanted: list[str]) -> None:
    assert classes(text) == wanted


def test_nvlinks_are_spread_over_the_switches() -> None:
    for given_, wanted in (("18", [5, 5, 4, 4]), ("5+4+4+5", [5, 4, 4, 5]), ("3", [1, 1, 1])):
        made = document(f"gpu(h100 nvlink={given_}), 4 nvswitch(h100)")
        links = [link for link in made.links if link.kind is LinkKind.NVLINK]
        assert [link.count for link in links] == wanted
        assert links[0].nominal is not None
        assert links[0].nominal.bandwidth_bytes_per_s == wanted[0] * 25e9


def test_clique_is_a_place_in_a_fabric_of_several_machines() -> None:
    (gpu,) = machine("gpu(gb200 nvlink=18 clique=3)").all(Gpu)
    assert gpu.fabric is not None
    assert gpu.fabric.clique_id == 3
    assert gpu.fabric.cluster_uuid is not None
    (alone,) = machine("gpu(b200 nvlink=18 fabric)").all(Gpu)
    assert alone.fabric is not None
    assert alone.fabric.cluster_uuid is None


def test_c2c_joins_a_gpu_to_its_cpu() -> None:
    made = machine("2 socket(grace): gpu(gb200 c2c=5)")
    links = [link for link in made.document.links if link.kind is LinkKind.C2C]
    assert [link.b for link in links] == ["numa:0", "numa:1"]
    assert [link.nominal.bandwidth_bytes_per_s for link in links if link.nominal] == [223.56e9] * 2


def test_memory_of_a_gpu_may_be_a_numa_node() -> None:
    made = machine("socket(cores=4): numa(8gib): gpu(16gib numa=7)")
    (own, gpus) = made.all(Numa)
    (gpu,) = made.all(Gpu)
    assert (own.memory_of, gpus.memory_of) == (None, gpu.id)
    assert (gpus.os_index, gpus.memory_bytes, gpus.cpus) == (7, 16 << 30, ())
    assert gpu.memory_numa_index == 7
    assert not made.document.contradictions


def test_ports_of_a_nic_are_functions_of_one_card() -> None:
    made = machine("2 nic(cx6-dx ports=2 eth), nic(400gb)")
    nics = made.all(Nic)
    assert [nic.name for nic in nics] == ["mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3", "eth0"]
    assert {nic.ports[0].link_layer for nic in nics[:4]} == {"Ethernet"}
    assert [nic.ports[0].rate_bits_per_s for nic in nics] == [100e9] * 4 + [400e9]
    wires = [link.wire for link in made.document.links]
    assert len(set(wires)) == 3


def test_what_is_not_told_is_unknown() -> None:
    made = document("gpu, nic, nvme")
    missing = {(m.subject.partition("@")[0], m.fact) for m in made.unknown}
    assert ("gpu", "memory_bytes") in missing
    gpu = Machine(made).all(Gpu)[0]
    assert (gpu.memory_bytes, gpu.bar1_bytes, gpu.model) == (None, None, None)


def test_many_buses_go_on_in_another_domain() -> None:
    made = machine("8 socket: root: 2 switch: 20 gpu")
    assert len(made.all(Gpu)) == 320
    assert {gpu.pci_address[:4] for gpu in made.all(Gpu) if gpu.pci_address} == {"0000", "0001"}
    assert len({node.id for node in made.document.nodes}) == len(made.document.nodes)


class Place(NamedTuple):
    """Where a device of a drawn machine stands."""

    numa: int
    root: int
    switches: tuple[int, ...]


DEVICES = st.sampled_from(["gpu", "gpu(h100)", "nic(cx7)", "nic(400gb eth)", "nvme(1tb)"])
SWITCH = st.recursive(
    st.lists(DEVICES, max_size=3),
    lambda below: st.lists(st.one_of(DEVICES, below), min_size=1, max_size=3),
    max_leaves=6,
)
ROOT = st.lists(st.one_of(DEVICES, SWITCH), min_size=1, max_size=3)
MACHINE = st.lists(  # sockets of NUMA nodes of host bridges
    st.lists(st.lists(ROOT, max_size=2), min_size=1, max_size=2), min_size=1, max_size=2
)


def written(sockets: list) -> tuple[str, list[tuple[str, Place]], int]:
    """Write a drawn machine as text; with its devices in order, and its number of switches."""
    devices: list[tuple[str, Place]] = []
    num_roots = num_switches = num_numas = 0

    def below(things: list, place: Place) -> str:
        nonlocal num_switches
        texts = []
        for thing in things:
            if isinstance(thing, str):
                devices.append((thing.partition("(")[0], place))
                texts.append(thing)
                continue
            num_switches += 1
            inner = below(thing, place._replace(switches=(*place.switches, num_switches)))
            texts.append(f"[switch{': ' if inner else ''}{inner}]")
        return ", ".join(texts)

    socket_texts = []
    for numas in sockets:
        numa_texts = []
        for roots in numas:
            root_texts = []
            for root in roots:
                num_roots += 1
                root_texts.append(f"[root: {below(root, Place(num_numas, num_roots, ()))}]")
            num_numas += 1
            numa_texts.append(f"[numa{': ' if root_texts else ''}{', '.join(root_texts)}]")
        socket_texts.append(f"[socket: {', '.join(numa_texts)}]")
    return ", ".join(socket_texts), devices, num_switches


def expected_class(one: Place, other: Place) -> str:
    if one.numa != other.numa:
        return "SYS"
    if one.root != other.root:
        return "NODE"
    if not set(one.switches) & set(other.switches):
        return "PHB"
    return "PIX" if one.switches == other.switches else "PXB"


@settings(deadline=None, max_examples=60)
@given(MACHINE)
def test_any_machine_has_the_parts_and_classes_of_its_text(sockets: list) -> None:
    text, devices, num_switches = written(sockets)
    made = document(text)
    view = Machine(made)
    places: dict[str, Place] = {}
    for kind, record in (("gpu", Gpu), ("nic", Nic), ("nvme", Nvme)):
        mine = [place for name, place in devices if name == kind]
        nodes = view.all(record)
        assert len(nodes) == len(mine)
        places.update({node.id: place for node, place in zip(nodes, mine, strict=True)})
    assert len(view.all(PcieSwitch)) == num_switches
    assert [node.numa_index for node in view.all(Gpu)] == [
        places[node.id].numa for node in view.all(Gpu)
    ]
    num_gpus = len(view.all(Gpu))
    num_others = len(places) - num_gpus
    assert len(made.pairs) == num_gpus * (num_gpus - 1) // 2 + num_gpus * num_others
    for pair in made.pairs:
        assert pair.path_class == expected_class(places[pair.a], places[pair.b])
    assert not made.contradictions
    assert decode(encode(made)) == made


@settings(deadline=None, max_examples=30)
@given(MACHINE, st.integers(1, 3))
def test_number_before_brackets_repeats_what_is_in_them(sockets: list, number: int) -> None:
    text, _, _ = written(sockets)
    once, repeated = document(text), document(f"{number} [{text}]")
    for kind in (Package, Gpu, Nic, Nvme, PcieSwitch, HostBridge):
        assert len(Machine(repeated).all(kind)) == number * len(Machine(once).all(kind))
