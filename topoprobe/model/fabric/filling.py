"""Fair rates of flows that share arbiters: fill what is tightest, hold it, and go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from topoprobe.model.fabric.arbiter import TIE_RATIO, Arbiter, Flow
from topoprobe.model.fabric.bargain import bargain
from topoprobe.model.fabric.demand import Allocation
from topoprobe.model.fabric.equilibrium import unfair


def fill(flows: Sequence[Flow], arbiters: Sequence[Arbiter]) -> dict[Flow, Allocation]:
    """Give each flow its fair rate.

    Progressive filling [bertsekas1992] with laws of its own at each resource. An arbiter offers
    its flows what their turns give them as long as nobody leaves any unused. If none of its flows
    has a lower offer or limit elsewhere, all take it and are held at it, and what others get
    grows. Flows bargain where that is not enough: several arbiters wait for each other, or a
    port passed turns on to larger transactions, so that it takes more of the resource and who was
    held before has too much now.

    Parameters
    ----------
    flows : sequence of Flow
        With their limits.
    arbiters : sequence of Arbiter
        All that some of them share and that can run out, and no flow but these.

    Returns
    -------
    dict of Flow to Allocation

    Raises
    ------
    ModelError
        If flows whose arbiters wait for each other do not settle.
    """
    filling = _Filling(flows, arbiters)
    while filling.open and filling.step():
        pass
    if filling.open or unfair(arbiters, filling.held):
        return bargain(flows, arbiters)
    return filling.allocations


class _Filling:
    """Which flows are held, and what the arbiters offer the others."""

    def __init__(self, flows: Sequence[Flow], arbiters: Sequence[Arbiter]) -> None:
        self.allocations: dict[Flow, Allocation] = {}
        self.held: dict[Flow, float] = {}
        known = {arbiter.resource.id: arbiter for arbiter in arbiters}
        self.open: dict[Flow, list[Arbiter]] = {
            flow: [known[name] for name in flow.takes if name in known] for flow in flows
        }
        self.offers: dict[Arbiter, dict[Flow, float]] = {}
        self.best: dict[Flow, float] = {}
        self.stale: Iterable[Arbiter] = arbiters

    def step(self) -> bool:
        """Hold the flows of all arbiters that are tightest for all of theirs, and capped flows."""
        for arbiter in self.stale:
            self.offers[arbiter] = arbiter.offers(self.held)
        touched = dict.fromkeys(flow for arbiter in self.stale for flow in self.offers[arbiter])
        if not self.best:
            touched = dict.fromkeys(self.open)
        for flow in touched:
            found = [self.offers[arbiter][flow] for arbiter in self.open[flow]]
            self.best[flow] = min([flow.limit_bytes_per_s, *found])
        near = dict.fromkeys(each for flow in touched for each in self.open[flow])
        tightest = {arbiter for arbiter in near if self._is_tightest(arbiter)}
        settled: dict[Flow, str | None] = {
            flow: next(each.resource.id for each in self.open[flow] if each in tightest)
            for arbiter in near
            if arbiter in tightest
            for flow in self.offers[arbiter]
        }
        for flow in touched:
            if flow.limit_bytes_per_s <= self.best[flow]:
                settled[flow] = flow.limit_by
        return self._hold(settled)

    def _is_tightest(self, arbiter: Arbiter) -> bool:
        best = self.best
        slack = 1.0 + TIE_RATIO
        return all(offer <= best[flow] * slack for flow, offer in self.offers[arbiter].items())

    def _hold(self, settled: dict[Flow, str | None]) -> bool:
        stale: dict[Arbiter, None] = {}
        for flow, limiter in settled.items():
            self.held[flow] = self.best[flow]
            self.allocations[flow] = Allocation(self.best[flow], limiter)
            stale |= dict.fromkeys(self.open.pop(flow))
        self.stale = stale
        return bool(settled)
