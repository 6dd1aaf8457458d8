"""Folding PCI functions into host bridges, switches and links."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from topoprobe.machine.facts import PciFact
from topoprobe.machine.folding import Owner, PciTree
from topoprobe.machine.pcie import capability_of_generation
from topoprobe.records.machine import Link, PortRole

ROOT_PORT = PciFact(
    address="0000:80:01.0",
    root="0000:80",
    class_code="0604",
    role=PortRole.ROOT,
    maximum=capability_of_generation(4, 16),
)
UPSTREAM = PciFact(
    address="0000:81:00.0",
    root="0000:80",
    parent="0000:80:01.0",
    class_code="0604",
    role=PortRole.UPSTREAM,
    maximum=capability_of_generation(4, 2),
    current=capability_of_generation(4, 2),
)
MANAGEMENT = PciFact(
    address="0000:81:00.1",
    root="0000:80",
    parent="0000:80:01.0",
    class_code="0580",
    maximum=capability_of_generation(4, 16),
    current=capability_of_generation(4, 2),
)


def tree_of(functions: Sequence[PciFact]) -> PciTree:
    bridges = {f.address for f in functions if f.class_code == "0604"}
    return PciTree(functions, bridges)


def link_of(function: PciFact, *others: PciFact) -> Link:
    link = tree_of((*others, function)).link(function, f"other@{function.address}")
    assert link is not None
    return link


@pytest.mark.parametrize("order", [(UPSTREAM, MANAGEMENT), (MANAGEMENT, UPSTREAM)])
def test_functions_of_one_device_share_what_its_link_can_do(order: tuple[PciFact, ...]) -> None:
    link = tree_of((ROOT_PORT, *order)).link(MANAGEMENT, "other@0000:81:00.1")
    assert link is not None
    assert link.b_capability == capability_of_generation(4, 2)
    assert link.nominal == link.current == capability_of_generation(4, 2)
    upstream = tree_of((ROOT_PORT, *order)).link(UPSTREAM, "pcie_switch@0000:81:00.0")
    assert upstream is not None
    assert upstream.wire == link.wire


def test_link_of_a_lone_function_is_the_lesser_of_both_ends() -> None:
    drive = PciFact(
        address="0000:81:00.0",
        root="0000:80",
        parent="0000:80:01.0",
        maximum=capability_of_generation(5, 4),
    )
    link = link_of(drive, ROOT_PORT)
    assert link.a_capability == capability_of_generation(4, 16)
    assert link.b_capability == capability_of_generation(5, 4)
    assert link.nominal == capability_of_generation(4, 4)


def test_other_function_that_tells_no_link_changes_nothing() -> None:
    silent = PciFact(address="0000:81:00.1", root="0000:80", parent="0000:80:01.0")
    link = link_of(UPSTREAM, ROOT_PORT, silent)
    assert link.b_capability == capability_of_generation(4, 2)


def test_bridge_to_conventional_pci_stands_for_itself_and_its_bus_is_no_link() -> None:
    bridge = PciFact(
        address="0000:81:00.0",
        root="0000:80",
        parent="0000:80:01.0",
        class_code="0604",
        role=PortRole.BRIDGE,
        maximum=capability_of_generation(2, 1),
    )
    screen = PciFact(address="0000:82:00.0", root="0000:80", parent="0000:81:00.0")
    tree = tree_of((ROOT_PORT, bridge, screen))
    assert tree.owner(bridge) == Owner(True, "0000:81:00.0")
    link = tree.link(screen, "other@0000:82:00.0")
    assert link is not None
    assert (link.a_port, link.a_capability, link.nominal) == (None, None, None)
    ports = tree.ports()["pcie_switch@0000:81:00.0"]
    assert [port.role for port in ports] == [PortRole.BRIDGE]
