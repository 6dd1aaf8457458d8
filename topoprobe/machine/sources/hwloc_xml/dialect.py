"""What hwloc's versions write differently: kinds of OS devices, sizes, and where remarks stand."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Flag
from typing import TYPE_CHECKING

from topoprobe.machine.sources.xml import integer

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class OsKind(Flag):
    """What an OS device is; version 3 writes this mask."""

    NONE = 0
    STORAGE = 1
    MEMORY = 2
    GPU = 4
    COPROCESSOR = 8
    NETWORK = 16
    VERBS = 32
    DMA = 64


# Versions 1 and 2 number them.
_NUMBERED = (
    OsKind.STORAGE,
    OsKind.GPU,
    OsKind.NETWORK,
    OsKind.VERBS,
    OsKind.DMA,
    OsKind.COPROCESSOR,
)
_LARGEST = 127
# A subtype says it in words, whatever the number.
_BY_SUBTYPE = {
    "Disk": OsKind.STORAGE,
    "Tape": OsKind.STORAGE,
    "Removable Media Device": OsKind.STORAGE,
    "CXLMem": OsKind.MEMORY,
    "SPM": OsKind.MEMORY,
    "NVM": OsKind.MEMORY,
    "CUDA": OsKind.COPROCESSOR,
    "OpenCL": OsKind.COPROCESSOR,
    "LevelZero": OsKind.COPROCESSOR,
    "NVML": OsKind.GPU,
    "RSMI": OsKind.GPU,
    "Slingshot": OsKind.NETWORK,
}
_BY_INFO = {
    "NodeGUID": OsKind.VERBS,
    "Port1State": OsKind.VERBS,
    "Address": OsKind.NETWORK,
    "GPUModel": OsKind.GPU,
    "SectorSize": OsKind.STORAGE,
}


class OsKinds:
    """The kinds of a file's OS devices.

    Parameters
    ----------
    root : Element
        The file: its version, or a number that only one dialect has, tells how they are written.
    """

    def __init__(self, root: Element) -> None:
        told = {integer(o.get("osdev_type")) for o in objects(root, "OSDev")} - {None}
        is_third = (root.get("version") or "").startswith("3")
        self._are_masks = 0 not in told and (
            is_third or any(n is not None and len(_NUMBERED) <= n <= _LARGEST for n in told)
        )

    def of(self, element: Element) -> OsKind:
        """Return the kind of an OS device: by its subtype, its number, or its remarks."""
        by_word = _BY_SUBTYPE.get(subtype(element))
        if by_word is not None:
            return by_word
        number = integer(element.get("osdev_type"))
        if number is not None and self._are_masks and 0 < number <= _LARGEST:
            return OsKind(number)
        if number is not None and not self._are_masks and 0 <= number < len(_NUMBERED):
            return _NUMBERED[number]
        remarks = infos(element)
        return next((kind for key, kind in _BY_INFO.items() if key in remarks), OsKind.NONE)

    def is_network(self, element: Element) -> bool:
        """Tell whether an OS device is a network interface or a verbs device."""
        return bool(self.of(element) & (OsKind.NETWORK | OsKind.VERBS))

    def is_verbs(self, element: Element) -> bool:
        """Tell whether an OS device is a verbs device."""
        return bool(self.of(element) & OsKind.VERBS)


def subtype(element: Element) -> str:
    """Return the subtype, which version 1 wrote as a remark."""
    told = element.get("subtype")
    if told:
        return told
    remarks = infos(element)
    return remarks.get("CoProcType") or remarks.get("Type") or ""


def objects(element: Element, *types: str) -> Iterator[Element]:
    """Yield the objects of some types in an element, in the order of the file."""
    return (o for o in element.iter("object") if o.get("type") in types)


def infos(element: Element) -> dict[str, str]:
    """Return the remarks of an object."""
    return {i.get("name", ""): i.get("value", "") for i in element.findall("info")}


def kibibytes(text: str | None) -> int | None:
    """Return a size in bytes: version 3 writes the unit after the number, the others do not."""
    number = integer((text or "").removesuffix("KiB").strip())
    return number * 1024 if number is not None and 0 < number < 1 << 50 else None
