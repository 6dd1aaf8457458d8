"""PCIe links as checks judge them: each wire once, and whether its device may rest it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from topoprobe.machine.view import Machine
from topoprobe.records.machine import (
    AnyNode,
    Capability,
    Gpu,
    Link,
    LinkKind,
    Nic,
    Nvme,
    PcieSwitch,
    PciNode,
)
from topoprobe.units import format_rate

# A model of a switch that QEMU offers; its links are as made up as it is.
_EMULATED = ("104c", "8232")
_FACTS_OF_LINKS = {"current", "nominal", "maximum", "PCIe generation"}
# NVIDIA's highest performance states; below them a GPU lowers its link's rate to save power.
_NUM_AWAKE_STATES = 3


class Rest(StrEnum):
    """Whether the device at the lower end of a link saved power when it was read."""

    AWAKE = "awake"
    RESTING = "resting"
    UNKNOWN = "unknown"


def wires(machine: Machine) -> Iterator[Link]:
    """Yield the link of each PCIe wire whose readings can be believed.

    Functions of one card share a wire; the GPU's link speaks for it. Links that a contradiction
    is about, and those of emulated switches, are left out.
    """
    doubted = {c.subject for c in machine.document.contradictions if c.fact in _FACTS_OF_LINKS}
    chosen: dict[str, Link] = {}
    for link in machine.document.links:
        if link.kind is not LinkKind.PCIE or is_emulated(machine, link):
            continue
        first = chosen.setdefault(link.wire, link)
        if isinstance(machine.node(link.b), Gpu) and not isinstance(machine.node(first.b), Gpu):
            chosen[link.wire] = link
    for link in chosen.values():
        if not {link.id, link.b} & doubted:
            yield link


def is_emulated(machine: Machine, link: Link) -> bool:
    """Tell whether one end is a switch that only a hypervisor has."""
    ends = (machine.node(link.a), machine.node(link.b))
    return any(
        isinstance(end, PcieSwitch) and (end.pci_vendor, end.pci_device) == _EMULATED
        for end in ends
    )


def with_told_limits(machine: Machine) -> frozenset[str]:
    """Return the nodes of whose links a source gave the limit of both ends together.

    The driver's "maximum" of a GPU is such a limit: the lesser of the GPU's and the system's.
    """
    return frozenset(p.subject for p in machine.document.provenance if "nominal" in p.facts)


def are_both_ends_real(machine: Machine) -> bool:
    """Tell whether the ports above devices are real: a guest's are the hypervisor's own."""
    return machine.host is None or not machine.host.is_virtual


def matters(machine: Machine, link: Link) -> bool:
    """Tell whether bulk data crosses a link, rather than a console or a fan controller's words."""
    return isinstance(machine.node(link.b), Gpu | Nic | Nvme | PcieSwitch)


def is_slot_worse(machine: Machine, link: Link) -> bool:
    """Tell whether a better slot would serve a device that can more than its slot.

    A NIC may be content with less than it can.
    """
    device = machine.node(link.b)
    if isinstance(device, Nic):
        rates = [port.rate_bits_per_s for port in device.ports]
        carried = link.nominal.bandwidth_bytes_per_s if link.nominal else None
        needed = sum(rate or 0.0 for rate in rates)
        return bool(needed) and carried is not None and carried * 8 < needed
    return isinstance(device, Gpu | Nvme)


def now(link: Link) -> Capability | None:
    """Return how a link runs now; None where the source may have meant what it can."""
    return None if link.may_be_maximum else link.current


def cost(less: Capability | None, more: Capability | None) -> str:
    """Write what a link gives away, as ``costs 50 % of … (15.8 GB/s of 31.5 GB/s)``.

    Empty if the bandwidth of one of them is unknown.
    """
    given = less.bandwidth_bytes_per_s if less else None
    possible = more.bandwidth_bytes_per_s if more else None
    if not given or not possible or given >= possible:
        return ""
    return (
        f"costs {100 * (1 - given / possible):.0f} % of the bandwidth that it could have "
        f"({format_rate(given)} of {format_rate(possible)})"
    )


def rest_of(machine: Machine, link: Link) -> Rest:
    """Tell whether a link's rate may be low only because its device rests."""
    if is_off(machine, link):
        return Rest.RESTING
    device = _device_of(machine, link)
    if not isinstance(device, Gpu):
        return Rest.AWAKE
    state = (device.performance_state or "").removeprefix("P")
    if state.isdecimal() and int(state) >= _NUM_AWAKE_STATES:
        return Rest.RESTING
    # Some models rest in P0, others run their link at full rate there.
    is_awake = state.isdecimal() or device.is_idle is False
    return Rest.AWAKE if is_awake and not device.is_idle else Rest.UNKNOWN


def is_off(machine: Machine, link: Link) -> bool:
    """Tell whether the device at the lower end slept, when its link tells nothing at all."""
    return _power_state(_device_of(machine, link)).startswith("D3")


def state_of(machine: Machine, link: Link) -> str:
    """Say in which state the device at the lower end was, as ``P8`` or ``D3hot``."""
    device = _device_of(machine, link)
    if is_off(machine, link):
        return _power_state(device)
    if not isinstance(device, Gpu) or device.performance_state is None:
        return "its state is not told"
    return f"{device.performance_state}, idle" if device.is_idle else device.performance_state


def _device_of(machine: Machine, link: Link) -> AnyNode:
    """Return the device that sets a link's rate: a card with a switch of its own is one device."""
    node = machine.node(link.b)
    if isinstance(node, PcieSwitch):
        gpus = [gpu for gpu in machine.all(Gpu) if node in machine.ancestors(gpu.id)]
        if len(gpus) == 1 and gpus[0].pci_vendor == node.pci_vendor is not None:
            return gpus[0]
    return node


def _power_state(device: AnyNode) -> str:
    return (device.power_state if isinstance(device, PciNode) else None) or ""
