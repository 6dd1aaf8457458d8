"""Fair rates of flows whose arbiters wait for each other: offers and wants until they agree."""

from __future__ import annotations

from collections.abc import Sequence

from topoprobe.errors import ModelError
from topoprobe.model.fabric.arbiter import Arbiter, Flow
from topoprobe.model.fabric.demand import Allocation
from topoprobe.model.fabric.equilibrium import unfair

AGREED_RATIO = 1e-12
MAX_SWEEPS = 2000


def bargain(flows: Sequence[Flow], arbiters: Sequence[Arbiter]) -> dict[Flow, Allocation]:
    """Give each flow its fair rate by bargaining.

    Each arbiter divides what it has among what its flows want; each flow wants of an arbiter the
    least that it is offered elsewhere, and goes half-way there from what it wanted last. When
    nobody changes, the rates are fair. All move at once, so that the order of flows plays no role.

    Parameters
    ----------
    flows : sequence of Flow
        With their limits.
    arbiters : sequence of Arbiter
        As `fill` has them.

    Returns
    -------
    dict of Flow to Allocation

    Raises
    ------
    ModelError
        If they do not come to agree.
    """
    known = {arbiter.resource.id: arbiter for arbiter in arbiters}
    at = {flow: [known[name] for name in flow.takes if name in known] for flow in flows}
    wants = {
        arbiter: {flow: flow.limit_bytes_per_s for flow in arbiter.flows} for arbiter in arbiters
    }
    for _ in range(MAX_SWEEPS):
        offers = {arbiter: arbiter.answers(wants[arbiter]) for arbiter in arbiters}
        change = 0.0
        for flow in flows:
            for arbiter in at[flow]:
                told = [offers[each][flow] for each in at[flow] if each is not arbiter]
                last = wants[arbiter][flow]
                new = (min([flow.limit_bytes_per_s, *told]) + last) / 2.0
                change = max(change, abs(new - last) / new)
                wants[arbiter][flow] = new
        if change <= AGREED_RATIO:
            break
    allocations = {flow: _allocation(flow, at[flow], offers) for flow in flows}
    rates = {flow: allocation.rate_bytes_per_s for flow, allocation in allocations.items()}
    if unfair(arbiters, rates):
        names = ", ".join(sorted(flow.demand.id for flow in flows)[:4])
        raise ModelError(
            f"The rates of {len(flows)} flows ({names}…) do not settle; they cross the same "
            "resources in orders whose shares contradict each other."
        )
    return allocations


def _allocation(
    flow: Flow, at: Sequence[Arbiter], offers: dict[Arbiter, dict[Flow, float]]
) -> Allocation:
    tightest = min(at, key=lambda arbiter: offers[arbiter][flow], default=None)
    if tightest is not None and offers[tightest][flow] < flow.limit_bytes_per_s:
        return Allocation(offers[tightest][flow], tightest.resource.id)
    return Allocation(flow.limit_bytes_per_s, flow.limit_by)
