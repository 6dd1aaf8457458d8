"""Where functions hang in the PCI tree, from the bus numbers of the bridges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Position(NamedTuple):
    """What a function's registers say about its place.

    Attributes
    ----------
    address : str
        Its own.
    secondary, subordinate : int or None
        For a bridge: the bus right below it, and the last bus below it.
    port_type : str or None
        Its PCI Express type in lspci's words; None if it has none or nobody could read it.
    """

    address: str
    secondary: int | None = None
    subordinate: int | None = None
    port_type: str | None = None


class Place(NamedTuple):
    """Host bridge and parent bridge of a function; both None if its place is unknown."""

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

    A bus that no bridge leads to is a root bus, unless something speaks against it: its functions
    are of types that only exist below a port, a bridge of the text spans it, or the text has no
    bridge at all and shows but a selection (``lspci -s`` or ``-d``). Bus 0 always is one.
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
            is_root = _is_root(bus, buses[bus], is_spanned=bus in spanned, has_bridges=bool(above))
            roots[bus] = bus if is_root else None
    return {
        position.address: Place(roots[bus], above.get(bus))
        if roots[bus] or bus in above
        else Place()
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


def _is_root(bus: str, there: Iterable[Position], *, is_spanned: bool, has_bridges: bool) -> bool:
    types = [position.port_type for position in there if position.port_type]
    if bus.endswith(":00") or any(kind.startswith(_ON_ROOT_BUS) for kind in types):
        return True
    return has_bridges and not is_spanned and not any(k.startswith(_BELOW_A_PORT) for k in types)


def _bus(address: str) -> str:
    return address.rpartition(":")[0]
