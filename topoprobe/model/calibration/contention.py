"""What concurrent flows do to each other: slowdowns, Jain's index, the matrix over pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from topoprobe.measure.flows import parse_flow_set
from topoprobe.model.calibration.readings import Reading, Readings, combined, grouped, measured
from topoprobe.records.base import Estimate
from topoprobe.records.calibration import FlowSetShare, FlowShare, SlowdownMatrix

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class _MeasuredFlow:
    label: str
    solo: Reading
    shared: Reading


def flow_sets(readings: Readings, device: str) -> tuple[FlowSetShare, ...]:
    """Return every concurrent set of which each flow was measured alone and together."""
    return tuple(_share(flows) for flows in _measured_sets(readings, device))


def slowdown_matrix(readings: Readings, device: str) -> SlowdownMatrix | None:
    """Return the slowdown of each victim (row) beside each aggressor (column), over the pairs.

    Rows are named by what the flow does. None where no pair was measured.
    """
    cells: dict[tuple[str, str], Estimate] = {}
    for flows in _measured_sets(readings, device):
        if len(flows) == 2:
            first, second = flows
            cells.setdefault((first.label, second.label), _slowdown(first))
            cells.setdefault((second.label, first.label), _slowdown(second))
    labels = tuple(dict.fromkeys(victim for victim, _ in cells))
    if not labels:
        return None
    return SlowdownMatrix(
        flows=labels,
        slowdown_victim_aggressor=tuple(
            tuple(cells.get((victim, aggressor)) for aggressor in labels) for victim in labels
        ),
    )


def _measured_sets(readings: Readings, device: str) -> list[list[_MeasuredFlow]]:
    solos = {
        reading.text("flow"): reading
        for reading in readings.select("contention.solo", device=device)
    }
    sets = []
    shared = readings.select("contention.shared", device=device)
    for (text,), members in grouped(shared, "set").items():
        members.sort(key=lambda reading: reading.number("index"))
        if len(members) != len(parse_flow_set(str(text)).flows):
            continue
        if all(member.text("flow") in solos for member in members):
            sets.append(
                [
                    _MeasuredFlow(_label(member.text("flow")), solos[member.text("flow")], member)
                    for member in members
                ]
            )
    return sets


def _label(text: str) -> str:
    """Name a flow by its work; by its whole text where it has none (copies between devices)."""
    (flow,) = parse_flow_set(text).flows
    return flow.work if flow.executor.kind == "cpu" else text


def _share(flows: list[_MeasuredFlow]) -> FlowSetShare:
    import numpy as np

    def kept(*arrays: Array) -> Array:
        """Share of the solo rate that each flow keeps, shape (..., num_flows)."""
        medians = [np.median(array, axis=-1) for array in arrays]
        return np.stack(medians[::2], axis=-1) / np.stack(medians[1::2], axis=-1)

    def jain(*arrays: Array) -> Array:
        shares = kept(*arrays)
        index: Array = shares.sum(axis=-1) ** 2 / (shares.shape[-1] * (shares**2).sum(axis=-1))
        return index

    def max_min(*arrays: Array) -> Array:
        shares = kept(*arrays)
        ratio: Array = shares.max(axis=-1) / shares.min(axis=-1)
        return ratio

    everything = [reading for flow in flows for reading in (flow.shared, flow.solo)]
    evidence = f"{len(flows)} flows in a common window, shared / solo"
    return FlowSetShare(
        flows=tuple(
            FlowShare(
                flow=flow.shared.text("flow"),
                solo_per_s=measured(flow.solo),
                shared_per_s=measured(flow.shared),
                slowdown_ratio=_slowdown(flow),
            )
            for flow in flows
        ),
        jain_ratio=combined(jain, everything, evidence=f"Jain's index [jain1984] over {evidence}"),
        max_min_ratio=combined(max_min, everything, evidence=f"largest / least of {evidence}"),
    )


def _slowdown(flow: _MeasuredFlow) -> Estimate:
    import numpy as np

    return combined(
        lambda solo, shared: np.median(solo, axis=-1) / np.median(shared, axis=-1),
        [flow.solo, flow.shared],
        evidence=f"solo / shared rate of {flow.shared.text('flow')} in {flow.shared.text('set')}",
    )
