"""The PCI functions of the machine, told from each other and put into their tree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from topoprobe.machine.addresses import sort_key
from topoprobe.machine.facts import PciFact, RootFact
from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.sysfs import function
from topoprobe.machine.sources.sysfs.boards import with_slot_links
from topoprobe.machine.sources.sysfs.function import Function
from topoprobe.machine.sources.sysfs.places import folders_of, with_places
from topoprobe.machine.virtual_functions import VirtualFunctions, with_owners
from topoprobe.records.base import Missing

_SLOTS = "sys/bus/pci/slots"
# Drivers that hold a function for somebody else.
_STAND_INS = {None, "vfio-pci", "pci-stub"}


class PciTree(NamedTuple):
    """All functions, their host bridges, and what is unknown of them."""

    functions: tuple[PciFact, ...]
    roots: tuple[RootFact, ...]
    unknown: tuple[Missing, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the place of every function is known."""
        return bool(self.functions) and all(f.root for f in self.functions)


def read(files: Files, with_interface: Iterable[str], nvidia_gpus: Iterable[str]) -> PciTree:
    """Read all PCI functions.

    Parameters
    ----------
    files : Files
        Where to read.
    with_interface : iterable of str
        Addresses of the functions that carry network interfaces.
    nvidia_gpus : iterable of str
        Addresses of what NVIDIA's driver calls GPUs.
    """
    folders, slots = folders_of(files), _slots(files)
    found = [
        function.read(files, folders[address], address, slots)
        for address in sorted(folders, key=sort_key)
    ]
    facts = _with_interfaces(with_places(files, found, folders), set(with_interface))
    facts = with_slot_links(with_owners(facts, _virtual_functions(found)))
    facts = _with_gpus(facts, set(nvidia_gpus))
    return PciTree(
        functions=tuple(facts),
        roots=tuple(RootFact(key=key) for key in dict.fromkeys(f.root for f in facts) if key),
        unknown=tuple(missing for one in found for missing in one.unknown),
    )


def _slots(files: Files) -> dict[str, str]:
    """Return the names of the slots by what is in them: a device, or all of a bus."""
    found: dict[str, str] = {}
    for name in files.names(_SLOTS):
        text = files.text(f"{_SLOTS}/{name}/address")
        if text:
            found.setdefault(text.lower(), name)
    return found


def _with_interfaces(facts: Sequence[PciFact], addresses: set[str]) -> list[PciFact]:
    """Note which functions have a network interface.

    A driver without a visible interface is a NIC whose interface is in another container. Where no
    function shows either, neither was recorded.
    """
    if not addresses and not any(fact.driver for fact in facts):
        return list(facts)
    return [
        msgspec.structs.replace(
            fact,
            has_interface=fact.address in addresses
            or ((fact.class_code or "").startswith("02") and fact.driver not in _STAND_INS),
        )
        for fact in facts
    ]


def _virtual_functions(found: Iterable[Function]) -> dict[str, VirtualFunctions]:
    """Return what physical functions say, for copies in which the links between them are lost."""
    told = {one.fact.address: one.config.virtual_functions for one in found}
    return {
        address: VirtualFunctions(sriov.enabled, sriov.first_offset, sriov.stride)
        for address, sriov in told.items()
        if sriov is not None
    }


def _with_gpus(facts: Iterable[PciFact], addresses: set[str]) -> list[PciFact]:
    """Take for a GPU what the driver takes for one, even if nothing else shows it."""
    shown = {fact.address: fact for fact in facts}
    for address in addresses:
        fact = shown.get(address, PciFact(address=address))
        shown[address] = msgspec.structs.replace(fact, kind="gpu", driver=fact.driver or "nvidia")
    return sorted(shown.values(), key=lambda fact: sort_key(fact.address))
