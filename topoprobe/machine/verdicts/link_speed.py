"""Whether PCIe links run at the rate that both their ends can."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.pcie import capability, describe
from topoprobe.machine.verdicts.check import Check, fail, ok, warn
from topoprobe.machine.verdicts.wires import (
    Rest,
    are_both_ends_real,
    matters,
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


def judge(machine: Machine) -> Iterator[Verdict]:
    """Compare each link's rate with the lesser of both ends; an idle GPU's tells nothing.

    A link of which only one end is known is not judged.
    """
    if not are_both_ends_real(machine):
        return
    told = with_told_limits(machine)
    for link in wires(machine):
        now, possible = _rate(link.current), _rate(link.nominal)
        is_of_both = None not in (_rate(link.a_capability), _rate(link.b_capability))
        if now is None or possible is None or link.nominal is None:
            continue
        if not is_of_both and link.b not in told:
            continue
        if now >= possible:
            yield ok(NAME, link.id, f"Runs at {_generation(now)}, as both ends can.")
        else:
            yield _slow(machine, link, link.nominal, now)


CHECK = Check(NAME, "links run at the rate that both ends can, or rest", judge)


def _slow(machine: Machine, link: Link, nominal: Capability, now: float) -> Verdict:
    slowed = capability(now, nominal.num_lanes)
    gap = f"Runs at {_generation(now)} where both ends can {_generation(nominal.transfers_per_s)}"
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
            "Read it again under load: a GPU at work runs its link at the full rate. It is a "
            "fault only if it stays so.",
        )
    loss = _loss(slowed, nominal)
    is_gpu = isinstance(machine.node(link.b), Gpu)
    awake = f" at {state_of(machine, link)}" if is_gpu else ""
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
