"""Where functions hang in the PCI tree, from the bus numbers of the bridges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from topoprobe.machine.addresses import sort_key


class Position(NamedTuple):
    """What a function's registers say about its place.

    Attributes
    ----------
    address : str
        Its own.
    class_code : str
        Its class.
    secondary, subordinate : int or None
        For a bridge: the bus right below it, and the last bus below it.
    port_type : str or None
        Its PCI Express type in lspci's words; None if it has none or nobody could read it.
    """

    address: str
    class_code: str
    secondary: int | None = None
    subordinate: int | None = None
    port_type: str | None = None


class Place(NamedTuple):
    """Host bridge and parent bridge of a function, as far as they are known."""

    root: str | None = None
    parent: str | None = None


# What only stands on the root bus itself, and what only stands below a port.
_ON_ROOT_BUS = ("Root Port", "Root Complex")
_BELOW_A_PORT = (
    "Endpoint",
    "Legacy Endpoint",
    "Upstream Port",
    "Downstream Port",
    "PCI-Express to",
)


def places_of(positions: Iterable[Position]) -> Mapping[str, Place]:
    """Place every function.

    Bus 0 is a root bus. Another one that no bridge of the text leads to may be a root bus, or its
    bridge may be missing (cut off, or not asked for by ``lspci -s`` and ``-d``). It is a root bus
    if something on it stands nowhere else: a root port, an integrated endpoint, a host bridge, or,
    where PCI Express types are not told, anything but bridges as device 1 or higher, as a port has
    only device 0 below it.
    """
    buses: dict[str, list[Position]] = {}
    for position in positions:
        buses.setdefault(_bus(position.address), []).append(position)
    above = _bridges_by_bus(buses)
    spanned = _spanned(buses)
    roots: dict[str, str | None] = {}
    for bus in sorted(buses, key=lambda bus: int(bus.rpartition(":")[2], 16)):
        bridge = above.get(bus)
        if bridge is not None:
            roots[bus] = roots.get(_bus(bridge))
        else:
            roots[bus] = bus if bus not in spanned and _is_root(bus, buses[bus]) else None
    return {
        position.address: Place(roots[bus], above.get(bus))
        for bus, there in buses.items()
        for position in there
    }


def _bridges_by_bus(buses: Mapping[str, list[Position]]) -> dict[str, str]:
    """Return the bridge above each bus. Numbers that do not grow downwards were never set."""
    found: dict[str, str] = {}
    for bus, there in buses.items():
        domain, _, number = bus.rpartition(":")
        for position in there:
            if position.secondary is not None and position.secondary > int(number, 16):
                found.setdefault(f"{domain}:{position.secondary:02x}", position.address)
    return found


def _spanned(buses: Mapping[str, list[Position]]) -> set[str]:
    return {
        f"{bus.rpartition(':')[0]}:{below:02x}"
        for bus, there in buses.items()
        for position in there
        if position.secondary and position.subordinate is not None
        for below in range(position.secondary, min(position.subordinate, 0xFF) + 1)
    }


def _is_root(bus: str, there: Sequence[Position]) -> bool:
    types = [position.port_type for position in there if position.port_type]
    if bus.endswith(":00") or any(kind.startswith(_ON_ROOT_BUS) for kind in types):
        return True
    if any(kind.startswith(_BELOW_A_PORT) for kind in types):
        return False
    return any(
        position.class_code == "0600"
        or (position.class_code != "0604" and sort_key(position.address)[2] > 0)
        for position in there
    )


def _bus(address: str) -> str:
    return address.rpartition(":")[0]
