"""Why a flow goes no faster, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topoprobe.machine.wording import listed
from topoprobe.model.fabric.demand import Allocation, Demand
from topoprobe.model.fabric.machines.fabric import FlowFabric
from topoprobe.model.fabric.machines.ways import PlacedFlow
from topoprobe.model.fabric.resource import Resource
from topoprobe.units import format_rate


def reason(
    fabric: FlowFabric,
    placed: Mapping[int, PlacedFlow],
    index: int,
    allocation: Allocation,
) -> str:
    """Say what holds a flow back.

    Parameters
    ----------
    fabric : FlowFabric
    placed : mapping of int to PlacedFlow
        All flows that run, by their place in the set.
    index : int
        The one in question.
    allocation : Allocation
        What it gets.
    """
    flow = placed[index]
    if allocation.bottleneck is None:
        return flow.cap_reason or "nothing holds it back but its own pace"
    resource = fabric.resources[allocation.bottleneck]
    words = fabric.words(resource.id)
    if resource.kind != "core":
        words += f" ({format_rate(resource.capacity_per_s)})"
    takes = units_per_byte(flow.demand)[resource.id]
    others = [
        number
        for number, other in placed.items()
        if number != index and resource.id in units_per_byte(other.demand)
    ]
    also = f"; {flow.cap_reason}" if resource.kind == "core" and flow.cap_reason else ""
    if not others:
        if resource.kind == "core":
            return f"alone on {words}, busy all the time{also}"
        return f"alone on {words}, {_payload(resource, flow.demand, takes)}"
    names = listed([f"flow {number + 1}" for number in others])
    law = _law(resource, [placed[number] for number in (index, *others)])
    return f"shares {words} with {names}, {law}{also}"


def units_per_byte(demand: Demand) -> Mapping[str, float]:
    """Return what a flow takes of each resource per payload byte."""
    takes: dict[str, float] = {}
    for use in (*demand.along, *demand.beside):
        takes[use.resource] = takes.get(use.resource, 0.0) + use.per_byte
    return takes


def _payload(resource: Resource, demand: Demand, takes: float) -> str:
    rate = format_rate(resource.capacity_per_s / takes)
    if resource.kind == "pcie":
        return f"which carries {rate} of payload in packets of {demand.txn_bytes:.0f} bytes"
    if takes < 1:
        return f"one of several links side by side that carry {rate} together"
    return f"which moves {rate}" if takes != 1 else "and nothing else takes of it"


def _law(resource: Resource, flows: Sequence[PlacedFlow]) -> str:
    sharing = resource.sharing
    if sharing.by == "outstanding":
        return "each served by how much it has in flight"
    if resource.kind == "core":
        return "as much time for each"
    if sharing.exponent == 0.0:
        return "as many bytes for each port that they come through"
    sizes = [flow.demand.txn_bytes for flow in flows]
    turn = "one packet of each port in turn"
    if sharing.exponent != 1.0:
        turn = f"ports served by the size of a packet to the power {sharing.exponent:.2g}"
    if len(set(sizes)) == 1:
        return f"{turn}, all of {sizes[0]:.0f} bytes"
    return f"{turn}: {sizes[0]:.0f} bytes of this one, {_sizes(sizes[1:])} of the others"


def _sizes(sizes: Sequence[float]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"
