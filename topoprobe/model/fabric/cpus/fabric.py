"""The fabric of flows that CPUs run: a set whose flows stall each other is settled as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from topoprobe.errors import ModelError
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count
from topoprobe.measure.flows import Flow, FlowSet, Work
from topoprobe.model.fabric.cpus.laws import (
    CpuLaws,
    cpu_demands,
    cpu_resources,
    law_of,
    loads_bytes_per_s,
    num_busy_beside,
    settle,
    stalls,
)
from topoprobe.model.fabric.cpus.seats import Seat, cpu_seats
from topoprobe.model.fabric.demand import Allocation, Demand
from topoprobe.model.fabric.machines.fabric import resolve
from topoprobe.model.fabric.machines.keys import unheeded
from topoprobe.model.fabric.machines.ways import OWN_CAP, PlacedFlow
from topoprobe.model.fabric.resource import Resource
from topoprobe.records.base import Missing
from topoprobe.records.machine import Numa
from topoprobe.units import format_rate

_STALLED_RATIO = 1.005
_AT_CAP_RATIO = 1e-6


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
        for flow in flow_set.flows:
            _check(machine, flow)
        self._laws = laws
        self._seats = cpu_seats(machine, flow_set)
        self.resources: Mapping[str, Resource] = {
            one.id: one for one in cpu_resources(laws, self._seats)
        }

    def place(self, flow: Flow, flow_id: str) -> PlacedFlow:
        """Return what a flow takes on CPUs of its own; its id is its place in the set."""
        index = int(flow_id)
        (demand,) = cpu_demands(self._laws, [self._seats[index]])
        return PlacedFlow(replace(demand, id=flow_id), assumed=tuple(unheeded(flow)))

    def among(self, placed: Mapping[int, PlacedFlow]) -> Mapping[int, PlacedFlow]:
        """Return what flows take where they stall each other, and why."""
        seats = [self._seats[index] for index in placed]
        rates = [one.rate_bytes_per_s for one in settle(self._laws, seats)]
        longer = stalls(self._laws, seats, rates)
        demands = cpu_demands(self._laws, seats, longer)
        loads = loads_bytes_per_s(seats, rates)
        return {
            index: replace(
                placed[index],
                demand=replace(demands[place], id=str(index)),
                cap_reason=self._reason(seats, place, rates[place], longer[place], loads[place]),
            )
            for place, index in enumerate(placed)
        }

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
        place = name.replace("numa:", "NUMA node ")
        return {
            "core": f"CPU {name}",
            "memory": f"the memory of {place}",
            "device": f"the device of {place}",
        }[kind]

    def unknown(self, resource_id: str) -> Missing:
        """Return why a resource limits nothing."""
        return Missing(subject=resource_id, fact="capacity", reason="it was not measured")

    def _reason(
        self, seats: Sequence[Seat], place: int, rate: float, longer: float, load: float
    ) -> str:
        """Say what holds a flow back that is no resource; nothing where nothing does."""
        cap = seats[place].flow.cap_bytes_per_s
        if cap is not None and rate >= cap * (1 - _AT_CAP_RATIO):
            return OWN_CAP
        parts = []
        if longer > _STALLED_RATIO:
            parts.append(
                f"its work takes {longer:.2f} times as long while other CPUs draw "
                f"{format_rate(load)} of memory"
            )
        num_busy = num_busy_beside(seats, place)
        if num_busy and law_of(self._laws, seats[place]).wait_ratio:
            parts.append(f"it waits for its turn behind {count(num_busy, 'flow')} on its CPU")
        return "; ".join(parts)


def _check(machine: Machine, flow: Flow) -> None:
    """Refuse what bench would refuse: CPUs and memories that are not there, keys of no sense.

    Raises
    ------
    ModelError
        If there is any.
    """
    for end in (flow.source, flow.destination):
        if end.kind not in ("host", "core"):
            raise ModelError(
                f"{flow}: a CPU moves bytes between host:N and core:N; {end} is neither."
            )
        resolve(machine, end)
    _check_threads(machine, flow)
    if flow.txn_bytes is not None or flow.peer is not None:
        raise ModelError(f"{flow}: a CPU chooses no transaction size and knows no peer.")
    if flow.cap_bytes_per_s is not None and flow.work in (Work.GEMM, Work.CHASE):
        raise ModelError(f"{flow}: {flow.work} moves no bytes that cap could limit.")


def _check_threads(machine: Machine, flow: Flow) -> None:
    """Refuse more threads than there are CPUs near the memory that they write, as bench does."""
    if any(end.kind == "core" for end in (flow.source, flow.destination)):
        return  # whoever names a core wants its threads there
    node = resolve(machine, flow.destination)
    num_cpus = len(node.cpus) if isinstance(node, Numa) else 0
    num_threads = flow.executor.count or 1
    if num_cpus and num_threads > num_cpus:
        raise ModelError(
            f"{flow}: {flow.executor} asks for {num_threads} threads and {flow.destination} has "
            f"{count(num_cpus, 'CPU')}; give cpu:{num_cpus} at most."
        )
