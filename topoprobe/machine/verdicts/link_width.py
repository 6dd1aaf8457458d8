"""Whether PCIe links use all the lanes that both their ends have."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.verdicts.check import Check, fail, ok, warn
from topoprobe.machine.verdicts.wires import (
    Rest,
    are_both_ends_real,
    cost,
    is_off,
    is_slot_worse,
    matters,
    now,
    rest_of,
    state_of,
    wires,
    with_told_limits,
)
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count
from topoprobe.records.base import Verdict
from topoprobe.records.machine import (
    AnyNode,
    Capability,
    Gpu,
    Link,
    LinkKind,
    Nic,
    Nvme,
    PcieSwitch,
)
from topoprobe.units import format_rate

NAME = "link-width"
_NVIDIA = "10de"


def judge(machine: Machine) -> Iterator[Verdict]:
    """Compare each link's lanes with the lesser of both ends, and a card with its slot."""
    yield from _untold(machine)
    told = with_told_limits(machine)
    for link in wires(machine):
        lanes, possible = _lanes(now(link)), _lanes(link.nominal)
        slot, own = _lanes(link.a_capability), _lanes(link.b_capability)
        if lanes is not None and possible is not None and lanes < possible:
            is_known = None not in (slot, own) or link.b in told
            yield _narrowed(machine, link, lanes, possible, is_known=is_known)
        elif slot is not None and own is not None and slot < own and is_slot_worse(machine, link):
            loss = cost(link.nominal, link.b_capability) or f"costs {_percent(slot, own)}"
            evidence = f"Is an x{own} card in an x{slot} slot, which {loss}."
            yield warn(NAME, link.id, evidence, _wider(machine, link, own))
        elif lanes is not None and slot is not None and own is not None:
            yield ok(NAME, link.id, f"Uses x{lanes} of x{own}, in an x{slot} slot.")


CHECK = Check(NAME, "links use all lanes that both ends have", judge)


def _narrowed(
    machine: Machine, link: Link, lanes: int, possible: int, *, is_known: bool
) -> Verdict:
    loss = f"which costs {_percent(lanes, possible)} of its host bandwidth"
    if not is_known or not are_both_ends_real(machine):
        return warn(
            NAME,
            link.id,
            f"Runs x{lanes} of its own x{possible}, {loss}; what the slot can is not told.",
            "Find out how the slot is wired: in a cloud, ask for an instance with full-width "
            f"GPUs; on your own machine, reseat it or check its riser{_gain(link, possible)}.",
        )
    if is_off(machine, link):
        state = state_of(machine, link)
        return ok(NAME, link.id, f"Runs x{lanes} of x{possible}, asleep ({state}): judge it awake.")
    if rest_of(machine, link) is not Rest.AWAKE and _rests_lanes(machine.node(link.b), link):
        return warn(
            NAME,
            link.id,
            f"Runs x{lanes} of x{possible}, as such a GPU may at rest; this cannot be judged.",
            "Read it again under load: it is a fault only if it stays so.",
        )
    return (fail if matters(machine, link) else warn)(
        NAME,
        link.id,
        f"Runs x{lanes} of x{possible}, {loss}.",
        "Reseat it, check its riser or cable, and look at the slot's bifurcation in the BIOS"
        f"{_gain(link, possible)}.",
    )


def _rests_lanes(device: AnyNode, link: Link) -> bool:
    """Tell whether a GPU may have given up lanes to save power.

    At rest NVIDIA's lower the rate alone; those of others may lower both together.
    """
    if not isinstance(device, Gpu):
        return False
    speed = link.current.transfers_per_s if link.current else None
    nominal = link.nominal.transfers_per_s if link.nominal else None
    return device.pci_vendor != _NVIDIA and None not in (speed, nominal) and speed != nominal


def _wider(machine: Machine, link: Link, own: int) -> str:
    if isinstance(machine.node(link.a), PcieSwitch):
        return f"Move it to an x{own} slot of the CPU: ports of a chip set or switch are narrower."
    return (
        f"Move it to an x{own} slot; if this one is divided among several cards (bifurcation in "
        "the BIOS), leave it to this one."
    )


def _untold(machine: Machine) -> Iterator[Verdict]:
    """Say where neither width nor speed could be read because that takes root."""
    silent = {link.id: link.b for link in machine.document.links if _tells_nothing(link)}
    reasons = [
        m.reason
        for m in machine.document.unknown
        if m.fact == "nominal" and m.subject in silent and "as root" in m.reason
        and isinstance(machine.node(silent[m.subject]), Gpu | Nic | Nvme)
    ]  # fmt: skip
    if reasons:
        yield warn(
            NAME,
            "host",
            f"Neither width nor speed of {count(len(reasons), 'link')} could be judged: "
            f"{reasons[0]}",
            "Record it again with `sudo lspci -vvv`.",
        )


def _tells_nothing(link: Link) -> bool:
    told = (link.a_capability, link.b_capability, link.nominal, link.current)
    return link.kind is LinkKind.PCIE and told == (None,) * 4


def _gain(link: Link, possible: int) -> str:
    after = link.nominal.bandwidth_bytes_per_s if link.nominal else None
    lanes = _lanes(link.current)
    if after is None or lanes is None:
        return ""
    before = after * lanes / possible
    return f"; that takes it from {format_rate(before)} to {format_rate(after)} each way"


def _percent(lanes: int, possible: int) -> str:
    return f"{100 * (1 - lanes / possible):.0f} %"


def _lanes(what: Capability | None) -> int | None:
    return what.num_lanes if what else None
