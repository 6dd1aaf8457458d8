"""`lspci -mm` and `-vmm`: one function a line in quotes, or one field a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from topoprobe.machine.addresses import normal_address
from topoprobe.machine.facts import PciFact
from topoprobe.machine.sources.lspci.words import Identity, identify_fields

_QUOTED = re.compile(
    r'(?:\A|\n)[ \t>]*([0-9a-f:]{5,14}\.[0-7]) "([^"\n]*)" "([^"\n]*)" "([^"\n]*)"([^\n]*)',
    re.IGNORECASE,
)
_SLOT = re.compile(r"(?:\A|\n)[ \t>]*Slot:[ \t]+([0-9a-f:]{5,14}\.[0-7])[ \t]*\n", re.IGNORECASE)
_FIELD = re.compile(r"[ \t>]*(\w+):[ \t]+(.*\S)[ \t]*(?:\n|\Z)")


def holds_functions(text: str) -> bool:
    """Tell whether a text has such lines."""
    is_likely = '" "' in text or "Slot:" in text
    return is_likely and next(functions_of(text), None) is not None


def functions_of(text: str) -> Iterator[tuple[PciFact, bool]]:
    """Yield the functions, and whether they are silent: all ones are all that they answer."""
    for match in _QUOTED.finditer(text):
        identity = identify_fields(match[2], match[3], match[4])
        fact = _fact(match[1], identity, {})
        if fact is not None:
            yield fact, "-rff" in match[5]
    for match in _SLOT.finditer(text):
        fields = _fields(text, match.end())
        identity = identify_fields(
            fields.get("Class", ""), fields.get("Vendor", ""), fields.get("Device", "")
        )
        fact = _fact(match[1], identity, fields)
        if fact is not None:
            yield fact, fields.get("Rev") == "ff"


def _fields(text: str, start: int) -> dict[str, str]:
    """Read the lines up to the first that has no field; of two alike the first counts."""
    fields: dict[str, str] = {}
    while match := _FIELD.match(text, start):
        fields.setdefault(match[1], match[2])
        start = match.end()
    return fields


def _fact(address: str, identity: Identity | None, fields: dict[str, str]) -> PciFact | None:
    normal = normal_address(address)
    if normal is None or identity is None:
        return None
    return PciFact(
        address=normal,
        class_code=identity.class_code,
        vendor=identity.vendor,
        device=identity.device,
        name=identity.name,
        driver=fields.get("Driver"),
        slot=fields.get("PhySlot"),
        numa_index=_number(fields.get("NUMANode")),
        iommu_group=_number(fields.get("IOMMUGroup")),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None
