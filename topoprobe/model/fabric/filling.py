"""Progressive filling: flows to whom one arbiter gives less than any other are held there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from topoprobe.model.fabric.arbiter import TIE_RATIO, Arbiter, Flow

# What each arbiter offers its waiting flows.
Offers: TypeAlias = Mapping[Arbiter, Mapping[Flow, float]]

AS_LITTLE = 1.0 + TIE_RATIO
NEARLY_NEAREST = 2.0  # a guess: fewer at once take longer, more are wrong more often


class Filling:
    """The rates of flows, one bottleneck after the other.

    An arbiter offers what its flows get if all take the turns that they have there. A flow that no
    arbiter offers less than its limit has its limit. An arbiter all of whose flows are offered
    nowhere less is their bottleneck [bertsekas1992]. Both get what they are offered, the others
    share what is left, and so on. It ends early where arbiters wait for each other: by other
    weights, each offers less to some of their flows.

    Where each flow is a port of its own, an offer never falls when others are held, since they
    take no more than their turns. So what is found is fair. Behind ports it can fall.

    Parameters
    ----------
    ways : mapping of Flow to sequence of Arbiter
        What each flow waits for.

    Attributes
    ----------
    arbiters : list of Arbiter
        All that flows wait for.
    rates : dict of Flow to float
        Of all flows that are held.
    held : dict of Flow to Arbiter or None
        Where each flow is held, or was offered least; None for its limit.
    waiting : dict of Flow to float
        Those that are not held, with their limits.
    """

    def __init__(self, ways: Mapping[Flow, Sequence[Arbiter]]) -> None:
        self.rates: dict[Flow, float] = {}
        self.held: dict[Flow, Arbiter | None] = {}
        self.waiting = {flow: flow.limit_bytes_per_s for flow in ways}
        self._ways = ways
        self.arbiters = list(dict.fromkeys(arbiter for at in ways.values() for arbiter in at))
        self._offers = {arbiter: arbiter.offers({}) for arbiter in self.arbiters}
        while self.waiting:
            least = self._least(self.waiting, self._offers)
            found = self._bottlenecked(least, self._offers)
            if not found:
                break
            self._hold(found, least)

    def guess(self, flows: Collection[Flow]) -> dict[Flow, Arbiter | None]:
        """Say where flows may be held of which arbiters wait for each other.

        The arbiters that come nearest to being a bottleneck hold those to whom they offer least.

        Parameters
        ----------
        flows : collection of Flow
            Some that are waiting, and all with whom they share arbiters.
        """
        arbiters = {arbiter: None for flow in flows for arbiter in self._ways[flow]}
        while waiting := {flow: self.waiting[flow] for flow in flows if flow in self.waiting}:
            offers = {
                arbiter: self._offers[arbiter] for arbiter in arbiters if arbiter in self._offers
            }
            least = self._least(waiting, offers)
            found = self._bottlenecked(least, offers) or self._nearly_bottlenecked(least, offers)
            self._hold(found, least)
        return {flow: self.held[flow] for flow in flows}

    def _hold(self, flows: Iterable[Flow], rates: Mapping[Flow, float]) -> None:
        """Give flows their rates, and what is left to the others."""
        for flow in flows:
            self.rates[flow] = rates[flow]
            self.waiting.pop(flow, None)
        for arbiter in {arbiter: None for flow in flows for arbiter in self._ways[flow]}:
            if arbiter in self._offers:
                self._offers[arbiter] = arbiter.offers(self.rates)

    def _least(self, waiting: dict[Flow, float], offers: Offers) -> dict[Flow, float]:
        """Find the least that each waiting flow is offered, and note where."""
        least = waiting.copy()
        at: dict[Flow, Arbiter | None] = dict.fromkeys(least)
        for arbiter, offered in offers.items():
            for flow, offer in offered.items():
                if offer < least[flow]:
                    least[flow], at[flow] = offer, arbiter
        self.held |= at
        return least

    def _bottlenecked(self, least: Mapping[Flow, float], offers: Offers) -> list[Flow]:
        """List the flows that are held now; a bottleneck has no offer left."""
        held = self.held
        found = [flow for flow in least if held[flow] is None]
        full: list[Arbiter] = []
        for arbiter, offered in offers.items():
            for flow, offer in offered.items():
                if offer > least[flow] * AS_LITTLE:
                    break
            else:
                found += offered
                full.append(arbiter)
        for arbiter in full:
            del self._offers[arbiter]
        return found

    def _nearly_bottlenecked(self, least: Mapping[Flow, float], offers: Offers) -> list[Flow]:
        """List the flows with the least offer at arbiters that offer the others little more."""
        held = self.held
        near = {
            arbiter: max(
                (offer - least[flow]) / flow.limit_bytes_per_s for flow, offer in offered.items()
            )
            for arbiter, offered in offers.items()
            if any(held[flow] is arbiter for flow in offered)
        }
        most = NEARLY_NEAREST * min(near.values())
        nearest = [arbiter for arbiter, value in near.items() if value <= most]
        return [flow for arbiter in nearest for flow in offers[arbiter] if held[flow] is arbiter]
