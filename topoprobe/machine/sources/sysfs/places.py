"""Where functions hang: from their paths below /sys/devices, or else from the bridges' buses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from topoprobe.machine.addresses import normal_address
from topoprobe.machine.buses import Position, places_of
from topoprobe.machine.facts import PciFact
from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.sysfs.function import Function

_DEVICES = "sys/bus/pci/devices"
_ROOT = re.compile(r"pci([0-9a-f]{4,8}):([0-9a-f]{2})", re.IGNORECASE)


def folders_of(files: Files) -> dict[str, str]:
    """Return the folder of each function by its address.

    A recording's list may lack bridges that the paths of others lead through; their folders are
    found on those paths.
    """
    found: dict[str, str] = {}
    for name in files.names(_DEVICES):
        address = normal_address(name)
        if address is not None:
            found.setdefault(address, f"{_DEVICES}/{name}")
    for folder in list(found.values()):
        parts = _path(files.link(folder))
        for end, part in enumerate(parts[:-1]):
            address = normal_address(part)
            if address is not None and address not in found:
                above = "/".join(("sys", "devices", *parts[: end + 1]))
                if files.data(f"{above}/class") is not None:
                    found[address] = above
    return found


def with_places(
    files: Files, functions: Sequence[Function], folders: Mapping[str, str]
) -> list[PciFact]:
    """Note host bridge and parent bridge of every function.

    Copies without links have no paths; there the bus numbers in the bridges' configuration spaces
    tell.
    """
    known = set(folders)
    placed = []
    for function in functions:
        fact = function.fact
        root, parent = _place(_path(files.link(folders[fact.address])), fact.address, known)
        placed.append(msgspec.structs.replace(fact, root=root, parent=parent))
    if all(fact.root for fact in placed):
        return placed
    places = places_of(
        Position(
            address=one.fact.address,
            class_code=one.fact.class_code or "",
            secondary=one.config.secondary_bus,
            subordinate=one.config.subordinate_bus,
        )
        for one in functions
    )
    return [
        fact if fact.root else msgspec.structs.replace(fact, **places[fact.address]._asdict())
        for fact in placed
    ]


def _path(link: str | None) -> list[str]:
    """Return the parts of a device's path below /sys/devices."""
    parts = [part for part in (link or "").split("/") if part not in {"", "..", "."}]
    return parts[parts.index("devices") + 1 :] if "devices" in parts else []


def _place(parts: Sequence[str], address: str, known: set[str]) -> tuple[str | None, str | None]:
    # The innermost root counts: Intel VMD hangs a PCI domain of its own below a device.
    starts = [i for i, part in enumerate(parts) if _ROOT.fullmatch(part)]
    if not starts:
        return None, None
    match = _ROOT.fullmatch(parts[starts[-1]])
    root = f"{int(match[1], 16):04x}:{match[2].lower()}" if match else None
    above = (normal_address(part) for part in reversed(parts[starts[-1] + 1 :]))
    return root, next((a for a in above if a in known and a != address), None)
