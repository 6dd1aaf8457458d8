"""Flows that come, move their bytes and go: when each ends, if rates are fair at every moment."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from topoprobe.errors import ModelError
from topoprobe.model.fabric.demand import Allocation, Demand
from topoprobe.model.fabric.fluid import Fluid
from topoprobe.model.fabric.resource import Resource

ENDLESS = float("inf")


@dataclass(frozen=True, slots=True)
class Move:
    """A flow with something to move.

    Attributes
    ----------
    demand : Demand
        How it goes.
    num_bytes : float
        Payload; infinite for a flow that does not end by itself.
    start_s : float
        When it comes.
    """

    demand: Demand
    num_bytes: float = ENDLESS
    start_s: float = 0.0


@dataclass(frozen=True, slots=True)
class End:
    """A flow that has moved all its bytes.

    Attributes
    ----------
    flow_id : str
        Its demand's.
    end_s : float
        When.
    """

    flow_id: str
    end_s: float


class _Running:
    """What a flow had moved at some time, and how fast it has gone on since then."""

    __slots__ = ("moved_bytes", "num_bytes", "order", "rate_bytes_per_s", "since_s", "turn")

    def __init__(self, num_bytes: float, now_s: float, order: int) -> None:
        self.num_bytes = num_bytes
        self.moved_bytes = 0.0
        self.since_s = now_s
        self.rate_bytes_per_s = 0.0
        self.order = order
        self.turn = 0

    def moved_at(self, now_s: float) -> float:
        moved = self.moved_bytes + self.rate_bytes_per_s * (now_s - self.since_s)
        return min(self.num_bytes, moved)


class Timeline:
    """A clock and the flows in flight.

    Time only goes forward, by `advance`; between two ends, starts or other changes each flow keeps
    its rate, and after one only the flows that it can touch are looked at.

    Parameters
    ----------
    resources : iterable of Resource
        All that flows may cross.
    """

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.now_s = 0.0
        self._fluid = Fluid(resources)
        self._running: dict[str, _Running] = {}
        # Foreseen ends; one whose turn is not its flow's is out of date.
        self._ends: list[tuple[float, int, int, str]] = []
        self._orders = itertools.count()

    def start(self, demand: Demand, num_bytes: float = ENDLESS) -> None:
        """Let a flow in now.

        Raises
        ------
        ModelError
            If it has nothing to move, there is one of its id, or it crosses an unknown resource.
        """
        if not num_bytes > 0.0:
            raise ModelError(
                f"Flow {demand.id} has {num_bytes:g} bytes to move; expected more than none."
            )
        self._fluid.add(demand)
        self._running[demand.id] = _Running(num_bytes, self.now_s, next(self._orders))

    def stop(self, flow_id: str) -> float:
        """Take a flow out now.

        Returns
        -------
        float
            The bytes that it has moved.

        Raises
        ------
        ModelError
            If it is not in flight.
        """
        moved = self.moved_bytes(flow_id)
        self._fluid.remove(flow_id)
        del self._running[flow_id]
        return moved

    def set_cap(self, flow_id: str, cap_bytes_per_s: float) -> None:
        """Let a flow go at most this fast from now on.

        Raises
        ------
        ModelError
            If it is not in flight, or the cap is not above zero.
        """
        self._fluid.set_cap(flow_id, cap_bytes_per_s)

    def set_capacity(self, resource_id: str, capacity_per_s: float) -> None:
        """Change what a resource has from now on.

        Raises
        ------
        ModelError
            If there is none of this id, or the capacity is not a finite number above zero.
        """
        self._fluid.set_capacity(resource_id, capacity_per_s)

    def moved_bytes(self, flow_id: str) -> float:
        """Say what a flow in flight has moved until now.

        Raises
        ------
        ModelError
            If it is not in flight.
        """
        self._fluid.require(flow_id)
        return self._running[flow_id].moved_at(self.now_s)

    def allocations(self) -> dict[str, Allocation]:
        """Say what each flow in flight gets now.

        Raises
        ------
        ModelError
            If shares contradict each other.
        """
        self._foresee()
        return self._fluid.allocations()

    def next_end_s(self) -> float | None:
        """Foresee when the next flow ends if nothing else happens; None if none does.

        Raises
        ------
        ModelError
            If shares contradict each other.
        """
        self._foresee()
        return self._ends[0][0] if self._ends else None

    def advance(self, until_s: float = ENDLESS) -> list[End]:
        """Let time pass; without a time, until no flow ends any more.

        Returns
        -------
        list of End
            Those that ended, in order.

        Raises
        ------
        ModelError
            If the time has passed, or shares contradict each other.
        """
        if until_s < self.now_s:
            raise ModelError(f"It is {self.now_s:g} s already; {until_s:g} s has passed.")
        ended: list[End] = []
        next_s = self.next_end_s()
        while next_s is not None and next_s <= until_s:
            self.now_s = next_s
            while next_s == self.now_s:
                _, _, _, flow_id = heapq.heappop(self._ends)
                self._fluid.remove(flow_id)
                del self._running[flow_id]
                ended.append(End(flow_id, self.now_s))
                self._drop_outdated()
                next_s = self._ends[0][0] if self._ends else None
            next_s = self.next_end_s()
        if until_s < ENDLESS:
            self.now_s = until_s
        return ended

    def _foresee(self) -> None:
        """Give the flows that a change has touched their new rates and ends."""
        for flow_id in self._fluid.settle():
            running = self._running[flow_id]
            rate = self._fluid.allocation(flow_id).rate_bytes_per_s
            if rate == running.rate_bytes_per_s:
                continue
            running.moved_bytes = running.moved_at(self.now_s)
            running.since_s = self.now_s
            running.rate_bytes_per_s = rate
            running.turn += 1
            end_s = self.now_s + (running.num_bytes - running.moved_bytes) / rate
            if end_s < ENDLESS:
                heapq.heappush(self._ends, (end_s, running.order, running.turn, flow_id))
        self._drop_outdated()

    def _drop_outdated(self) -> None:
        while self._ends:
            _, order, turn, flow_id = self._ends[0]
            running = self._running.get(flow_id)
            if running is not None and (running.order, running.turn) == (order, turn):
                return
            heapq.heappop(self._ends)


def ends(resources: Iterable[Resource], moves: Iterable[Move]) -> dict[str, float | None]:
    """Say when each flow ends.

    Parameters
    ----------
    resources : iterable of Resource
        All that they cross.
    moves : iterable of Move
        In any order.

    Returns
    -------
    dict of str to float or None
        Seconds; None for one that does not end by itself.

    Raises
    ------
    ModelError
        If a flow has nothing to move or starts before 0 s, two have one id at one time, one
        crosses an unknown resource, or shares contradict each other.
    """
    timeline = Timeline(resources)
    found: dict[str, float | None] = {}
    for move in sorted(moves, key=lambda each: each.start_s):
        found |= {end.flow_id: end.end_s for end in timeline.advance(move.start_s)}
        timeline.start(move.demand, move.num_bytes)
        found[move.demand.id] = None
    return found | {end.flow_id: end.end_s for end in timeline.advance()}
