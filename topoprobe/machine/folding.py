"""Folding a tree of PCI functions: ports into host bridges and switches, links between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from topoprobe.machine.addresses import device_of
from topoprobe.machine.facts import PciFact
from topoprobe.machine.pcie import lesser
from topoprobe.records.machine import Capability, Link, LinkKind, Port, PortRole


class Owner(NamedTuple):
    """The node that a bridge function belongs to: a host bridge by key, or a switch by address."""

    is_switch: bool
    key: str

    @property
    def node_id(self) -> str:
        """Id of the node in the machine document."""
        return f"{'pcie_switch' if self.is_switch else 'host_bridge'}@{self.key}"


class PciTree:
    """The bridges of a machine and who owns them.

    Parameters
    ----------
    functions : iterable of PciFact
        All functions. A parent that is not among them, or is no bridge, counts as absent.
    bridges : set of str
        Addresses of the functions that are bridges.
    """

    def __init__(self, functions: Iterable[PciFact], bridges: set[str]) -> None:
        self._functions = {f.address: f for f in functions}
        self._maxima = _maxima_of_devices(self._functions.values())
        self._bridges = bridges
        self._roles: dict[str, PortRole] = {}
        self._owners: dict[str, Owner | None] = {}

    def parent(self, function: PciFact) -> PciFact | None:
        """Return the bridge directly above a function."""
        if function.parent in self._bridges:
            return self._functions.get(function.parent or "")
        return None

    def role(self, bridge: PciFact) -> PortRole:
        """Return a bridge's role, as told or as its place implies.

        Below a host bridge stands a root port; below a root port, an upstream port; from there
        downstream and upstream ports alternate.
        """
        known = self._roles.get(bridge.address)
        if known is not None:
            return known
        self._roles[bridge.address] = PortRole.UNKNOWN  # ends a circle of parents
        role = bridge.role
        if role is None or role is PortRole.UNKNOWN:
            above = self.parent(bridge)
            if above is None:
                role = PortRole.ROOT
            elif self.role(above) is PortRole.UPSTREAM:
                role = PortRole.DOWNSTREAM
            else:
                role = PortRole.UPSTREAM
        self._roles[bridge.address] = role
        return role

    def owner(self, bridge: PciFact) -> Owner | None:
        """Return the node that a bridge is a port of; None if its host bridge is unknown."""
        if bridge.address in self._owners:
            return self._owners[bridge.address]
        self._owners[bridge.address] = Owner(True, bridge.address)
        role, above = self.role(bridge), self.parent(bridge)
        if role is PortRole.ROOT:
            owner = Owner(False, bridge.root) if bridge.root else None
        elif role is PortRole.DOWNSTREAM and above is not None:
            owner = self.owner(above)
        else:
            owner = Owner(True, bridge.address)
        self._owners[bridge.address] = owner
        return owner

    def above(self, function: PciFact) -> Owner | None:
        """Return the node that a function (no port of it) hangs on."""
        bridge = self.parent(function)
        if bridge is not None:
            return self.owner(bridge)
        return Owner(False, function.root) if function.root else None

    def ports(self) -> Mapping[str, tuple[Port, ...]]:
        """Return the ports of each host bridge and switch, by node id."""
        found: dict[str, list[Port]] = {}
        for address in self._functions:
            if address not in self._bridges:
                continue
            bridge = self._functions[address]
            owner = self.owner(bridge)
            if owner is not None:
                found.setdefault(owner.node_id, []).append(
                    Port(
                        address=address,
                        role=self.role(bridge),
                        maximum=bridge.maximum,
                        current=bridge.current,
                        access_control=bridge.access_control,
                    )
                )
        return {node: tuple(ports) for node, ports in found.items()}

    def switches(self) -> list[PciFact]:
        """Return the function that stands for each switch: its upstream port."""
        return [
            self._functions[address]
            for address in self._functions
            if address in self._bridges
            and self.owner(self._functions[address]) == Owner(True, address)
        ]

    def link(self, function: PciFact, node_id: str) -> Link | None:
        """Return the link from a switch's upstream port or an endpoint to what is above it.

        A driver tells of a link but not where it leads: that one begins at the host.
        """
        above = self.above(function)
        now = function.current or function.current_or_maximum
        tells = now or function.nominal or function.maximum
        if above is None and tells is None:
            return None
        port = self.parent(function)
        if port is not None and self.role(port) in {PortRole.UPSTREAM, PortRole.BRIDGE}:
            # NCCL's files skip the downstream ports, and the bus below a bridge is no link: only
            # the device itself is known.
            port = None
        a_capability = port.maximum if port else None
        b_capability = self._maxima.get(device_of(function.address))
        nominal = lesser(a_capability, b_capability)
        if a_capability is None or b_capability is None:
            nominal = function.nominal or nominal
        return Link(
            id=f"pcie@{function.address}",
            kind=LinkKind.PCIE,
            a=above.node_id if above else "host",
            b=node_id,
            a_port=port.address if port else None,
            b_port=function.address,
            wire=f"wire@{port.address if port else device_of(function.address)}",
            a_capability=a_capability,
            b_capability=b_capability,
            nominal=nominal,
            current=now or (port.current if port else None),
            may_be_maximum=function.current is None and function.current_or_maximum is not None,
        )


def _maxima_of_devices(functions: Iterable[PciFact]) -> dict[str, Capability]:
    """Return what each device's end of its link can do, which is the least its functions tell.

    They share one link, but some tell what they could do in another package: the management
    function of a two-lane switch may claim sixteen.
    """
    least: dict[str, Capability] = {}
    for function in functions:
        device = device_of(function.address)
        maximum = lesser(least.get(device), function.maximum)
        if maximum is not None:
            least[device] = maximum
    return least
