"""The resources that a transfer crosses, on a machine made by hand."""

from __future__ import annotations

import pytest

from topoprobe.errors import ModelError
from topoprobe.machine.view import Machine
from topoprobe.records.base import Tool
from topoprobe.records.machine import (
    AnyNode,
    Capability,
    Gpu,
    Host,
    HostBridge,
    Link,
    LinkKind,
    MachineDocument,
    Nic,
    Numa,
    NvSwitch,
    Package,
    PcieSwitch,
)


def pcie(a: str, b: str, gigabytes: float, wire: str | None = None) -> Link:
    return Link(
        id=f"l-{b}",
        kind=LinkKind.PCIE,
        a=a,
        b=b,
        wire=wire or f"w-{b}",
        nominal=Capability(bandwidth_bytes_per_s=gigabytes * 1e9),
    )


NODES: tuple[AnyNode, ...] = (
    Host(id="host", name="made by hand"),
    Package(id="package:0", name="p", parent="host", os_index=0),
    Package(id="package:1", name="p", parent="host", os_index=1),
    Numa(id="numa:0", name="n", parent="package:0", os_index=0),
    Numa(id="numa:1", name="n", parent="package:1", os_index=1),
    HostBridge(id="b0", name="b", parent="numa:0", numa_index=0),
    HostBridge(id="b1", name="b", parent="numa:1", numa_index=1),
    PcieSwitch(id="s", name="s", parent="b0"),
    Gpu(id="g0", name="g", parent="s"),
    Gpu(id="g1", name="g", parent="s"),
    Gpu(id="g2", name="g", parent="b1"),
    Gpu(id="g3", name="g", parent="b1"),
    Gpu(id="stray", name="g", parent="host"),
    Nic(id="f0", name="f", parent="b1"),
    Nic(id="f1", name="f", parent="b1"),
    NvSwitch(id="v0", name="v", parent="host"),
    NvSwitch(id="v1", name="v", parent="host"),
)


def nvlink(a: str, b: str, count: int) -> Link:
    name = f"{a}-{b}"
    rate = Capability(bandwidth_bytes_per_s=25e9 * count)
    return Link(
        id=name, kind=LinkKind.NVLINK, a=a, b=b, wire=name, count=count, nominal=rate
    )  # fmt: skip


def machine(*links: Link) -> Machine:
    wired = (
        pcie("b0", "s", 32),
        pcie("s", "g0", 16),
        pcie("s", "g1", 16),
        pcie("b1", "g2", 64),
        pcie("b1", "g3", 64),
        pcie("b1", "f0", 32, "card"),
        pcie("b1", "f1", 32, "card"),
        Link(id="upi", kind=LinkKind.INTER_SOCKET, a="package:0", b="package:1", wire="upi"),
    )
    return Machine(
        MachineDocument(
            tool=Tool(tool_version="0"),
            origin="synthetic",
            sources=(),
            nodes=NODES,
            links=(*wired, *links),
        )
    )


def ids(m: Machine, a: str, b: str) -> list[str]:
    return [resource.id for resource in m.resources_between(a, b)]


def test_transfer_below_one_switch_does_not_use_its_uplink() -> None:
    assert ids(machine(), "g0", "g1") == ["w-g0:b_to_a", "w-g1:a_to_b"]


def test_transfer_between_sockets_uses_both_trees_and_the_link_between() -> None:
    assert ids(machine(), "g0", "g2") == [
        "w-g0:b_to_a", "w-s:b_to_a", "upi:a_to_b", "w-g2:a_to_b",
    ]  # fmt: skip
    assert ids(machine(), "g2", "g0") == [
        "w-g2:b_to_a", "upi:b_to_a", "w-s:a_to_b", "w-g0:a_to_b",
    ]  # fmt: skip


