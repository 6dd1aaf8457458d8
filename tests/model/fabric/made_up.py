"""Made-up machines for tests of the fabric."""

from __future__ import annotations

from topoprobe.machine.sources.scan import make_up
from topoprobe.machine.view import Machine
from topoprobe.measure.flows import parse_flow_set
from topoprobe.model.fabric.machines.fabric import MachineFabric
from topoprobe.model.fabric.machines.ways import PlacedFlow


def made_up(text: str) -> Machine:
    document = make_up(text)
    assert document is not None
    return Machine(document)


def way(fabric: MachineFabric, text: str) -> PlacedFlow:
    (flow,) = parse_flow_set(text).flows
    return fabric.place(flow, "flow")


def rate_alone(fabric: MachineFabric, text: str) -> float:
    """Payload rate of a flow with nothing beside it."""
    demand = way(fabric, text).demand
    uses: dict[str, float] = {}
    for use in (*demand.along, *demand.beside):
        uses[use.resource] = uses.get(use.resource, 0.0) + use.per_byte
    resources = fabric.resources
    return min(
        demand.cap_bytes_per_s,
        *(resources[name].capacity_per_s / per for name, per in uses.items()),
    )
