"""What concurrent flows do to each other: slowdown matrix, fairness bars, loaded latency."""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.errors import InputError
from topoprobe.measure.flows import Flow, parse_flow_set
from topoprobe.records.base import Estimate
from topoprobe.records.calibration import Contention, FlowSetShare, FlowShare, SlowdownMatrix
from topoprobe.units import format_rate, format_value

from .drawing.bars import Bar, BarGroup, draw_bars
from .drawing.heatmap import Cell, draw_heatmap, step_of
from .drawing.plot import Axis, Curve, Point, draw_plot, frame
from .drawing.scale import linear
from .drawing.svg import Svg
from .foretold import Foretold, foretold
from .quantity import Quantity, format_tick, quantity, tip
from .section import NEEDS_CALIBRATION, Absent, Documents, not_measured

# The darkest colour means at least this slowdown, so that a harmless machine stays pale.
_LEAST_WORST = 2.0


@dataclass(frozen=True, slots=True)
class SetRow:
    """One line of the table of concurrent sets."""

    flows: str
    slowdowns: str
    predicted: str
    worst: Quantity
    jain: Quantity
    spread: Quantity


@dataclass(frozen=True, slots=True)
class Sharing:
    """How the flows of one resource share it."""

    resource: str
    matrix: Svg | None
    fairness: Svg | None
    fairness_text: str
    foretold: Foretold | None
    sets: tuple[SetRow, ...]


@dataclass(frozen=True, slots=True)
class LoadedLatency:
    """Latency over load, one drawing per resource."""

    drawings: tuple[tuple[str, Svg], ...]


def sharing(documents: Documents) -> tuple[Sharing, ...] | Absent:
    """Prepare the slowdowns and shares of every resource."""
    if documents.calibration is None:
        return NEEDS_CALIBRATION
    found = tuple(
        _sharing(one) for one in documents.calibration.contention if one.sets or one.slowdown
    )
    return found or not_measured(documents, "Contention was", ("contention",))


def loaded_latency(documents: Documents) -> LoadedLatency | Absent:
    """Prepare the curves of latency under load."""
    if documents.calibration is None:
        return NEEDS_CALIBRATION
    drawings = tuple(
        (one.resource, _latency_drawing(one))
        for one in documents.calibration.contention
        if one.loaded_latency
    )
    if not drawings:
        return not_measured(documents, "Latency under load was", ("latency",))
    return LoadedLatency(drawings)


def largest_set(contention: Contention) -> FlowSetShare | None:
    """Return the concurrent set with the most flows."""
    return max(contention.sets, key=lambda one: len(one.flows), default=None)


def worst_cell(matrix: SlowdownMatrix) -> tuple[str, str, Estimate] | None:
    """Return victim, aggressor and slowdown of the pair with the largest slowdown."""
    return max(_cells(matrix), key=lambda cell: cell[2].value, default=None)


def _cells(matrix: SlowdownMatrix) -> list[tuple[str, str, Estimate]]:
    return [
        (victim, aggressor, cell)
        for victim, row in zip(matrix.flows, matrix.slowdown_victim_aggressor, strict=True)
        for aggressor, cell in zip(matrix.flows, row, strict=True)
        if cell is not None
    ]


def slowed_pair(matrix: SlowdownMatrix) -> tuple[str, str, Estimate] | None:
    """Return victim, aggressor and slowdown of the pair that is surely slowed most.

    A pair whose interval includes 1 may not be slowed at all, however large its median: it does
    not count, and the pairs that do are ordered by the low end.
    """
    slowed = [cell for cell in _cells(matrix) if cell[2].has_interval and cell[2].low > 1]
    return max(slowed, key=lambda cell: cell[2].low, default=None)


def flow_label(text: str) -> str:
    """Name a flow shortly: by its work on CPU cores, by its ends otherwise."""
    flow = _parsed(text)
    if flow is None:
        return text
    if flow.executor.kind == "cpu":
        return str(flow.work)
    return f"{flow.source} → {flow.destination}"


def flow_unit(text: str) -> str:
    """Return the unit in which a flow's rate is counted."""
    flow = _parsed(text)
    work = str(flow.work) if flow is not None and flow.executor.kind == "cpu" else ""
    return {"gemm": "flop_per_s", "chase": "hops_per_s"}.get(work, "bytes_per_s")


def _parsed(text: str) -> Flow | None:
    """Return a flow, or None for text that is none: documents may come from other programs."""
    try:
        flows = parse_flow_set(text).flows
    except InputError:
        return None
    return flows[0] if len(flows) == 1 else None


def _sharing(one: Contention) -> Sharing:
    largest = largest_set(one)
    return Sharing(
        resource=one.resource,
        matrix=None if one.slowdown is None else _matrix(one.slowdown),
        fairness=None if largest is None else _fairness(largest),
        fairness_text="" if largest is None else _fairness_text(largest),
        foretold=foretold(one),
        sets=tuple(_set_row(flow_set) for flow_set in one.sets),
    )