def test_transfer_from_host_memory_begins_in_that_memory() -> None:
    assert ids(machine(), "numa:0", "g0") == ["memory:numa:0", "w-s:a_to_b", "w-g0:a_to_b"]
    assert ids(machine(), "numa:0", "g2") == ["memory:numa:0", "upi:a_to_b", "w-g2:a_to_b"]


def test_transfer_between_memories_uses_both_and_the_link_between() -> None:
    assert ids(machine(), "numa:0", "numa:1") == ["memory:numa:0", "upi:a_to_b", "memory:numa:1"]


def test_copy_within_one_memory_uses_that_memory() -> None:
    assert ids(machine(), "numa:0", "numa:0") == ["memory:numa:0"]


def test_two_functions_of_one_card_share_its_wire() -> None:
    m = machine()
    assert ids(m, "f0", "numa:1")[0] == ids(m, "f1", "numa:1")[0] == "card:b_to_a"


def test_direct_link_is_preferred_and_has_its_direction() -> None:
    m = machine(nvlink("g0", "g2", 4))
    (forward,) = m.resources_between("g0", "g2")
    (back,) = m.resources_between("g2", "g0")
    assert (forward.id, back.id) == ("g0-g2:a_to_b", "g0-g2:b_to_a")
    assert forward.capacity_bytes_per_s == 100e9


def test_transfer_through_switches_is_spread_by_their_link_counts() -> None:
    m = machine(
        nvlink("g0", "v0", 3), nvlink("g0", "v1", 1), nvlink("g2", "v0", 2), nvlink("g2", "v1", 2)
    )
    found = m.resources_between("g0", "g2")
    assert [(r.id, r.share) for r in found] == [
        ("g0-v0:a_to_b", 0.75), ("g0-v1:a_to_b", 0.25),
        ("g2-v0:b_to_a", 0.5), ("g2-v1:b_to_a", 0.5),
    ]  # fmt: skip


def test_capacity_falls_back_to_the_current_reading() -> None:
    link = Link(
        id="x", kind=LinkKind.PCIE, a="b0", b="g0", wire="x",
        current=Capability(bandwidth_bytes_per_s=4e9),
    )  # fmt: skip
    nodes = (NODES[0], NODES[3], NODES[5], Gpu(id="g0", name="g", parent="b0"))
    document = MachineDocument(
        tool=Tool(tool_version="0"), origin="synthetic", sources=(), nodes=nodes, links=(link,)
    )
    way = Machine(document).resources_between("g0", "numa:0")
    assert way[0].capacity_bytes_per_s == 4e9


def test_device_whose_place_is_unknown_has_no_way() -> None:
    with pytest.raises(ModelError, match="stray"):
        machine().resources_between("stray", "g0")


def test_circle_of_parents_does_not_hang() -> None:
    nodes = (
        PcieSwitch(id="s0", name="s", parent="s1"),
        PcieSwitch(id="s1", name="s", parent="s0"),
    )
    document = MachineDocument(
        tool=Tool(tool_version="0"), origin="synthetic", sources=(), nodes=nodes
    )
    assert [n.id for n in Machine(document).ancestors("s0")] == ["s1"]


def test_bridges_above_are_switches_and_then_the_host_bridge() -> None:
    view = machine()
    assert [node.id for node in view.bridges_above("g0")] == ["s", "b0"]
    assert [node.id for node in view.bridges_above("g2")] == ["b1"]
    assert view.bridges_above("stray") == ()


def test_answers_do_not_change_when_asked_again() -> None:
    view = machine(nvlink("g0", "v0", 2), nvlink("g0", "g1", 1))
    for _ in range(2):
        assert [node.id for node in view.ancestors("g0")] == [
            "s",
            "b0",
            "numa:0",
            "package:0",
            "host",
        ]
        numa = view.numa("g0")
        assert numa is not None
        assert numa.id == "numa:0"
        assert [link.id for link in view.fabric_links("g0")] == ["g0-v0"]
        assert [link.id for link in view.links_between("g1", "g0")] == ["g0-g1"]
        with pytest.raises(ModelError):
            view.numa("nowhere")
