"""Fair rates of flows that share arbiters: fill what is tightest, hold it, and go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from topoprobe.model.fabric.arbiter import TIE_RATIO, Arbiter, Flow
from topoprobe.model.fabric.bargain import bargain, unsettled
from topoprobe.model.fabric.circles import circles
from topoprobe.model.fabric.crowd import crowd
from topoprobe.model.fabric.demand import Allocation
from topoprobe.model.fabric.equilibrium import unheld

NUM_CROWD = 500  # flows that are faster in arrays
LATER_RATIO = 1.0 - 1e-9  # runs out earlier by more than rounding


def fill(flows: Sequence[Flow], arbiters: Sequence[Arbiter]) -> Mapping[Flow, Allocation]:
    """Give each flow its fair rate.

    Progressive filling [bertsekas1992] with laws of its own at each resource. An arbiter offers
    its flows what their turns give them as long as nobody leaves any unused. If none of its flows
    has a lower offer or limit elsewhere, all take it and are held at it, and what others get
    grows. Where arbiters wait for each other in a circle, the flows there bargain. In the end
    those bargain for whom that was not fair yet: a port that passes turns on to larger transactions
    takes more of the resource, and who was held before has too much now. Very many flows start
    from where a `crowd` of them settles.

    Parameters
    ----------
    flows : sequence of Flow
        With their limits.
    arbiters : sequence of Arbiter
        All that some of them share and that can run out, and no flow but these.

    Returns
    -------
    mapping of Flow to Allocation

    Raises
    ------
    ModelError
        If the flows do not come to agree.
    """
    known = {arbiter.id: arbiter for arbiter in arbiters}
    known = {arbiter.id: arbiter for arbiter in arbiters if not _is_implied(arbiter, known)}
    arbiters = list(known.values())
    ways = {flow: [known[name] for name in flow.takes if name in known] for flow in flows}
    if len(flows) >= NUM_CROWD:
        return _mend(ways, arbiters, crowd(ways))
    filling = _Filling(ways)
    filling.offer(arbiters)
    while filling.open:
        filling.offer(filling.hold())
    return _mend(ways, arbiters, filling.allocations)


def _is_implied(arbiter: Arbiter, known: Mapping[str, Arbiter]) -> bool:
    """Whether another arbiter has all the flows of this one and runs out no later.

    Of two that run out together the one that flows cross first stays.
    """
    flow = next(iter(arbiter.flows))
    is_later = False
    for name in flow.takes:
        other = known.get(name)
        if other is arbiter:
            is_later = True
        elif other is not None and len(other.flows) >= len(arbiter.flows):
            ratio = arbiter.capacity_per_s / other.capacity_per_s
            if is_later:
                ratio *= LATER_RATIO
            there = other.flows
            for each, takes in arbiter.flows.items():
                if each not in there or takes > ratio * there[each]:
                    break
            else:
                return True
    return False


def _mend(
    ways: Mapping[Flow, Sequence[Arbiter]],
    arbiters: Sequence[Arbiter],
    allocations: Mapping[Flow, Allocation],
) -> Mapping[Flow, Allocation]:
    """Let flows bargain that could have more or have too much, and all that they meet."""
    rates = {flow: allocation.rate_bytes_per_s for flow, allocation in allocations.items()}
    again: dict[Flow, Sequence[Arbiter]] = {}
    while wrong := unheld(arbiters, rates):
        num_before = len(again)
        near = (each for flow in wrong for arbiter in ways[flow] for each in arbiter.flows)
        again |= {flow: ways[flow] for flow in near}
        if len(again) == num_before:
            raise unsettled(wrong)
        alone = {flow: flow.alone for flow in again}
        agreed = bargain(again, alone, allocations)
        rates |= {flow: allocation.rate_bytes_per_s for flow, allocation in agreed.items()}
        allocations = {**allocations, **agreed}
    return allocations


class _Filling:
    """Which flows are held, and what the arbiters offer the others."""

    def __init__(self, ways: dict[Flow, list[Arbiter]]) -> None:
        self.open = dict(ways)
        self.allocations: dict[Flow, Allocation] = {}
        self.held: dict[Flow, float] = {}
        self.offers: dict[Arbiter, dict[Flow, float]] = {}
        self.best = {flow: flow.limit_bytes_per_s for flow in ways}
        self.touched = dict.fromkeys(ways)

    def offer(self, arbiters: Iterable[Arbiter]) -> None:
        """Let arbiters make their offers anew."""
        for arbiter in arbiters:
            self.offers[arbiter] = offers = arbiter.offers(self.held)
            self.touched |= dict.fromkeys(offers)
        for flow in self.touched:
            found = [self.offers[arbiter][flow] for arbiter in self.open[flow]]
            self.best[flow] = min([flow.limit_bytes_per_s, *found])

    def hold(self) -> list[Arbiter]:
        """Hold the flows of the arbiters that are tightest for all of theirs, and limited ones.

        Returns
        -------
        list of Arbiter
            Those that have to make their offers anew.
        """
        settled = self._tightest() or self._agreed()
        self.touched = {}
        stale: dict[Arbiter, None] = {}
        for flow, allocation in settled.items():
            self.held[flow] = allocation.rate_bytes_per_s
            stale |= dict.fromkeys(self.open.pop(flow))
        self.allocations |= settled
        return list(stale)

    def _tightest(self) -> dict[Flow, Allocation]:
        near = dict.fromkeys(each for flow in self.touched for each in self.open[flow])
        tightest = dict.fromkeys(arbiter for arbiter in near if self._is_tightest(arbiter))
        settled: dict[Flow, Allocation] = {}
        for arbiter in tightest:
            for flow in self.offers[arbiter]:
                if flow not in settled:
                    first = next(each.id for each in self.open[flow] if each in tightest)
                    settled[flow] = Allocation(self.best[flow], first)
        for flow in self.touched:
            if flow.limit_bytes_per_s <= self.best[flow]:
                settled[flow] = flow.alone
        return settled

    def _agreed(self) -> dict[Flow, Allocation]:
        """Let the flows of each circle of arbiters that wait for each other bargain."""
        waits: dict[Arbiter, dict[Arbiter, None]] = {}
        for flow, at in self.open.items():
            enough = self.best[flow] * (1.0 + TIE_RATIO)
            tight = dict.fromkeys(each for each in at if self.offers[each][flow] <= enough)
            for arbiter in at:
                mine = waits.setdefault(arbiter, {})
                if arbiter not in tight:
                    mine |= tight
        settled: dict[Flow, Allocation] = {}
        for circle in circles(waits):
            flows = dict.fromkeys(flow for arbiter in circle for flow in self.offers[arbiter])
            inside = {flow: [each for each in self.open[flow] if each in circle] for flow in flows}
            outside = {flow: self._outside(flow, circle) for flow in flows}
            settled |= bargain(inside, outside, self.allocations)
        return settled

    def _outside(self, flow: Flow, circle: Sequence[Arbiter]) -> Allocation:
        """Find what a flow could have if all in a circle gave it what it wants."""
        most = flow.alone
        for arbiter in self.open[flow]:
            if arbiter not in circle and self.offers[arbiter][flow] < most.rate_bytes_per_s:
                most = Allocation(self.offers[arbiter][flow], arbiter.id)
        return most

    def _is_tightest(self, arbiter: Arbiter) -> bool:
        best = self.best
        slack = 1.0 + TIE_RATIO
        return all(offer <= best[flow] * slack for flow, offer in self.offers[arbiter].items())
