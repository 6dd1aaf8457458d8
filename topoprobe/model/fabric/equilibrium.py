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
    flows = {Flow(demand): rates_bytes_per_s[demand.id] for demand in demands}
    for flow in flows:
        for name in flow.takes:
            arbiters[name].add(flow, known)
    for flow in flows:
        alone = [arbiters[name].capacity_per_s / takes for name, takes in flow.takes.items()]
        flow.limit_bytes_per_s = min([flow.cap_bytes_per_s, *alone])
    return unfair(list(arbiters.values()), flows, tolerance_ratio)


def unfair(
    arbiters: Sequence[Arbiter],
    rates_bytes_per_s: Mapping[Flow, float],
    tolerance_ratio: float = 1e-9,
) -> list[str]:
    """List what is unfair about the rates of flows that wait at arbiters and know their limits.

    Parameters
    ----------
    arbiters : sequence of Arbiter
        All that can run out.
    rates_bytes_per_s : mapping of Flow to float
        Of all that wait at them.
    tolerance_ratio : float
        How far rounding may carry a number.

    Returns
    -------
    list of str
        One sentence for each breach, as `breaches` has it.
    """
    more = 1.0 + tolerance_ratio
    rates = rates_bytes_per_s
    found = []
    held = {flow for flow, rate in rates.items() if rate * more >= flow.limit_bytes_per_s}
    for arbiter in arbiters:
        used = sum(takes * rates[flow] for flow, takes in arbiter.flows.items())
        if used > arbiter.capacity_per_s * more:
            found.append(f"{arbiter.resource.id} gives {used:g} of {arbiter.capacity_per_s:g}.")
        if used * more >= arbiter.capacity_per_s:
            held.update(_firsts(arbiter.root, rates, more))
    for flow, rate in rates.items():
        if rate > flow.limit_bytes_per_s * more:
            found.append(f"{flow.demand.id} has {rate:g}, more than it could have alone.")
        if flow not in held:
            found.append(f"{flow.demand.id} has {rate:g} and nothing holds it back.")
    return found


def _firsts(port: Port, rates: Mapping[Flow, float], more: float) -> Iterator[Flow]:
    """Flows that have as many turns as any other, at each port on their way."""
    turns = port.turns
    had = {
        child: turns[child] * rates[child]
        if isinstance(child, Flow)
        else sum(turns[flow] * rates[flow] for flow in child.turns)
        for child in port.children.values()
    }
    most = max(had.values())
    for child, mine in had.items():
        if mine * more >= most:
            if isinstance(child, Flow):
                yield child
            else:
                yield from _firsts(child, rates, more)