def _matrix(matrix: SlowdownMatrix) -> Svg:
    worst = worst_cell(matrix)
    top = max(_LEAST_WORST, worst[2].value if worst else 1.0)
    cells = [
        [
            _cell(victim, aggressor, cell, top)
            for aggressor, cell in zip(matrix.flows, row, strict=True)
        ]
        for victim, row in zip(matrix.flows, matrix.slowdown_victim_aggressor, strict=True)
    ]
    return draw_heatmap(
        "Slowdown of each victim (row) beside each aggressor (column)",
        [flow_label(flow) for flow in matrix.flows],
        cells,
        row_title="victim",
        column_title="aggressor",
        legend=("as fast as alone", f"{top:.2g} times slower"),
        width=max(600.0, 140.0 + 48.0 * len(matrix.flows)),
    )


def _cell(victim: str, aggressor: str, cell: Estimate | None, top: float) -> Cell:
    pair = f"{victim} beside {aggressor}"
    if cell is None:
        return Cell("", None, f"{pair}: this pair was not measured")
    return Cell(
        format_value(cell.value, "ratio"), step_of(cell.value, top), f"{pair}\n{tip(cell, 'ratio')}"
    )


def _fairness(flow_set: FlowSetShare) -> Svg:
    bars = tuple(
        _fairness_bar(share, name)
        for share, name in zip(flow_set.flows, _distinct_names(flow_set), strict=True)
    )
    return draw_bars("Share of its solo rate that each flow keeps", [BarGroup("", bars)])


def _distinct_names(flow_set: FlowSetShare) -> list[str]:
    """Name the flows of a set, with a number where names are equal."""
    names = [flow_label(share.flow) for share in flow_set.flows]
    return [
        f"{name} #{names[:index].count(name) + 1}" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]


def _fairness_bar(share: FlowShare, name: str) -> Bar:
    slowdown, unit = share.slowdown_ratio, flow_unit(share.flow)
    kept = 1 / slowdown.value
    together = format_value(share.shared_per_s.value, unit)
    alone = format_value(share.solo_per_s.value, unit)
    return Bar(
        label=name,
        value=f"{kept:.2f}   {together}",
        length=kept,
        low=1 / slowdown.high,
        high=1 / slowdown.low,
        behind=1.0,
        color=2 if kept < FAIR_SHARE else 1,
        tip=f"{share.flow}\nalone {alone}, together {together}\nslowdown {tip(slowdown, 'ratio')}",
    )


FAIR_SHARE = 0.8
"""A flow that keeps less of its solo rate is drawn in the warning colour."""


def _fairness_text(flow_set: FlowSetShare) -> str:
    jain = flow_set.jain_ratio
    interval = f"{jain.low:.3f} to {jain.high:.3f}" if jain.has_interval else "from one sample"
    return (
        f"{len(flow_set.flows)} flows at once, grey is each one alone. Jain's index over the "
        f"shares is {jain.value:.3f} ({interval}), 1 when all suffer alike."
    )


def _set_row(flow_set: FlowSetShare) -> SetRow:
    worst = max((share.slowdown_ratio for share in flow_set.flows), key=lambda ratio: ratio.value)
    return SetRow(
        flows=" | ".join(share.flow for share in flow_set.flows),
        slowdowns=", ".join(
            format_value(share.slowdown_ratio.value, "ratio") for share in flow_set.flows
        ),
        predicted=", ".join(
            format_value(share.predicted_slowdown_ratio, "ratio")
            for share in flow_set.flows
            if share.predicted_slowdown_ratio is not None
        ),
        worst=quantity(worst, "ratio"),
        jain=quantity(flow_set.jain_ratio, "ratio"),
        spread=quantity(flow_set.max_min_ratio, "ratio"),
    )


def _latency_drawing(one: Contention) -> Svg:
    points = tuple(
        Point(
            point.load_bytes_per_s.value,
            point.latency_s.value,
            f"load {format_rate(point.load_bytes_per_s.value)}\n{tip(point.latency_s, 's')}",
            x_interval=(point.load_bytes_per_s.low, point.load_bytes_per_s.high),
            y_interval=(point.latency_s.low, point.latency_s.high),
        )
        for point in one.loaded_latency
    )
    right = 24.0
    x_ends, y_ends = frame(right=right)
    capacity = one.capacity_bytes_per_s
    widest = max([point.x for point in points] + ([capacity.value] if capacity else []))
    x_scale = linear(widest, *x_ends)
    y_scale = linear(max(point.latency_s.high for point in one.loaded_latency), *y_ends)
    curves = [Curve("", points, color=1)]
    if capacity is not None:
        text = f"capacity {format_rate(capacity.value)}\n{tip(capacity, 'bytes_per_s')}"
        wall = (Point(capacity.value, 0.0, text), Point(capacity.value, y_scale.high, text))
        curves.append(Curve("", wall, color=7, has_markers=False, is_dashed=True))
    return draw_plot(
        f"Latency of {one.resource} under load",
        curves,
        x_scale,
        y_scale,
        x_axis=Axis("bandwidth that others draw", lambda value: format_tick(value, "bytes_per_s")),
        y_axis=Axis("latency of one load", lambda value: format_tick(value, "s")),
        right=right,
    )
