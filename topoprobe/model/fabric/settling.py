"""Fair rates of flows that share arbiters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from topoprobe.errors import ModelError
from topoprobe.model.fabric.arbiter import Arbiter, Flow
from topoprobe.model.fabric.demand import Allocation
from topoprobe.model.fabric.equilibrium import unheld
from topoprobe.model.fabric.filling import Filling
from topoprobe.model.fabric.iteration import Iteration

NUM_CROWD = 500  # flows that are settled faster in arrays
LATER_RATIO = 1.0 - 1e-9  # runs out earlier by more than rounding


def settle(ways: Mapping[Flow, Sequence[Arbiter]]) -> dict[Flow, Allocation]:
    """Give each flow its fair rate.

    By progressive filling as far as that goes, and by policy iteration for those who are left.
    Where that has no end, and where very many depend on each other, they bargain as a `crowd`.

    Parameters
    ----------
    ways : mapping of Flow to sequence of Arbiter
        What can run out on the way of each flow, in order; all flows there are among these.

    Returns
    -------
    dict of Flow to Allocation

    Raises
    ------
    ModelError
        If none are found.
    """
    ways = _without_implied(ways)
    if len(ways) < NUM_CROWD:
        return _filled(ways)
    found: dict[Flow, Allocation] = {}
    for flow in ways:
        if flow not in found:
            joined = _joined(flow, ways)
            found |= _filled(joined) if len(joined) < NUM_CROWD else _crowded(joined)
    return found


def _filled(ways: Mapping[Flow, Sequence[Arbiter]]) -> dict[Flow, Allocation]:
    """Fill flows, and iterate for those who are left, with what the others have.

    Beside what is found then the others can only have too much where flows came through ports: if
    so, all that depend on them are iterated.
    """
    filling = Filling(ways)
    rates, held = filling.rates, filling.held
    found = {
        flow: Allocation(rate, flow.limit_by if (at := held[flow]) is None else at.id)
        for flow, rate in rates.items()
    }
    if filling.waiting:
        left = {flow: ways[flow] for flow in filling.waiting}
        for flow in left:
            if flow not in found:
                joined = _joined(flow, left)
                settled = Iteration(joined, rates).settle(filling.guess(joined))
                found |= settled or _crowded(_joined(flow, ways))
        rates = {flow: each.rate_bytes_per_s for flow, each in found.items()}
    if any(arbiter.root.ports for arbiter in filling.arbiters):
        again: dict[Flow, Allocation] = {}
        for flow in unheld(filling.arbiters, rates):
            if flow not in again:
                joined = _joined(flow, ways)
                again |= Iteration(joined, {}).settle(held) or _crowded(joined)
        found |= again
    return found


def _crowded(ways: Mapping[Flow, Sequence[Arbiter]]) -> dict[Flow, Allocation]:
    """Let flows bargain as a crowd."""
    from topoprobe.model.fabric.crowd import settling as crowd  # takes a while to load

    found = crowd.settle(ways)
    if found is None:
        names = ", ".join(sorted(flow.demand.id for flow in ways)[:4])
        raise ModelError(
            f"No fair rates were found for {len(ways)} flows that wait for each other ({names}, "
            "...); expected some, whatever they are. Fewer flows, or caps, may help."
        )
    return found


def _joined(flow: Flow, ways: Mapping[Flow, Sequence[Arbiter]]) -> dict[Flow, Sequence[Arbiter]]:
    """Find all with whom a flow shares arbiters, step by step."""
    found: dict[Flow, Sequence[Arbiter]] = {}
    seen: set[Arbiter] = set()
    queue = [flow]
    while queue:
        flow = queue.pop()
        if flow not in found and flow in ways:
            found[flow] = ways[flow]
            for arbiter in ways[flow]:
                if arbiter not in seen:
                    seen.add(arbiter)
                    queue += arbiter.flows
    return found


def _without_implied(
    ways: Mapping[Flow, Sequence[Arbiter]],
) -> Mapping[Flow, Sequence[Arbiter]]:
    """Leave out arbiters all of whose flows cross another one that runs out no later."""
    arbiters = dict.fromkeys(chain.from_iterable(ways.values()))
    needed = {each for each in arbiters if not _is_implied(each, ways[next(iter(each.flows))])}
    return {flow: [each for each in at if each in needed] for flow, at in ways.items()}


def _is_implied(arbiter: Arbiter, way: Sequence[Arbiter]) -> bool:
    """Whether another arbiter on a flow's way has all the flows of this one and runs out no later.

    Of two that run out together the one that flows cross first stays.
    """
    flows = arbiter.flows
    is_later = False
    for other in way:
        if other is arbiter:
            is_later = True
        elif flows.keys() <= other.flows.keys():
            ratio = arbiter.capacity_per_s / other.capacity_per_s
            if is_later:
                ratio *= LATER_RATIO
            there = other.flows
            for each, takes in flows.items():
                if takes > ratio * there[each]:
                    break
            else:
                return True
    return False
