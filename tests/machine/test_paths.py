"""Path classes on trees made by hand."""

from __future__ import annotations

import pytest

from topoprobe.errors import ModelError
from topoprobe.machine.paths import Told, pairs_of, path_class, pcie_class
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
    Nvme,
    NvSwitch,
    Package,
    PcieSwitch,
)


def tree(*extra: AnyNode, links: tuple[Link, ...] = (), is_virtual: bool = False) -> Machine:
    """Two sockets; host bridges b0, b1 on NUMA 0 and b2 on NUMA 1; switches below b0."""
    nodes: tuple[AnyNode, ...] = (
        Host(id="host", name="made by hand", is_virtual=is_virtual),
        Package(id="package:0", name="p", parent="host", os_index=0),
        Package(id="package:1", name="p", parent="host", os_index=1),
        Numa(id="numa:0", name="n", parent="package:0", os_index=0),
        Numa(id="numa:1", name="n", parent="package:1", os_index=1),
        HostBridge(id="b0", name="b", pci_address="0000:00", parent="numa:0", numa_index=0),
        HostBridge(id="b1", name="b", pci_address="0000:40", parent="numa:0", numa_index=0),
        HostBridge(id="b2", name="b", pci_address="0000:80", parent="numa:1", numa_index=1),
        HostBridge(id="lumped", name="b", parent="numa:0", numa_index=0),
        HostBridge(id="lost", name="b", parent="host"),
        PcieSwitch(id="s", name="s", parent="b0"),
        PcieSwitch(id="s1", name="s", parent="s"),
        *extra,
    )
    return Machine(
        MachineDocument(
            tool=Tool(tool_version="0"),
            origin="synthetic",
            sources=("made by hand",),
            nodes=nodes,
            links=links,
        )
    )


def gpu(node_id: str, parent: str, address: str | None = None) -> Gpu:
    return Gpu(id=node_id, name=node_id, parent=parent, pci_address=address)


@pytest.mark.parametrize(
    ("place_a", "place_b", "expected"),
    [
        ("s", "s", "PIX"),
        ("s", "s1", "PXB"),
        ("s1", "s1", "PIX"),
        ("s", "b0", "PHB"),
        ("b0", "b0", "PHB"),
        ("b0", "b1", "NODE"),
        ("s1", "b1", "NODE"),
        ("b0", "b2", "SYS"),
        ("b0", "lost", None),
        ("b0", "host", None),
    ],
)
def test_class_follows_from_the_common_ancestor(
    place_a: str, place_b: str, expected: str | None
) -> None:
    machine = tree(gpu("x", place_a), gpu("y", place_b))
    found = path_class(machine, "x", "y")
    assert found.name == expected
    assert (found.reason is None) is (expected is not None)
    assert path_class(machine, "y", "x") == found


def test_class_of_a_device_with_itself_is_x() -> None:
    assert path_class(tree(gpu("x", "s")), "x", "x").name == "X"


def test_class_of_two_functions_of_one_card_is_pix() -> None:
    machine = tree(gpu("x", "b0", "0000:01:00.0"), gpu("y", "b0", "0000:01:00.1"))
    assert pcie_class(machine, "x", "y").name == "PIX"


def test_class_on_a_guests_root_bus_is_unknown_with_a_reason() -> None:
    machine = tree(gpu("x", "b0"), gpu("y", "b0"), is_virtual=True)
    found = path_class(machine, "x", "y")
    assert found.name is None
    assert "guest" in (found.reason or "")


def test_class_on_a_bus_that_the_source_could_not_place_is_unknown_with_a_reason() -> None:
    nowhere = HostBridge(id="host_bridge@cpu:-1", name="CPU", parent="host")
    placed = HostBridge(id="host_bridge@cpu:0", name="CPU", parent="host", numa_index=0)
    ends = [
        gpu(f"gpu:{i}", parent.id)
        for parent in (nowhere, placed)
        for i in (f"{parent.id}a", f"{parent.id}b")
    ]
    machine = tree(nowhere, placed, *ends)
    unknown = pcie_class(machine, ends[0].id, ends[1].id)
    assert unknown.name is None
    assert "neither host bridges nor NUMA nodes" in (unknown.reason or "")
    assert pcie_class(machine, ends[2].id, ends[3].id).name == "PHB"


def test_class_below_a_guests_switch_counts() -> None:
    machine = tree(gpu("x", "s"), gpu("y", "s"), is_virtual=True)
    assert path_class(machine, "x", "y").name == "PIX"


