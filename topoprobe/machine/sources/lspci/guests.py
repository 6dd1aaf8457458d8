"""Telling from its devices that a machine is a guest of a hypervisor."""

from __future__ import annotations

from collections.abc import Sequence

from topoprobe.machine.facts import HostFact, PciFact

# Vendors whose devices exist in guests only.
_HYPERVISORS = {
    "1234": "QEMU",
    "1414": "Hyper-V",
    "15ad": "VMware",
    "1b36": "QEMU",
    "5853": "Xen",
    "80ee": "VirtualBox",
}
# The chip set of 1996 that KVM guests are given.
_OLD_CHIP_SET, _OLD_CHIP_SET_NAME = ("8086", "1237"), "440FX"
# Some clouds give virtio devices to bare metal too, but no bare metal lacks bridges.
_VIRTIO = "1af4"


def host_of(functions: Sequence[PciFact]) -> HostFact | None:
    """Return what the devices say about the host; None if they say nothing."""
    vendors = {function.vendor for function in functions}
    named = next((name for vendor, name in _HYPERVISORS.items() if vendor in vendors), None)
    has_bridges = any((f.class_code or "").startswith("0604") for f in functions)
    is_virtual = named is not None or (_VIRTIO in vendors and not has_bridges)
    if not is_virtual and not any(map(_is_old_chip_set, functions)):
        return None
    return HostFact(is_virtual=True, virtualization=named or "unnamed hypervisor")


def _is_old_chip_set(function: PciFact) -> bool:
    is_named = function.vendor == "8086" and (function.name or "").startswith(_OLD_CHIP_SET_NAME)
    return is_named or (function.vendor, function.device) == _OLD_CHIP_SET
