"""An indexed view of a machine document, and the query everything else is built on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeVar

from topoprobe.errors import ModelError
from topoprobe.records.machine import (
    AnyNode,
    Host,
    HostBridge,
    Link,
    LinkKind,
    MachineDocument,
    Node,
    Numa,
    NvSwitch,
    Package,
    PcieSwitch,
    PciNode,
)

N = TypeVar("N", bound=Node)

_DIRECT = (LinkKind.NVLINK, LinkKind.XGMI, LinkKind.XELINK, LinkKind.C2C)


class Resource(NamedTuple):
    """One direction of a wire, or another thing that transfers share.

    Attributes
    ----------
    id : str
        Equal for every transfer that uses it: a wire and a direction, or ``memory:`` or
        ``inter_socket:`` with the NUMA nodes.
    kind : str
        A `LinkKind`, or ``memory``.
    link : str or None
        A link of the document that runs over it.
    capacity_bytes_per_s : float or None
        Nominal capacity of this direction, as negotiated where no nominal one is known; None
        where neither is.
    share : float
        Part of the transfer's bytes that crosses it; below 1 where a fabric spreads them.
    """

    id: str
    kind: LinkKind | Literal["memory"]
    link: str | None
    capacity_bytes_per_s: float | None
    share: float = 1.0


class Machine:
    """A machine document with its nodes and links indexed.

    Parameters
    ----------
    document : MachineDocument
        Not changed.

    Attributes
    ----------
    document : MachineDocument
    host : Host or None
        The machine itself, if the document has it.
    """

    def __init__(self, document: MachineDocument) -> None:
        self.document = document
        self._nodes: dict[str, AnyNode] = {node.id: node for node in document.nodes}
        self._children: dict[str, list[AnyNode]] = {}
        for node in document.nodes:
            if node.parent is not None:
                self._children.setdefault(node.parent, []).append(node)
        self._up: dict[str, Link] = {}
        self._between: dict[tuple[str, str], list[Link]] = {}
        self._fabric: dict[str, list[Link]] = {}
        for link in document.links:
            if link.kind is LinkKind.PCIE:
                self._up[link.b] = link
            elif link.kind in _DIRECT:
                self._index_direct(link, link.a, link.b)
                self._index_direct(link, link.b, link.a)
        self._numa_by_index = {n.os_index: n for n in self.all(Numa)}
        self.host: Host | None = next(iter(self.all(Host)), None)
        # Asked for every pair of endpoints, so each is worked out once.
        self._ancestors: dict[str, tuple[AnyNode, ...]] = {}
        self._bridges: dict[str, tuple[PcieSwitch | HostBridge, ...]] = {}
        self._numas: dict[str, Numa | None] = {}

    def _index_direct(self, link: Link, end: str, other: str) -> None:
        self._between.setdefault((end, other), []).append(link)
        if isinstance(self._nodes.get(other), NvSwitch):
            self._fabric.setdefault(end, []).append(link)

    def node(self, node_id: str) -> AnyNode:
        """Return a node by its id.

        Raises
        ------
        ModelError
            If there is none.
        """
        try:
            return self._nodes[node_id]
        except KeyError:
            raise ModelError(
                f"This machine has no node {node_id!r}; `topoprobe scan --json` lists its nodes."
            ) from None

    def all(self, kind: type[N]) -> tuple[N, ...]:
        """Return the nodes of one kind, in document order."""
        return tuple(node for node in self.document.nodes if isinstance(node, kind))

    def children(self, node_id: str) -> tuple[AnyNode, ...]:
        """Return the nodes that stand directly in or below a node."""
        return tuple(self._children.get(node_id, ()))

    def ancestors(self, node_id: str) -> tuple[AnyNode, ...]:
        """Return what contains or carries a node, nearest first."""
        found = self._ancestors.get(node_id)
        if found is None:
            found = self._ancestors[node_id] = tuple(self._climb(node_id))
        return found

    def _climb(self, node_id: str) -> Iterator[AnyNode]:
        seen = {node_id}
        node = self._nodes.get(node_id)
        while node is not None and node.parent is not None and node.parent not in seen:
            seen.add(node.parent)
            node = self._nodes.get(node.parent)
            if node is not None:
                yield node

    def bridges_above(self, node_id: str) -> tuple[PcieSwitch | HostBridge, ...]:
        """Return the PCIe switches above a node and the host bridge above them, nearest first."""
        found = self._bridges.get(node_id)
        if found is None:
            above = self.ancestors(node_id)
            found = tuple(node for node in above if isinstance(node, PcieSwitch | HostBridge))
            self._bridges[node_id] = found
        return found

    def link_above(self, node_id: str) -> Link | None:
        """Return the PCIe link that joins a node to the switch or host bridge above it."""
        return self._up.get(node_id)

    def links_between(self, a: str, b: str) -> tuple[Link, ...]:
        """Return the direct links (NVLink, xGMI, C2C) that join two nodes."""
        return tuple(self._between.get((a, b), ()))

    def fabric_links(self, node_id: str) -> tuple[Link, ...]:
        """Return the links that join a GPU to NVSwitches.

        All NVSwitches of a machine count as one fabric: recordings never show the links between
        them, and a machine with switches that do not reach each other is not sold.
        """
        return tuple(self._fabric.get(node_id, ()))

    def host_bridge(self, node_id: str) -> HostBridge | None:
        """Return the host bridge above a node, or the node itself if it is one."""
        node = self.node(node_id)
        if isinstance(node, HostBridge):
            return node
        return next((n for n in self.bridges_above(node_id) if isinstance(n, HostBridge)), None)

    def numa(self, node_id: str) -> Numa | None:
        """Return the NUMA node that a node belongs to, where it is known.

        A machine with a single NUMA node leaves no choice.
        """
        if node_id not in self._numas:
            self._numas[node_id] = self._find_numa(node_id)
        return self._numas[node_id]

    def _find_numa(self, node_id: str) -> Numa | None:
        node = self.node(node_id)
        if isinstance(node, Numa):
            return node
        bridge = self.host_bridge(node_id)
        for place in (node, bridge):
            if isinstance(place, PciNode) and place.numa_index is not None:
                return self._numa_by_index.get(place.numa_index)
        if len(self._numa_by_index) == 1:
            return next(iter(self._numa_by_index.values()))
        return None

    def package(self, node_id: str) -> Package | None:
        """Return the CPU socket that a node belongs to, where it is known."""
        numa = self.numa(node_id)
        start = numa.id if numa else node_id
        return next((n for n in self.ancestors(start) if isinstance(n, Package)), None)

    def resources_between(self, a: str, b: str) -> tuple[Resource, ...]:
        """Return the directed resources that a transfer from `a` to `b` crosses, in order.

        Direct links come first (NVLink, xGMI, C2C), then the way through NVSwitches, then PCIe up
        to the common switch or host bridge and down again, through the NUMA nodes between if
        there are several. A NUMA node as an end adds its memory.

        Parameters
        ----------
        a, b : str
            Ids of GPUs, NICs, drives, or NUMA nodes.

        Raises
        ------
        ModelError
            If a node does not exist, or nothing is known about how it is attached.
        """
        if a == b:
            return tuple(self._memory(a))
        direct = self.links_between(a, b)
        if direct:
            total = sum(link.count for link in direct)
            return tuple(
                _resource(link, forward=link.a == a, share=link.count / total) for link in direct
            )
        fabric_a, fabric_b = self.fabric_links(a), self.fabric_links(b)
        if fabric_a and fabric_b:
            return (*_spread(fabric_a, a, leaving=True), *_spread(fabric_b, b, leaving=False))
        return self._over_pcie(a, b)

    def _over_pcie(self, a: str, b: str) -> tuple[Resource, ...]:
        way_a, way_b = self._way_up(a), self._way_up(b)
        places_b = {place for place, _ in way_b}
        meeting = next((place for place, _ in way_a if place in places_b), None)
        up = _until(way_a, meeting)
        down = _until(way_b, meeting)
        between: tuple[Resource, ...] = ()
        if meeting is None:
            between = self._between_numas(a, b)
        return (
            *self._memory(a),
            *(_resource(link, forward=False) for link in up),
            *between,
            *(_resource(link, forward=True) for link in reversed(down)),
            *self._memory(b),
        )

    def _way_up(self, node_id: str) -> list[tuple[str, Link | None]]:
        """List the nodes from one up to its host bridge, each with the link that leaves it."""
        node = self.node(node_id)
        if isinstance(node, Numa):
            return [(node_id, None)]
        way: list[tuple[str, Link | None]] = []
        for place in (node, *self.ancestors(node_id)):
            if not isinstance(place, PciNode):
                break
            way.append((place.id, self._up.get(place.id)))
        if not isinstance(node, PciNode) or not self._is_at_the_root(*way[-1]):
            raise ModelError(
                f"Nothing is known about how {node_id} is attached, so there is no way to or from "
                "it; scan the machine itself, as root if this was a user's scan."
            )
        return way

    def _is_at_the_root(self, node_id: str, link: Link | None) -> bool:
        """Tell whether a way ends at a host bridge, or at a NUMA node where no bridge is known."""
        above = None if link is None else self._nodes.get(link.a)
        return isinstance(self._nodes[node_id], HostBridge) or isinstance(above, Numa)

    def _between_numas(self, a: str, b: str) -> tuple[Resource, ...]:
        one, other = self.numa(a), self.numa(b)
        if one is None or other is None or one.id == other.id:
            return ()
        sockets = self.package(a), self.package(b)
        link = None
        if sockets[0] and sockets[1] and sockets[0].id != sockets[1].id:
            ends = {sockets[0].id, sockets[1].id}
            link = next(
                (
                    x for x in self.document.links
                    if x.kind is LinkKind.INTER_SOCKET and {x.a, x.b} == ends
                ),
                None,
            )  # fmt: skip
        if link is not None and sockets[0] is not None:
            return (_resource(link, forward=link.a == sockets[0].id),)
        return (Resource(f"inter_socket:{one.id}->{other.id}", LinkKind.INTER_SOCKET, None, None),)

    def _memory(self, node_id: str) -> tuple[Resource, ...]:
        if isinstance(self.node(node_id), Numa):
            return (Resource(f"memory:{node_id}", "memory", None, None),)
        return ()


def _resource(link: Link, *, forward: bool, share: float = 1.0) -> Resource:
    known = [c.bandwidth_bytes_per_s for c in (link.nominal, link.current) if c is not None]
    return Resource(
        id=f"{link.wire}:{'a_to_b' if forward else 'b_to_a'}",
        kind=link.kind,
        link=link.id,
        capacity_bytes_per_s=next((rate for rate in known if rate is not None), None),
        share=share,
    )


def _spread(links: tuple[Link, ...], node_id: str, *, leaving: bool) -> Iterator[Resource]:
    total = sum(link.count for link in links)
    for link in links:
        yield _resource(link, forward=(link.a == node_id) is leaving, share=link.count / total)


def _until(way: list[tuple[str, Link | None]], meeting: str | None) -> list[Link]:
    links: list[Link] = []
    for place, link in way:
        if place == meeting:
            break
        if link is not None:
            links.append(link)
    return links
