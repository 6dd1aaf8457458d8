"""Whether PCIe links run at the rate that both their ends can."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.pcie import capability, describe
from topoprobe.machine.verdicts.check import Check, fail, ok, warn
from topoprobe.machine.verdicts.wires import (
    Rest,
    are_both_ends_real,
    cost,
    is_slot_worse,
    matters,
    now,
    rest_of,
    state_of,
    wires,
    with_told_limits,
)
from topoprobe.machine.view import Machine
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Capability, Gpu, Link, NvSwitch
from topoprobe.units import format_rate

NAME = "link-speed"
# Gen5: cards of Gen6 came before slots of Gen6, and are as well there as they can be.
_NEWEST = 32e9
_LOAD = (
    "Read it again under load: a GPU at work runs its link at the full rate. It is a fault only if "
    "it stays so."
)


def judge(machine: Machine) -> Iterator[Verdict]:
    """Compare each link's rate with the lesser of both ends; an idle GPU's tells nothing.

    Where only one end is known, as in a guest, only GPUs are judged, by what they can themselves.
    """
    told = with_told_limits(machine) if are_both_ends_real(machine) else frozenset()
    for link in wires(machine):
        ends = (link.b_capability, link.a_capability)
        speed, own, slot = (_rate(what) for what in (now(link), *ends))
        is_of_both = are_both_ends_real(machine) and None not in (own, slot)
        if speed is None:
            continue
        if not is_of_both and link.b not in told:
            yield from _by_itself(machine, link, speed)
        elif link.nominal is not None and (possible := _rate(link.nominal)) is not None:
            if speed < possible:
                yield _slow(machine, link, link.nominal, speed)
            elif own is not None and possible < min(own, _NEWEST) and is_slot_worse(machine, link):
                yield _in_slow_slot(link, link.nominal, own)
            else:
                yield ok(NAME, link.id, f"Runs at {_generation(speed)}, {_limit(possible, own)}.")


CHECK = Check(NAME, "links run at the rate that both ends can, or rest", judge)


def _limit(possible: float, own: float | None) -> str:
    return "all that its slot can" if own is not None and possible < own else "as both ends can"


def _in_slow_slot(link: Link, nominal: Capability, own: float) -> Verdict:
    mine, slots = _generation(own), _generation(nominal.transfers_per_s)
    loss = cost(nominal, capability(own, nominal.num_lanes))
    return warn(
        NAME,
        link.id,
        f"Is a {mine} card in a {slots} slot{f', which {loss}' if loss else ''}.",
        f"Move it to a {mine} slot if the board has one, and look in the BIOS for a limit of the "
        "slot's speed.",
    )


def _by_itself(machine: Machine, link: Link, speed: float) -> Iterator[Verdict]:
    """Compare a GPU's link with what the GPU can, where nobody knows the other end."""
    device = machine.node(link.b)
    known = [rate for c in (link.nominal, link.b_capability) if (rate := _rate(c)) is not None]
    if not isinstance(device, Gpu) or not known:
        return
    most = max(known)
    rest, state = rest_of(machine, link), state_of(machine, link)
    gap = f"Runs at {_generation(speed)} of its own {_generation(most)}"
    if speed >= most:
        yield ok(NAME, link.id, f"Runs at {_generation(speed)}, as it can at most.")
    elif speed >= _NEWEST:
        yield ok(NAME, link.id, f"{gap}: no slot is faster.")
    elif rest is Rest.RESTING:
        yield ok(NAME, link.id, f"{gap}, at rest ({state}): judge it under load.")
    elif rest is Rest.UNKNOWN:
        yield warn(NAME, link.id, f"{gap}; it may rest ({state}), so this cannot be judged.", _LOAD)
    else:
        lanes = link.current.num_lanes if link.current else None
        loss = cost(capability(speed, lanes), capability(most, lanes))
        yield warn(
            NAME,
            link.id,
            f"{gap}{f', which {loss}' if loss else ''}; what the slot can is not told.",
            "Find out what the slot can: in a cloud, ask for an instance whose GPUs run at their "
            "full rate, or for another host; on your own machine, reseat it and look in the BIOS "
            "for a limit of the slot's speed.",
        )


def _slow(machine: Machine, link: Link, nominal: Capability, speed: float) -> Verdict:
    slowed = capability(speed, nominal.num_lanes)
    gap = f"Runs at {_generation(speed)} where both ends can {_generation(nominal.transfers_per_s)}"
    rest = rest_of(machine, link)
    if rest is Rest.RESTING:
        state = state_of(machine, link)
        return ok(NAME, link.id, f"{gap}, at rest ({state}): judge it under load.")
    if isinstance(machine.node(link.b), NvSwitch):
        return ok(NAME, link.id, f"{gap}; it carries management only, and is rested.")
    if rest is Rest.UNKNOWN:
        return warn(
            NAME,
            link.id,
            f"{gap}; it may rest ({state_of(machine, link)}), so this cannot be judged.",
            _LOAD,
        )
    loss = _loss(slowed, nominal)
    device = machine.node(link.b)
    is_told = isinstance(device, Gpu) and device.performance_state is not None
    awake = f" at {state_of(machine, link)}" if is_told else ""
    evidence = f"{gap}{awake}{f', which costs {loss}' if loss else ''}."
    fix = (
        "Reseat it, try another slot or riser, and look in the BIOS for a limit of the slot's "
        f"speed{_gain(slowed, nominal)}."
    )
    return (fail if matters(machine, link) else warn)(NAME, link.id, evidence, fix)


def _loss(slowed: Capability | None, nominal: Capability) -> str:
    if slowed is None or not slowed.transfers_per_s or not nominal.transfers_per_s:
        return ""
    rates = (
        (slowed.bandwidth_bytes_per_s, nominal.bandwidth_bytes_per_s)
        if slowed.bandwidth_bytes_per_s and nominal.bandwidth_bytes_per_s
        else (slowed.transfers_per_s, nominal.transfers_per_s)
    )
    return f"{100 * (1 - rates[0] / rates[1]):.0f} % of its bandwidth"


def _gain(slowed: Capability | None, nominal: Capability) -> str:
    before = slowed.bandwidth_bytes_per_s if slowed else None
    after = nominal.bandwidth_bytes_per_s
    if before is None or after is None:
        return ""
    return f"; that takes it from {format_rate(before)} to {format_rate(after)} each way"


def _generation(transfers_per_s: float | None) -> str:
    return describe(capability(transfers_per_s, None)) or "an unknown rate"


def _rate(what: Capability | None) -> float | None:
    return what.transfers_per_s if what else None
