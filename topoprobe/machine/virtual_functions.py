"""Telling virtual functions (SR-IOV) from the physical functions that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from topoprobe.machine.addresses import sort_key
from topoprobe.machine.facts import PciFact

_MAX_FUNCTIONS = 4096  # of one device; no maker goes beyond 2048


class VirtualFunctions(NamedTuple):
    """What a physical function says: how many there are, the first one's distance, the stride."""

    num_functions: int
    offset: int
    stride: int


def with_owners(
    functions: Iterable[PciFact], told: Mapping[str, VirtualFunctions]
) -> tuple[PciFact, ...]:
    """Note on every virtual function which physical function it belongs to.

    The SR-IOV capability tells. Where nobody could read it, the products' names do: a "Virtual
    Function" belongs to the first other function of its maker and class on the same bus, if there
    is one; in a guest there is none, and it is the guest's own device.
    """
    known = list(functions)
    owners = {a: owner for owner, sriov in told.items() for a in _addresses(owner, sriov)}
    physical: dict[tuple[str, ...], str] = {}
    for function in known:
        if not _is_named_virtual(function):
            physical.setdefault(_group(function), function.address)
    for index, function in enumerate(known):
        owner = owners.get(function.address)
        if owner is None and _is_named_virtual(function):
            owner = physical.get(_group(function))
        if owner is not None:
            known[index] = msgspec.structs.replace(function, physical_function=owner)
    return tuple(known)


def _addresses(owner: str, sriov: VirtualFunctions) -> Iterable[str]:
    """Count through bus, device and function as one number, as the capability means it."""
    domain, bus, device, function = sort_key(owner)
    first = (bus << 8 | device << 3 | function) + sriov.offset
    for index in range(min(sriov.num_functions, _MAX_FUNCTIONS)):
        number = first + index * sriov.stride
        if sriov.offset and number <= 0xFFFF:
            yield f"{domain:04x}:{number >> 8:02x}:{number >> 3 & 31:02x}.{number & 7}"


def _is_named_virtual(function: PciFact) -> bool:
    return "Virtual Function" in (function.name or "") and not function.address.endswith(":00.0")


def _group(function: PciFact) -> tuple[str, ...]:
    bus = function.address.rpartition(":")[0]
    return bus, function.vendor or "", function.class_code or ""
