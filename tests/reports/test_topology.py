"""The machine folded to boxes: who is drawn where, and what is said about it."""

from __future__ import annotations

import random
from xml.etree import ElementTree

import msgspec
import pytest

from tests.reports import sample
from topoprobe.records.machine import (
    AnyNode,
    Gpu,
    Host,
    HostBridge,
    Link,
    LinkKind,
    MachineDocument,
    Nic,
    NicPort,
    Other,
    Package,
    PcieSwitch,
)
from topoprobe.reports.boxes import BoxTree
from topoprobe.reports.drawing.layout import Box, place
from topoprobe.reports.fabric import gpu_fabric, socket_joints
from topoprobe.reports.links import LinkBook
from topoprobe.reports.nodes import title_of
from topoprobe.reports.section import Absent, Documents
from topoprobe.reports.topology import Topology, topology


def book_of(machine: MachineDocument) -> LinkBook:
    return LinkBook({node.id: title_of(node) for node in machine.nodes}, {})


def boxes_of(machine: MachineDocument) -> tuple[Box, ...]:
    return BoxTree(machine, {}, book_of(machine)).boxes()


def walk(boxes: tuple[Box, ...]) -> list[Box]:
    return [one for box in boxes for one in (box, *walk(box.children))]


def titles(boxes: tuple[Box, ...]) -> list[str]:
    return [box.title for box in walk(boxes)]


def machine_of(*nodes: AnyNode, links: tuple[Link, ...] = ()) -> MachineDocument:
    return MachineDocument(
        tool=sample.TOOL, origin="synthetic", sources=("test",), nodes=nodes, links=links
    )


def shown(machine: MachineDocument) -> Topology:
    payload = topology(Documents(machine=machine))
    assert isinstance(payload, Topology)
    return payload


def test_virtual_machine_with_flat_pci_is_a_socket_beside_a_root() -> None:
    boxes = boxes_of(sample.vm_machine())
    assert [box.title for box in boxes] == ["Socket 0 · NUMA node 0", "Root complex 0000:00"]
    assert [box.title for box in boxes[0].children] == ["2 cores", "Memory"]
    assert [box.title for box in boxes[1].children] == ["eth0", "vda", "5 other PCI functions"]


def test_virtual_machine_memory_card_carries_the_measured_rates() -> None:
    calibration = sample.vm_calibration()
    payload = topology(Documents(machine=calibration.machine, calibration=calibration))
    assert isinstance(payload, Topology)
    assert "20.6 GB/s triad" in payload.drawing
    assert "121 ns idle latency" in payload.drawing
    assert payload.caption == ""


@pytest.mark.parametrize("num_gpus", [1, 2, 3, 8, 16])
def test_server_every_gpu_nic_and_drive_is_drawn_once(num_gpus: int) -> None:
    machine = sample.server_machine(num_gpus)
    drawn = titles(boxes_of(machine))
    for gpu in range(num_gpus):
        assert drawn.count(f"GPU {gpu}") == 1
        assert drawn.count(f"mlx5_{gpu}") == 1
    assert sum(title.startswith("nvme") for title in drawn) == (num_gpus + 1) // 2


def test_server_switch_alone_on_its_root_is_drawn_without_the_root() -> None:
    drawn = walk(boxes_of(sample.server_machine(8)))
    switch = next(box for box in drawn if box.title == "Switch 15:00.0")
    assert switch.lines == ("on root complex 0000:15",)
    assert switch.wire is not None
    assert switch.wire.parts == ("x16 Gen5", "≤ 63.0 GB/s")
    assert {child.kind for child in switch.children} == {"gpu", "nic", "nvme"}


def test_server_virtual_functions_are_counted_in_their_card() -> None:
    drawn = walk(boxes_of(sample.server_machine(2)))
    assert "1 × virtual function" in next(box for box in drawn if box.title == "mlx5_0").lines


def test_link_with_fewer_lanes_than_both_ends_is_poor_though_never_measured() -> None:
    drawn = walk(boxes_of(sample.server_machine(8)))
    narrow = next(box for box in drawn if box.title == "mlx5_3")
    assert narrow.wire is not None
    assert narrow.wire.parts[0] == "x8 of x16 Gen4"
    assert narrow.wire.health == "poor"


def test_link_that_idles_at_gen1_is_no_fault() -> None:
    gpu = next(box for box in walk(boxes_of(sample.server_machine(8))) if box.title == "GPU 0")
    assert gpu.wire is not None
    assert gpu.wire.parts == ("x16 Gen5", "≤ 63.0 GB/s")
    assert gpu.wire.health == "unmeasured"
    assert "x16 Gen1" in gpu.wire.tip


def test_link_measured_rate_decides_its_health() -> None:
    calibration = sample.server_calibration()
    payload = topology(Documents(machine=calibration.machine, calibration=calibration))
    assert isinstance(payload, Topology)
    by_name = {row.name: row for row in payload.links}
    slow = by_name["Switch 55:00.0 → GPU 5"]
    assert slow.measured is not None
    assert slow.measured.text == "27.1 GB/s"
    assert slow.share == "0.43"
    assert "w-poor" in payload.drawing
    assert "w-good" in payload.drawing
    assert payload.caption == "All CPUs together: 462 GB/s triad, 98.0 ns idle latency."


