"""When the flows of a set have moved their bytes, as they come and go."""

from __future__ import annotations

from collections.abc import Sequence

from topoprobe.measure.flows import Flow, FlowSet
from topoprobe.model.fabric.resource import Resource
from topoprobe.model.fabric.timeline import Timeline
from topoprobe.model.fabric.ways import PlacedFlow

_ENDLESS = float("inf")
_START, _STOP = 0, 1


def completions(
    resources: Sequence[Resource], flow_set: FlowSet, placed: Sequence[PlacedFlow]
) -> tuple[float | None, ...]:
    """Say when each flow has moved its size.

    A flow comes after its delay and goes once it has moved its size, or after its duration where
    it names no size; one with neither stays, as do those of CPUs, whose sizes are of buffers that
    they go through over and over.

    Parameters
    ----------
    resources : sequence of Resource
        All that the flows cross.
    flow_set : FlowSet
    placed : sequence of PlacedFlow
        The same flows, in the same order.

    Returns
    -------
    tuple of float or None
        Seconds from the start of the set; None for a flow without a size.
    """
    timeline = Timeline(resources)
    ends: dict[str, float] = {}
    for time_s, kind, index in sorted(_changes(flow_set)):
        ends |= {end.flow_id: end.end_s for end in timeline.advance(time_s)}
        demand = placed[index].demand
        if kind == _START:
            timeline.start(demand, _size_bytes(flow_set.flows[index]))
        else:
            timeline.stop(demand.id)
    ends |= {end.flow_id: end.end_s for end in timeline.advance()}
    return tuple(ends.get(one.demand.id) for one in placed)


def _size_bytes(flow: Flow) -> float:
    if flow.size_bytes is None or flow.executor.kind == "cpu":
        return _ENDLESS
    return float(flow.size_bytes)


def _changes(flow_set: FlowSet) -> list[tuple[float, int, int]]:
    """Return when flows come, and when those go that have a duration and no size."""
    changes = []
    for index, flow in enumerate(flow_set.flows):
        start_s = flow.delay_s or 0.0
        changes.append((start_s, _START, index))
        if _size_bytes(flow) == _ENDLESS and flow.duration_s is not None:
            changes.append((start_s + flow.duration_s, _STOP, index))
    return changes
