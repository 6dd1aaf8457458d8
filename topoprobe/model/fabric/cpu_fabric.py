"""The fabric of flows that CPUs run: a set whose flows stall each other is settled as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topoprobe.errors import ModelError
from topoprobe.machine.view import Machine
from topoprobe.measure.flows import Flow, FlowSet
from topoprobe.model.fabric.cpus import (
    CpuLaws,
    cpu_demands,
    cpu_resources,
    loads_bytes_per_s,
    settle,
    stalls,
)
from topoprobe.model.fabric.demand import Allocation, Demand
from topoprobe.model.fabric.resource import Resource
from topoprobe.model.fabric.seats import cpu_seats
from topoprobe.model.fabric.ways import PlacedFlow
from topoprobe.records.base import Missing
from topoprobe.units import format_rate

_STALLED_RATIO = 1.005


class CpuFabric:
    """The CPUs and memories of a machine under one set of flows.

    Parameters
    ----------
    machine : Machine
    laws : CpuLaws
        Of its calibration.
    flow_set : FlowSet
        All by ``cpu``.

    Raises
    ------
    ModelError
        If a flow is by another executor, or its kind of work has no law.
    """

    def __init__(self, machine: Machine, laws: CpuLaws, flow_set: FlowSet) -> None:
        others = [flow for flow in flow_set.flows if flow.executor.kind != "cpu"]
        if others:
            raise ModelError(
                f"{others[0]} is by {others[0].executor} and others are by cpu; what these do to "
                "each other has no law, so predict them as two sets."
            )
        self._laws = laws
        self._seats = cpu_seats(machine, flow_set)
        self.resources: Mapping[str, Resource] = {
            one.id: one for one in cpu_resources(laws, self._seats)
        }
        rates = [one.rate_bytes_per_s for one in settle(laws, self._seats)]
        self._longer = stalls(laws, self._seats, rates)
        self._loads = loads_bytes_per_s(self._seats, rates)

    def place(self, flow: Flow, flow_id: str) -> PlacedFlow:
        """Return what a flow takes beside all others of the set; its id is its place there."""
        index = int(flow_id)
        demand = cpu_demands(self._laws, self._seats, self._longer)[index]
        longer = self._longer[index]
        reason = "that is its pace on a CPU of its own"
        if longer > _STALLED_RATIO:
            reason = (
                f"its work takes {longer:.2f} times as long while other CPUs draw "
                f"{format_rate(self._loads[index])} of memory"
            )
        return PlacedFlow(demand, cap_reason=reason)

    def solve(
        self, resources: Sequence[Resource], demands: Sequence[Demand]
    ) -> Mapping[str, Allocation]:
        """Give flows of the set their rates, with what those that are asked for do to each other.

        Parameters
        ----------
        resources : sequence of Resource
            Not looked at: the laws tell them.
        demands : sequence of Demand
            Of this fabric.
        """
        seats = [self._seats[int(demand.id)] for demand in demands]
        found = settle(self._laws, seats)
        return {demand.id: one for demand, one in zip(demands, found, strict=True)}

    def words(self, resource_id: str) -> str:
        """Return what people call a resource."""
        kind, _, name = resource_id.partition(":")
        return {
            "core": f"CPU {name}",
            "memory": f"the memory of {name}",
            "device": f"the device of {name}",
        }[kind]

    def unknown(self, resource_id: str) -> Missing:
        """Return why a resource limits nothing."""
        return Missing(subject=resource_id, fact="capacity", reason="it was not measured")
