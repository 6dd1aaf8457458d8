"""Facts that cannot be true as told: each is reported, and what it would poison is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from topoprobe.machine.addresses import format_cpu_list
from topoprobe.machine.devices import Kind, kind_of
from topoprobe.machine.facts import Facts, PciFact
from topoprobe.machine.pcie import describe
from topoprobe.records.base import Missing
from topoprobe.records.machine import Capability, Contradiction, Link, NicPort
from topoprobe.units import format_bytes, format_rate

# A switch chip is of one generation. An uplink this many times slower per lane than a link below
# it, in a recording that took the lesser of both ends, is an emulated switch or a wrong reading.
_UPLINK_RATIO = 4.0
# The nodes' totals leave out what the kernel itself reserved at boot, a percent or two.
_MEMORY_RATIO = 0.05
# Fastest network port that is believed without its PCIe link to compare with: 3.2 Tb/s.
_MAX_PORT_BITS_PER_S = 3.2e12

# The upstream and downstream ports of TI's XIO3130, which QEMU emulates, and their link.
_QEMU_SWITCHES = {("104c", "8232"), ("104c", "8233")}
_SLOWEST = (2.5e9, 1)


class Complaint(NamedTuple):
    """Readings that cannot be, and what they probably mean."""

    readings: tuple[str, ...]
    meaning: str


def doubtful_places(facts: Facts) -> Facts:
    """Withdraw the NUMA node of functions whose own list of near CPUs says something else.

    Such firmware often tells the node of one device and nothing of its neighbours.
    """
    cpus_of = {numa.os_index: set(numa.cpus) for numa in facts.numas}
    functions: list[PciFact] = []
    contradictions: list[Contradiction] = []
    unknown: list[Missing] = []
    for function in facts.functions:
        expected = cpus_of.get(function.numa_index) if function.numa_index is not None else None
        if not expected or not function.cpus or set(function.cpus) <= expected:
            functions.append(function)
            continue
        functions.append(msgspec.structs.replace(function, numa_index=None))
        contradictions.append(
            Contradiction(
                subject=function.address,
                fact="numa_index",
                readings=(
                    f"NUMA node {function.numa_index}",
                    f"near CPUs {format_cpu_list(function.cpus)}",
                ),
                meaning="The CPUs are not those of the node; neither is believed.",
            )
        )
        reason = "The node and the CPUs that are told do not match."
        unknown.append(Missing(subject=function.address, fact="numa_index", reason=reason))
    return msgspec.structs.replace(
        facts,
        functions=tuple(functions),
        contradictions=(*facts.contradictions, *contradictions),
        unknown=(*facts.unknown, *unknown),
    )


def doubtful_memory(facts: Facts) -> Facts:
    """Compare the machine's memory with the sum over its NUMA nodes, and report a difference.

    Memory that a hypervisor added after boot can be missing from the node's own count. A single
    node holds all memory there is; of several nobody can tell which one is short.
    """
    total = facts.host.memory_bytes if facts.host is not None else None
    sizes = [numa.memory_bytes for numa in facts.numas]
    if not total or None in sizes or not sizes:
        return facts
    told = sum(size or 0 for size in sizes)
    if abs(told / total - 1) <= _MEMORY_RATIO:
        return facts
    is_single = len(facts.numas) == 1
    use = "the whole is used" if is_single else "the nodes' sizes are doubtful"
    return msgspec.structs.replace(
        facts,
        numas=(msgspec.structs.replace(facts.numas[0], memory_bytes=total),)
        if is_single
        else facts.numas,
        contradictions=(
            *facts.contradictions,
            Contradiction(
                subject="host",
                fact="memory_bytes",
                readings=(
                    f"{format_bytes(total)} in the whole machine",
                    f"{format_bytes(told)} in its NUMA nodes",
                ),
                meaning=f"Memory added after boot is not in the nodes' count; {use}.",
            ),
        ),
    )


def emulated_switches(facts: Facts) -> Facts:
    """Withdraw the links of switches that QEMU emulates above GPUs.

    It copies a real switch of Gen1 x1, which a guest's software believes. A figure that somebody
    set in the hypervisor is kept.
    """
    functions = {f.address: f for f in facts.functions}
    above_gpus: set[str] = set()
    for function in facts.functions:
        if kind_of(function, has_storage=False) is Kind.GPU:
            place = functions.get(function.parent or "")
            while place is not None and place.address not in above_gpus:
                above_gpus.add(place.address)
                place = functions.get(place.parent or "")
    emulated = [a for a in functions if a in above_gpus and _is_emulated(functions[a])]
    if not emulated:
        return facts
    reason = "QEMU makes up the link of the switch that it emulates."
    for address in emulated:
        functions[address] = msgspec.structs.replace(
            functions[address], nominal=None, maximum=None, current=None
        )
    return msgspec.structs.replace(
        facts,
        functions=tuple(functions.values()),
        contradictions=(
            *facts.contradictions,
            *(
                Contradiction(
                    subject=address,
                    fact="maximum",
                    readings=("Gen1 x1", "a GPU below it"),
                    meaning="The switch is emulated and its link made up; the figures are not "
                    "used.",
                )
                for address in emulated
            ),
        ),
        unknown=(
            *facts.unknown,
            *(Missing(subject=a, fact="nominal", reason=reason) for a in emulated),
        ),
    )


def doubtful_uplinks(
    links: Sequence[Link],
) -> tuple[list[Link], list[Contradiction], list[Missing]]:
    """Withdraw the nominal capability of uplinks far slower than what hangs below them.

    Only links whose ends were not read themselves are doubted: where both ports tell their
    capability, a slow uplink is a fact.
    """
    fastest: dict[str, Link] = {}
    for link in links:
        if _rate(link) > (_rate(fastest[link.a]) if link.a in fastest else 0.0):
            fastest[link.a] = link
    kept: list[Link] = []
    contradictions: list[Contradiction] = []
    unknown: list[Missing] = []
    for link in links:
        below = fastest.get(link.b)
        is_read = link.a_capability is not None or link.b_capability is not None
        if is_read or below is None or not 0 < _rate(link) * _UPLINK_RATIO <= _rate(below):
            kept.append(link)
            continue
        kept.append(msgspec.structs.replace(link, nominal=None))
        contradictions.append(
            Contradiction(
                subject=link.id,
                fact="nominal",
                readings=(
                    f"above {link.b}: {describe(link.nominal)}",
                    f"below it: {describe(below.nominal)}",
                ),
                meaning="No switch is this lopsided: the uplink's speed is an emulated or wrong "
                "reading and is not used.",
            )
        )
        unknown.append(
            Missing(
                subject=link.id,
                fact="nominal",
                reason=f"The recorded {describe(link.nominal)} cannot be true.",
            )
        )
    return kept, contradictions, unknown


def odd_current_readings(
    links: Sequence[Link], functions: Mapping[str, PciFact]
) -> list[Contradiction]:
    """Report links whose two ends tell different current bandwidths."""
    found = []
    for link in links:
        port = functions.get(link.a_port or "")
        if port is None or port.current is None or link.current is None:
            continue
        above, below = port.current.bandwidth_bytes_per_s, link.current.bandwidth_bytes_per_s
        if above is None or below is None or abs(above / below - 1) < 0.001:
            continue
        found.append(
            Contradiction(
                subject=link.id,
                fact="current",
                readings=(
                    f"upper end {_written(port.current)}",
                    f"lower end {_written(link.current)}",
                ),
                meaning="Both ends of a link run at one speed; one was read at another moment, "
                "while the link rested.",
            )
        )
    return found


def port_rate(
    port: NicPort, link_bytes_per_s: float | None
) -> tuple[float | None, Complaint | None]:
    """Return a network port's rate, and a complaint if it was wrong by a factor of 1000.

    Parameters
    ----------
    port : NicPort
        As recorded.
    link_bytes_per_s : float or None
        What the function's PCIe link carries.
    """
    rate = port.rate_bits_per_s
    if rate is None:
        return None, None
    limit = _MAX_PORT_BITS_PER_S if link_bytes_per_s is None else 4 * 8 * link_bytes_per_s
    if rate <= limit or rate / 1000 > limit:
        return rate, None
    against = f" on a PCIe link of {format_rate(link_bytes_per_s)}" if link_bytes_per_s else ""
    return rate / 1000, Complaint(
        (f"{rate / 1e9:g} Gb/s{against}", f"{rate / 1e12:g} Gb/s"),
        "The file gives kb/s where Mb/s belong; the lower figure is used.",
    )


def _is_emulated(function: PciFact) -> bool:
    told = [c for c in (function.nominal, function.maximum, function.current) if c is not None]
    is_slowest = all((c.transfers_per_s, c.num_lanes) == _SLOWEST for c in told)
    return (function.vendor, function.device) in _QEMU_SWITCHES and bool(told) and is_slowest


def _rate(link: Link) -> float:
    return (link.nominal.transfers_per_s if link.nominal else None) or 0.0


def _written(capability: Capability) -> str:
    rate = format_rate(capability.bandwidth_bytes_per_s or 0.0)
    return f"{describe(capability)} {rate}".strip()
