"""What the flows of a set are bound to share: the narrowest link that all of them cross."""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.errors import ModelError
from topoprobe.machine.view import Machine, Resource
from topoprobe.measure.ends import node_of
from topoprobe.measure.flows import Flow, FlowSet


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """One direction of a link that every flow of a set crosses.

    Attributes
    ----------
    id : str
        Of the resource, as in `Resource`.
    capacity_bytes_per_s : float
        Nominal, before packet headers.
    shares : tuple of float
        Part of each flow's bytes that crosses it.
    """

    id: str
    capacity_bytes_per_s: float
    shares: tuple[float, ...]


def bottleneck(machine: Machine, flow_set: FlowSet) -> Bottleneck | None:
    """Return the narrowest link that all flows cross in one direction.

    None where there is none, where its capacity is not known, or where a flow's way is not: flows
    within host memory cross no link.
    """
    ways = [_way(machine, flow) for flow in flow_set.flows]
    known = [
        resource
        for resource in ways[0].values()
        if resource.capacity_bytes_per_s is not None and all(resource.id in way for way in ways)
    ]
    if not known:
        return None
    narrowest = min(known, key=lambda resource: resource.capacity_bytes_per_s or 0.0)
    return Bottleneck(
        narrowest.id,
        narrowest.capacity_bytes_per_s or 0.0,
        tuple(way[narrowest.id].share for way in ways),
    )


def _way(machine: Machine, flow: Flow) -> dict[str, Resource]:
    """Return what a flow crosses, by id; nothing where its ends or its way are not known."""
    source, destination = node_of(machine, flow.source), node_of(machine, flow.destination)
    if source is None or destination is None:
        return {}
    try:
        resources = machine.resources_between(source.id, destination.id)
    except ModelError:
        return {}
    return {resource.id: resource for resource in resources}
