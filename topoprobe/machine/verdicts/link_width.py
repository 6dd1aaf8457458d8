"""Whether PCIe links use all the lanes that both their ends have."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.verdicts.check import Check, fail, ok, warn
from topoprobe.machine.verdicts.wires import (
    Rest,
    are_both_ends_real,
    is_off,
    matters,
    rest_of,
    state_of,
    wires,
    with_told_limits,
)
from topoprobe.machine.view import Machine
from topoprobe.records.base import Verdict
from topoprobe.records.machine import AnyNode, Capability, Gpu, Link, Nic, Nvme
from topoprobe.units import format_rate

NAME = "link-width"
_NVIDIA = "10de"


def judge(machine: Machine) -> Iterator[Verdict]:
    """Compare each link's lanes with the lesser of both ends, and a card with its slot."""
    told = with_told_limits(machine)
    for link in wires(machine):
        now, possible = _lanes(link.current), _lanes(link.nominal)
        device = machine.node(link.b)
        slot, own = _lanes(link.a_capability), _lanes(link.b_capability)
        if now is not None and possible is not None and now < possible:
            is_known = None not in (slot, own) or link.b in told
            yield _narrowed(machine, link, now, possible, is_known=is_known)
        elif slot is not None and own is not None and slot < own and _wants_more(device, link):
            yield warn(
                NAME,
                link.id,
                f"Is an x{own} card in an x{slot} slot, which costs {_percent(slot, own)} of the "
                "bandwidth that it could have.",
                f"Move it to an x{own} slot, or set the slot's bifurcation in the BIOS to x{own}.",
            )
        elif now is not None and slot is not None and own is not None:
            yield ok(NAME, link.id, f"Uses x{now} of x{own}, in an x{slot} slot.")


CHECK = Check(NAME, "links use all lanes that both ends have", judge)


def _narrowed(machine: Machine, link: Link, now: int, possible: int, *, is_known: bool) -> Verdict:
    loss = f"which costs {_percent(now, possible)} of its host bandwidth"
    if not is_known or not are_both_ends_real(machine):
        return warn(
            NAME,
            link.id,
            f"Runs x{now} of its own x{possible}, {loss}; what the slot can is not told.",
            "Find out how the slot is wired: in a cloud, ask for an instance with full-width "
            f"GPUs; on your own machine, reseat it or check its riser{_gain(link, possible)}.",
        )
    if is_off(machine, link):
        state = state_of(machine, link)
        return ok(NAME, link.id, f"Runs x{now} of x{possible}, asleep ({state}): judge it awake.")
    if rest_of(machine, link) is not Rest.AWAKE and _rests_lanes(machine.node(link.b), link):
        return warn(
            NAME,
            link.id,
            f"Runs x{now} of x{possible}, as such a GPU may at rest; this cannot be judged.",
            "Read it again under load: it is a fault only if it stays so.",
        )
    return (fail if matters(machine, link) else warn)(
        NAME,
        link.id,
        f"Runs x{now} of x{possible}, {loss}.",
        "Reseat it, check its riser or cable, and look at the slot's bifurcation in the BIOS"
        f"{_gain(link, possible)}.",
    )


def _rests_lanes(device: AnyNode, link: Link) -> bool:
    """Tell whether a GPU may have given up lanes to save power.

    At rest NVIDIA's lower the rate alone; those of others may lower both together.
    """
    if not isinstance(device, Gpu):
        return False
    now = link.current.transfers_per_s if link.current else None
    nominal = link.nominal.transfers_per_s if link.nominal else None
    return device.pci_vendor != _NVIDIA and None not in (now, nominal) and now != nominal


def _wants_more(device: AnyNode, link: Link) -> bool:
    """Tell whether a wider slot would help: a NIC may be content with fewer lanes than it has."""
    if not isinstance(device, Nic):
        return isinstance(device, Gpu | Nvme)
    rates = [port.rate_bits_per_s for port in device.ports]
    carried = link.nominal.bandwidth_bytes_per_s if link.nominal else None
    needed = sum(rate or 0.0 for rate in rates)
    return bool(needed) and carried is not None and carried * 8 < needed


def _gain(link: Link, possible: int) -> str:
    after = link.nominal.bandwidth_bytes_per_s if link.nominal else None
    now = _lanes(link.current)
    if after is None or now is None:
        return ""
    before = after * now / possible
    return f"; that takes it from {format_rate(before)} to {format_rate(after)} each way"


def _percent(now: int, possible: int) -> str:
    return f"{100 * (1 - now / possible):.0f} %"


def _lanes(what: Capability | None) -> int | None:
    return what.num_lanes if what else None
