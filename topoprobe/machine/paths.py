"""Path classes between two endpoints, in NVIDIA's terms, and where the tree does not tell.

The classes, nearest first: X (self), NV# (that many NVLinks, directly or through NVSwitches), C2C
(a chip-to-chip link), PIX (one switch), PXB (several switches, no host bridge), PHB (one host
bridge), NODE (two host bridges of one NUMA node), SYS (between NUMA nodes).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from topoprobe.machine.addresses import device_of
from topoprobe.machine.view import Machine
from topoprobe.records.base import Missing
from topoprobe.records.machine import (
    Contradiction,
    Gpu,
    HostBridge,
    LinkKind,
    Nic,
    Node,
    Nvme,
    Pair,
    PcieSwitch,
    PciNode,
)

CLASSES = ("X", "NV#", "C2C", "PIX", "PXB", "PHB", "NODE", "SYS")


_LUMPED = "The host bridges of a NUMA node are not told apart, so it may be NODE."
_NOWHERE = (
    "The source tells neither host bridges nor NUMA nodes apart, as in a guest without them, so "
    "all devices seem to stand on one."
)


class PathClass(NamedTuple):
    """A path class, or None with the reason why it is unknown.

    A class with a reason is the nearest that it can be: PHB, where a source lumps host bridges.
    """

    name: str | None
    reason: str | None = None


def path_class(machine: Machine, a: str, b: str) -> PathClass:
    """Return the class of the best path between two endpoints.

    xGMI has no name among these classes: such pairs keep the class of their way over PCIe, and
    their xGMI links stand in the document.

    Raises
    ------
    ModelError
        If a node does not exist.
    """
    if a == b:
        return PathClass("X")
    links = num_nvlinks(machine, a, b)
    if links:
        return PathClass(f"NV{links}")
    if any(link.kind is LinkKind.C2C for link in machine.links_between(a, b)):
        return PathClass("C2C")
    return pcie_class(machine, a, b)


def is_nowhere(bridge: Node) -> bool:
    """Tell a host bridge that stands for all that a source could not place (NCCL's node -1)."""
    return (
        isinstance(bridge, HostBridge) and bridge.pci_address is None and bridge.numa_index is None
    )


def num_nvlinks(machine: Machine, a: str, b: str) -> int:
    """Count the NVLinks that a pair can use: direct ones, or the lesser of both into NVSwitches."""
    direct = sum(link.count for link in machine.links_between(a, b) if link.kind is LinkKind.NVLINK)
    if direct:
        return direct
    into = [sum(link.count for link in machine.fabric_links(end)) for end in (a, b)]
    return min(into)


def pcie_class(machine: Machine, a: str, b: str) -> PathClass:
    """Return the class of the way over PCIe and between sockets.

    The common ancestor decides: a switch that both ends hang on directly is PIX, a switch with
    more switches between PXB, a host bridge PHB; without one, a common NUMA node is NODE and
    different ones SYS. A switch in a guest counts, since somebody modelled it; a guest's bare bus
    does not.
    """
    one, other = machine.node(a), machine.node(b)
    if not isinstance(one, PciNode) or not isinstance(other, PciNode):
        return PathClass(None, "Only PCI devices have a path class.")
    if one.pci_address and other.pci_address and (
        device_of(one.pci_address) == device_of(other.pci_address)
    ):  # fmt: skip
        return PathClass("PIX")
    above_a, above_b = machine.bridges_above(a), machine.bridges_above(b)
    meeting = next((bridge for bridge in above_a if bridge in above_b), None)
    if isinstance(meeting, PcieSwitch):
        return PathClass("PIX" if one.parent == other.parent == meeting.id else "PXB")
    host = machine.host
    if meeting is not None:
        if host is not None and host.is_virtual:
            return _flattened()
        if is_nowhere(machine.node(meeting.id)):
            return PathClass(None, _NOWHERE)
        return PathClass("PHB", None if meeting.pci_address else _LUMPED)
    numa_a, numa_b = machine.numa(a), machine.numa(b)
    if numa_a is not None and numa_b is not None and numa_a.id != numa_b.id:
        return PathClass("SYS")
    if not above_a or not above_b:
        return PathClass(None, "It is not known where one of them is attached.")
    if numa_a is None or numa_b is None:
        return PathClass(
            None, "Their host bridges differ and the NUMA node of at least one is unknown."
        )
    return PathClass("NODE")


class Told(NamedTuple):
    """What sources say of a pair: its class, that over PCIe alone, and peer access."""

    path_class: str | None
    peer_status: str | None
    pcie_class: str | None = None


class Pairs(NamedTuple):
    """All pairs, why some have no class, and where the sources contradict the tree."""

    pairs: tuple[Pair, ...]
    unknown: tuple[Missing, ...]
    contradictions: tuple[Contradiction, ...]


def pairs_of(machine: Machine, told: Mapping[frozenset[str], Told]) -> Pairs:
    """Return GPU-GPU, GPU-NIC and GPU-NVMe pairs.

    The tree decides; where it cannot tell, or knows nothing of a direct link, what a source said
    stands. Each unordered pair appears once, its ends in document order.

    Parameters
    ----------
    machine : Machine
        The machine.
    told : mapping
        What the sources say, by the two node ids.
    """
    gpus = machine.all(Gpu)
    others = (*machine.all(Nic), *machine.all(Nvme))
    ends = [(one.id, two.id) for i, one in enumerate(gpus) for two in (*gpus[i + 1 :], *others)]
    pairs, missing, contradictions = [], [], []
    for a, b in ends:
        found, in_tree = path_class(machine, a, b), pcie_class(machine, a, b)
        said = told.get(frozenset((a, b)), Told(None, None))
        by_tree = _refined(in_tree, said)
        name = _refined(found, said) or said.pcie_class
        over_pcie = by_tree or said.pcie_class
        if by_tree and said.pcie_class not in {None, by_tree}:
            contradictions.append(
                Contradiction(
                    subject=f"{a} {b}",
                    fact="pcie_class",
                    readings=(f"the tree: {by_tree}", f"told: {said.pcie_class}"),
                    meaning="The tree and the driver place them differently; the tree is used.",
                )
            )
        if said.path_class is not None and (name is None or _is_direct(said.path_class, name)):
            name = said.path_class
        elif said.path_class not in {None, name}:
            contradictions.append(
                Contradiction(
                    subject=f"{a} {b}",
                    fact="class",
                    readings=(f"the tree: {name}", f"told: {said.path_class}"),
                    meaning="A direct link that the tool does not see is down or hidden from it; "
                    "the links are kept."
                    if _is_direct(name or "", said.path_class or "")
                    else "The tree and the tool that was asked place them differently; the tree "
                    "is used.",
                )
            )
        is_of_tree = over_pcie is not None or _is_direct(name or "", "")
        pairs.append(
            Pair(
                a=a,
                b=b,
                path_class=name,
                pcie_class=over_pcie if is_of_tree else name,
                peer_status=said.peer_status,
            )
        )
        if name is None:
            missing.append(Missing(subject=f"{a} {b}", fact="class", reason=found.reason or ""))
    return Pairs(tuple(pairs), tuple(missing), tuple(contradictions))


def _refined(found: PathClass, said: Told) -> str | None:
    """Take NODE from a source that tells host bridges apart where the tree does not."""
    is_lumped = found.name == "PHB" and found.reason is not None
    return "NODE" if is_lumped and "NODE" in {said.path_class, said.pcie_class} else found.name


def _is_direct(name: str, other: str) -> bool:
    """Tell whether the first class is a direct link and the other is not."""
    return (name.startswith("NV") or name == "C2C") and not other.startswith(("NV", "C2C"))


def _flattened() -> PathClass:
    return PathClass(
        None,
        "They meet on a guest's root bus, which says nothing about how the host is wired.",
    )
