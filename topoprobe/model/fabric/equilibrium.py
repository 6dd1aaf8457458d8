"""Whether rates are fair: nothing beyond its capacity, and nobody held back without a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from topoprobe.model.fabric.arbiter import Arbiter, Flow, Port
from topoprobe.model.fabric.demand import Demand
from topoprobe.model.fabric.resource import Resource


def breaches(
    resources: Iterable[Resource],
    demands: Iterable[Demand],
    rates_bytes_per_s: Mapping[str, float],
    tolerance_ratio: float = 1e-9,
) -> list[str]:
    """List what is unfair about rates.

    Rates are in equilibrium if no resource gives more than it has, and each flow has its cap or a
    *bottleneck*: a resource that is used up, where the port that the flow came through has as many
    turns as any other, and within that port the one behind it, up to the flow. So it could have
    more only from somebody who has no more turns than itself [bertsekas1992].

    Parameters
    ----------
    resources : iterable of Resource
        All that the flows cross.
    demands : iterable of Demand
        The flows.
    rates_bytes_per_s : mapping of str to float
        Of each of them.
    tolerance_ratio : float
        How far rounding may carry a number.

    Returns
    -------
    list of str
        One sentence for each breach.
    """
    known = {resource.id: resource for resource in resources}
    arbiters = {name: Arbiter(resource) for name, resource in known.items()}
    flows = {Flow(demand, known): rates_bytes_per_s[demand.id] for demand in demands}
    for flow in flows:
        for name in flow.takes:
            arbiters[name].add(flow)
    for flow in flows:
        alone = [arbiters[name].capacity_per_s / takes for name, takes in flow.takes.items()]
        flow.limit_bytes_per_s = min([flow.cap_bytes_per_s, *alone])
    rates = flows
    found = [
        f"{flow.demand.id} has {rate:g}, and could have at most {flow.limit_bytes_per_s:g}."
        for flow, rate in rates.items()
        if rate > flow.limit_bytes_per_s * (1.0 + tolerance_ratio)
    ]
    for name, arbiter in arbiters.items():
        used = _used(arbiter, rates)
        if used > arbiter.capacity_per_s * (1.0 + tolerance_ratio):
            found.append(f"{name} gives {used:g} of {arbiter.capacity_per_s:g}.")
    free = unheld(list(arbiters.values()), rates, tolerance_ratio)
    return found + [
        f"{each.demand.id} has {rates[each]:g}; nothing holds it back." for each in free
    ]


def unheld(
    arbiters: Sequence[Arbiter],
    rates_bytes_per_s: Mapping[Flow, float],
    tolerance_ratio: float = 1e-9,
) -> list[Flow]:
    """List flows that could have more, by the rules of `breaches`.

    Parameters
    ----------
    arbiters : sequence of Arbiter
        All that can run out.
    rates_bytes_per_s : mapping of Flow to float
        Of all flows that wait at them.
    tolerance_ratio : float
        How far rounding may carry a number.

    Returns
    -------
    list of Flow
        Those without a bottleneck, and all at a resource that gives more than it has.
    """
    more = 1.0 + tolerance_ratio
    rates = rates_bytes_per_s
    held = {flow for flow, rate in rates.items() if rate * more >= flow.limit_bytes_per_s}
    over: set[Flow] = set()
    for arbiter in arbiters:
        used = _used(arbiter, rates)
        if used > arbiter.capacity_per_s * more:
            over.update(arbiter.flows)
        elif used * more >= arbiter.capacity_per_s:
            held.update(_firsts(arbiter.root, rates, more))
    return [flow for flow in rates if flow not in held or flow in over]


def _used(arbiter: Arbiter, rates: Mapping[Flow, float]) -> float:
    return sum(takes * rates[flow] for flow, takes in arbiter.flows.items())


def _firsts(port: Port, rates: Mapping[Flow, float], more: float) -> Iterator[Flow]:
    """Flows that have as many turns as any other, at each port on their way."""
    law = port.law
    had: dict[Flow | Port, float] = {flow: flow.turns[law] * rates[flow] for flow in port.flows}
    for behind in port.ports:
        had[behind] = sum(flow.turns[law] * rates[flow] for flow in behind.behind)
    most = max(had.values())
    for child, mine in had.items():
        if mine * more >= most:
            if isinstance(child, Flow):
                yield child
            else:
                yield from _firsts(child, rates, more)