def test_class_without_numa_is_node_where_there_is_only_one_numa_node() -> None:
    nodes: tuple[AnyNode, ...] = (
        Host(id="host", name="h"),
        Numa(id="numa:0", name="n", parent="host", os_index=0),
        HostBridge(id="c0", name="b", parent="host"),
        HostBridge(id="c1", name="b", parent="host"),
        gpu("x", "c0"),
        gpu("y", "c1"),
    )
    document = MachineDocument(
        tool=Tool(tool_version="0"), origin="synthetic", sources=(), nodes=nodes
    )
    assert path_class(Machine(document), "x", "y").name == "NODE"


def bundle(a: str, b: str, count: int, kind: LinkKind = LinkKind.NVLINK) -> Link:
    rate = Capability(bandwidth_bytes_per_s=25e9 * count)
    name = f"{a}-{b}"
    return Link(id=name, kind=kind, a=a, b=b, wire=name, count=count, nominal=rate)


def test_direct_nvlinks_are_counted_and_the_pcie_class_is_kept() -> None:
    machine = tree(gpu("x", "b0"), gpu("y", "b2"), links=(bundle("x", "y", 4),))
    pairs, missing, _ = pairs_of(machine, {})
    assert [(p.path_class, p.pcie_class) for p in pairs] == [("NV4", "SYS")]
    assert missing == ()


def test_nvlinks_through_switches_count_as_the_lesser_of_both_ends() -> None:
    switches = tuple(NvSwitch(id=f"w{i}", name="w", parent="host") for i in range(2))
    machine = tree(
        gpu("x", "b0"),
        gpu("y", "b2"),
        *switches,
        links=(bundle("x", "w0", 6), bundle("x", "w1", 6), bundle("y", "w0", 5)),
    )
    assert path_class(machine, "x", "y").name == "NV5"


def test_c2c_between_endpoints_has_its_own_class() -> None:
    machine = tree(gpu("x", "b0"), gpu("y", "b2"), links=(bundle("x", "y", 5, LinkKind.C2C),))
    assert path_class(machine, "x", "y").name == "C2C"


def test_xgmi_keeps_the_class_of_the_way_over_pcie() -> None:
    machine = tree(gpu("x", "s"), gpu("y", "s"), links=(bundle("x", "y", 1, LinkKind.XGMI),))
    assert path_class(machine, "x", "y").name == "PIX"


def test_pairs_join_gpus_with_gpus_nics_and_drives_once() -> None:
    machine = tree(
        gpu("x", "s"),
        gpu("y", "s"),
        Nic(id="n", name="n", parent="s"),
        Nvme(id="d", name="d", parent="b0"),
    )
    pairs = pairs_of(machine, {}).pairs
    assert [(p.a, p.b, p.path_class) for p in pairs] == [
        ("x", "y", "PIX"), ("x", "n", "PIX"), ("x", "d", "PHB"),
        ("y", "n", "PIX"), ("y", "d", "PHB"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("parents", "told", "expected", "num_contradictions"),
    [
        (("b0", "b0"), Told("PHB", "OK"), ("PHB", "PHB"), 0),
        (("b0", "b0"), Told("NODE", None), ("PHB", "PHB"), 1),
        (("lumped", "lumped"), Told("NODE", None), ("NODE", "NODE"), 0),
        (("lumped", "lumped"), Told("PHB", None), ("PHB", "PHB"), 0),
        (("lumped", "lumped"), Told("SYS", None), ("PHB", "PHB"), 1),
        (("lost", "b0"), Told("PXB", None), ("PXB", "PXB"), 0),
        (("host", "host"), Told("NV4", None), ("NV4", None), 0),
        (("host", "host"), Told("PIX", None), ("PIX", "PIX"), 0),
        (("s", "s"), Told("NV12", "OK"), ("NV12", "PIX"), 0),
        (("s", "s"), Told(None, "GNS"), ("PIX", "PIX"), 0),
    ],
)
def test_what_is_told_stands_where_the_tree_does_not_tell(
    parents: tuple[str, str], told: Told, expected: tuple[str, str | None], num_contradictions: int
) -> None:
    machine = tree(gpu("x", parents[0]), gpu("y", parents[1]))
    pairs, missing, contradictions = pairs_of(machine, {frozenset(("x", "y")): told})
    assert [(p.path_class, p.pcie_class) for p in pairs] == [expected]
    assert pairs[0].peer_status == told.peer_status
    assert len(contradictions) == num_contradictions
    assert missing == ()


def test_direct_links_stay_though_the_tool_sees_none() -> None:
    machine = tree(gpu("x", "b0"), gpu("y", "b2"), links=(bundle("x", "y", 4),))
    pairs, _, (found,) = pairs_of(machine, {frozenset(("x", "y")): Told("SYS", None)})
    assert pairs[0].path_class == "NV4"
    assert "down or hidden" in found.meaning


def test_unknown_node_is_an_error_that_names_it() -> None:
    with pytest.raises(ModelError, match="'nobody'"):
        path_class(tree(), "nobody", "host")
