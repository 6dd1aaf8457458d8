"""Rates of flows that share resources, kept up as flows come, go and change."""

from __future__ import annotations

from collections.abc import Iterable

from topoprobe.errors import ModelError
from topoprobe.model.fabric.arbiter import Arbiter, Flow
from topoprobe.model.fabric.demand import Allocation, Demand
from topoprobe.model.fabric.resource import Resource
from topoprobe.model.fabric.settling import settle


def solve(resources: Iterable[Resource], demands: Iterable[Demand]) -> dict[str, Allocation]:
    """Give each flow its fair rate.

    Parameters
    ----------
    resources : iterable of Resource
        All that the flows cross, and perhaps more.
    demands : iterable of Demand
        The flows, all at once.

    Returns
    -------
    dict of str to Allocation
        For each flow.

    Raises
    ------
    ModelError
        If a flow or resource appears twice, a flow crosses an unknown resource, or shares
        contradict each other.
    """
    fluid = Fluid(resources)
    for demand in demands:
        fluid.add(demand)
    return fluid.allocations()


class Fluid:
    """Flows in flight and the rates they have, by the sharing laws of what they cross.

    A change is taken in at once, and the flows that it can touch are solved again when rates are
    asked for: those joined to it through resources that can run out.
    """

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._resources: dict[str, Resource] = {}
        self._arbiters: dict[str, Arbiter] = {}
        self._flows: dict[str, Flow] = {}
        self._ways: dict[Flow, list[Arbiter]] = {}
        self._allocations: dict[str, Allocation] = {}
        self._stale: dict[Flow, None] = {}
        for resource in resources:
            if resource.id in self._resources:
                raise ModelError(f"Two resources have the id {resource.id}; expected one of each.")
            self._resources[resource.id] = resource
            self._arbiters[resource.id] = Arbiter(resource)

    def add(self, demand: Demand) -> None:
        """Let a flow in.

        Raises
        ------
        ModelError
            If there is a flow of this id, or it crosses an unknown resource.
        """
        if demand.id in self._flows:
            raise ModelError(f"There is a flow {demand.id} already; give each its own id.")
        for use in (*demand.along, *demand.beside):
            self._arbiter(use.resource)
        flow = Flow(demand, self._resources)
        self._ways[flow] = [self._arbiters[name] for name in flow.takes]
        for arbiter in self._ways[flow]:
            arbiter.add(flow)
        self._flows[demand.id] = flow
        self._limit(flow, demand.cap_bytes_per_s)

    def remove(self, flow_id: str) -> None:
        """Let a flow go.

        Raises
        ------
        ModelError
            If there is none of this id.
        """
        flow = self.require(flow_id)
        self._touch(flow)
        for arbiter in self._ways.pop(flow):
            arbiter.remove(flow)
        del self._flows[flow_id], self._stale[flow]
        self._allocations.pop(flow_id, None)

    def set_cap(self, flow_id: str, cap_bytes_per_s: float) -> None:
        """Let a flow go at most this fast from now on; infinite for no cap.

        Raises
        ------
        ModelError
            If there is none of this id, or the cap is not above zero.
        """
        flow = self.require(flow_id)
        if not cap_bytes_per_s > 0.0:
            raise ModelError(f"{flow_id} cannot be capped to {cap_bytes_per_s:g}; expected > 0.")
        self._touch(flow)
        self._limit(flow, cap_bytes_per_s)

    def set_capacity(self, resource_id: str, capacity_per_s: float) -> None:
        """Change what a resource has.

        Raises
        ------
        ModelError
            If there is none of this id, or the capacity is not a finite number above zero.
        """
        arbiter = self._arbiter(resource_id)
        if not 0.0 < capacity_per_s < float("inf"):
            raise ModelError(
                f"{resource_id} cannot have a capacity of {capacity_per_s:g}; expected a finite "
                "number above zero."
            )
        flows = tuple(arbiter.flows)
        for flow in flows:
            self._touch(flow)
        arbiter.capacity_per_s = capacity_per_s
        for flow in flows:
            self._limit(flow, flow.cap_bytes_per_s)

    def settle(self) -> tuple[str, ...]:
        """Solve what changes have touched.

        Returns
        -------
        tuple of str
            The flows that were solved again, whose rates may differ now.

        Raises
        ------
        ModelError
            If shares contradict each other.
        """
        if not self._stale:
            return ()
        ways = self._joined(self._stale)
        self._stale.clear()
        changed = {flow.demand.id: found for flow, found in settle(ways).items()}
        self._allocations |= changed
        return tuple(changed)

    def allocation(self, flow_id: str) -> Allocation:
        """Say what one flow gets.

        Raises
        ------
        ModelError
            If there is none of this id, or shares contradict each other.
        """
        self.require(flow_id)
        self.settle()
        return self._allocations[flow_id]

    def allocations(self) -> dict[str, Allocation]:
        """Say what every flow gets.

        Raises
        ------
        ModelError
            If shares contradict each other.
        """
        self.settle()
        return {name: self._allocations[name] for name in self._flows}

    def require(self, flow_id: str) -> Flow:
        """Return the flow of an id.

        Raises
        ------
        ModelError
            If it is not in flight.
        """
        if flow_id not in self._flows:
            raise ModelError(f"There is no flow {flow_id} among the {len(self._flows)} in flight.")
        return self._flows[flow_id]

    def _arbiter(self, resource_id: str) -> Arbiter:
        if resource_id not in self._arbiters:
            known = ", ".join(list(self._arbiters)[:5])
            raise ModelError(f"There is no resource {resource_id}; there are {known or 'none'}.")
        return self._arbiters[resource_id]

    def _touch(self, flow: Flow) -> None:
        """Mark a flow, and all that it contends with, to be solved again."""
        self._stale[flow] = None
        for arbiter in self._ways[flow]:
            if arbiter.can_run_out:
                self._stale |= dict.fromkeys(arbiter.flows)

    def _limit(self, flow: Flow, cap_bytes_per_s: float) -> None:
        """Take in what a flow could get if it were alone."""
        arbiters = self._ways[flow]
        last = flow.limit_bytes_per_s
        flow.cap_bytes_per_s = flow.limit_bytes_per_s = cap_bytes_per_s
        flow.limit_by = None
        for arbiter in arbiters:
            alone = arbiter.capacity_per_s / arbiter.flows[flow]
            if alone < flow.limit_bytes_per_s:
                flow.limit_bytes_per_s, flow.limit_by = alone, arbiter.id
        for arbiter in arbiters:
            arbiter.want(arbiter.flows[flow] * (flow.limit_bytes_per_s - last))
        self._touch(flow)

    def _joined(self, flows: Iterable[Flow]) -> dict[Flow, list[Arbiter]]:
        """Find all with whom flows share something that can run out, and what that is for each."""
        ways: dict[Flow, list[Arbiter]] = {}
        seen: set[Arbiter] = set()
        queue = list(flows)
        while queue:
            flow = queue.pop()
            if flow not in ways:
                at = ways[flow] = [each for each in self._ways[flow] if each.can_run_out]
                for arbiter in at:
                    if arbiter not in seen:
                        seen.add(arbiter)
                        queue += arbiter.flows
        return ways
