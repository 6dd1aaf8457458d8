"""Rounding off the functions that a text tells of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from topoprobe.machine.addresses import sort_key
from topoprobe.machine.facts import PciFact
from topoprobe.records.base import Missing

# Drivers that hold a function for somebody else.
_STAND_INS = {None, "vfio-pci", "pci-stub"}


def once_each(functions: Iterable[PciFact]) -> list[PciFact]:
    """Sort by address, and join what a text says of one function in several places.

    Where it says different things the first counts.
    """
    found: dict[str, PciFact] = {}
    for function in functions:
        known = found.get(function.address)
        if known is not None:
            more = {
                field: getattr(function, field)
                for field in function.__struct_fields__
                if getattr(known, field) is None
            }
            function = msgspec.structs.replace(known, **more)
        found[function.address] = function
    return sorted(found.values(), key=lambda function: sort_key(function.address))


def with_interfaces(functions: Sequence[PciFact]) -> list[PciFact]:
    """Note which network functions have an interface: those with a driver of their own.

    Nothing is noted if the text shows no drivers at all.
    """
    if not any(function.driver for function in functions):
        return list(functions)
    return [
        msgspec.structs.replace(function, has_interface=function.driver not in _STAND_INS)
        if (function.class_code or "").startswith("02")
        else function
        for function in functions
    ]


def silence(address: str) -> Missing:
    """Say that a function answers with all ones."""
    reason = "It answers with all ones: it fell off the bus, or sleeps without power (D3cold)."
    return Missing(subject=address, fact="config", reason=reason)