def test_roots_that_hold_nothing_of_interest_are_one_card() -> None:
    nodes: list[AnyNode] = [Host(id="host", name="host")]
    for index in range(6):
        root = f"root{index}"
        nodes.append(HostBridge(id=root, name=root, parent="host", pci_address=f"0000:{index}0"))
        nodes.append(Other(id=f"o{index}", name="PMU", parent=root))
    boxes = boxes_of(machine_of(*nodes))
    assert [box.title for box in boxes] == ["6 roots without devices"]
    assert "root0" in boxes[0].tip


def test_device_alone_behind_a_bridge_is_drawn_without_it() -> None:
    machine = machine_of(
        Host(id="host", name="host"),
        HostBridge(id="root", name="root", parent="host"),
        PcieSwitch(id="bridge", name="bridge", parent="root"),
        Gpu(id="gpu", name="GPU", parent="bridge", index=0),
        Nic(id="nic", name="nic", parent="root", ports=(NicPort(name="eth0"),)),
    )
    (root,) = boxes_of(machine)
    assert [(box.title, box.lines) for box in root.children] == [
        ("GPU 0", ("behind a PCIe bridge",)),
        ("eth0", ("nic",)),
    ]


def test_broken_documents_lose_no_device() -> None:
    machine = machine_of(
        Gpu(id="a", name="A", parent="b"),
        Gpu(id="b", name="B", parent="a"),
        Gpu(id="c", name="C", parent="nobody"),
        Nic(id="d", name="D", parent="c"),
        links=(Link(id="l", kind=LinkKind.PCIE, a="x", b="c", wire="w"),),
    )
    assert sorted(titles(boxes_of(machine))) == ["A", "B", "C", "D"]


def test_shuffled_nodes_give_the_same_boxes_as_sets() -> None:
    machine = sample.server_machine(8)
    nodes = list(machine.nodes)
    random.Random(3).shuffle(nodes)
    shuffled = msgspec.structs.replace(machine, nodes=tuple(nodes))
    assert sorted(titles(boxes_of(shuffled))) == sorted(titles(boxes_of(machine)))


def test_fabric_switch_counts_links_of_a_gpu() -> None:
    machine = sample.server_machine(8)
    fabric = gpu_fabric(machine, book_of(machine))
    assert fabric is not None
    assert fabric.title == "4 NVLink switches · 18 links per GPU"
    assert fabric.members == tuple(f"gpu:{gpu}" for gpu in range(8))
    assert fabric.joints == ()
    assert shown(machine).drawing.count('class="stub"') == 8


def test_fabric_mesh_is_one_arc_for_each_pair() -> None:
    machine = sample.server_machine(8, fabric="mesh")
    fabric = gpu_fabric(machine, book_of(machine))
    assert fabric is not None
    assert len(fabric.joints) == 16
    assert shown(machine).drawing.count('class="arc"') == 16


def test_fabric_without_direct_links_is_none() -> None:
    machine = sample.server_machine(2, fabric="none")
    assert gpu_fabric(machine, book_of(machine)) is None


def test_fabric_in_two_rows_is_drawn_between_them() -> None:
    machine = sample.server_machine(16, gpus_per_switch=16, num_sockets=2)
    boxes = boxes_of(machine)
    placed, _, _ = place(boxes, 1240.0)
    assert len({one.y for one in placed}) == 2
    drawing = ElementTree.fromstring(shown(machine).drawing)
    (bar,) = (one for one in drawing.iter("rect") if one.get("class") == "card k-nvswitch")
    frames = [one for one in drawing.iter("rect") if one.get("class") == "frame k-package"]
    above, below = sorted(float(one.attrib["y"]) for one in frames)
    assert above < float(bar.attrib["y"]) < below


def test_parent_counts_where_the_link_names_nobody() -> None:
    machine = machine_of(
        Host(id="host", name="host"),
        HostBridge(id="root", name="root", parent="host"),
        Gpu(id="gpu", name="GPU", parent="root", index=0),
        links=(Link(id="l", kind=LinkKind.PCIE, a="nobody", b="gpu", wire="w"),),
    )
    (root,) = boxes_of(machine)
    assert [box.title for box in root.children] == ["GPU 0"]


def test_sockets_joined_by_a_link_touch_it() -> None:
    machine = sample.server_machine(8)
    (joint,) = socket_joints(machine, book_of(machine))
    assert (joint.a, joint.b) == ("package:0", "package:1")
    assert "Socket 0 to Socket 1: between sockets × 3" in shown(machine).drawing


def test_machine_with_nothing_but_a_host_says_so() -> None:
    assert isinstance(topology(Documents(machine=sample.empty_machine())), Absent)


def test_machine_without_devices_shows_its_cores() -> None:
    machine = machine_of(
        Host(id="host", name="host"),
        Package(id="p", name="CPU", parent="host", os_index=0, num_cores=300),
    )
    drawing = shown(machine).drawing
    assert "300 cores" in drawing
    assert drawing.count('class="core"') == 256
