"""Slowdowns that laws foretold beside those that were measured."""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.measure.statistics import median
from topoprobe.model.calibration.foresight import Foresight, foresights
from topoprobe.records.calibration import Contention

from .drawing.plot import Axis, Curve, Point, draw_plot, frame
from .drawing.scale import linear
from .drawing.svg import Svg
from .quantity import format_percent, format_tick

_LEAST_TOP = 2.0


@dataclass(frozen=True, slots=True)
class Foretold:
    """A drawing of all flows, and how far the predictions are off in words."""

    drawing: Svg
    text: str


def foretold(contention: Contention) -> Foretold | None:
    """Prepare the comparison; None where nothing was foretold."""
    found = foresights(contention)
    if not found:
        return None
    return Foretold(_drawing(contention.resource, found), _text(found))


def _drawing(resource: str, found: tuple[Foresight, ...]) -> Svg:
    points = tuple(
        Point(
            one.measured.value,
            one.predicted,
            f"{one.flow}\nof {one.num_flows} flows at once\npredicted {one.predicted:.2f}, "
            f"measured {one.measured.value:.2f}",
            x_interval=(one.measured.low, one.measured.high),
        )
        for one in found
    )
    right = 24.0
    x_ends, y_ends = frame(right=right)
    top = max(_LEAST_TOP, *(point.x for point in points), *(point.y for point in points))
    x_scale, y_scale = linear(top, *x_ends), linear(top, *y_ends)
    clipped = tuple(
        Point(one.x, one.y, one.tip, _within(one.x_interval, x_scale.high)) for one in points
    )
    ends = (Point(0.0, 0.0, "predicted as measured"), Point(x_scale.high, x_scale.high, ""))
    axis = Axis("measured slowdown", lambda value: format_tick(value, "ratio"))
    return draw_plot(
        f"Predicted over measured slowdown of flows on {resource}",
        [
            Curve("", ends, color=7, has_markers=False, is_dashed=True),
            Curve("", clipped, has_line=False),
        ],
        x_scale,
        y_scale,
        x_axis=axis,
        y_axis=Axis("predicted slowdown", axis.format),
        right=right,
    )


def _within(interval: tuple[float, float] | None, high: float) -> tuple[float, float] | None:
    """Cut an interval at the end of its axis."""
    return interval and (min(interval[0], high), min(interval[1], high))


def _text(found: tuple[Foresight, ...]) -> str:
    errors = sorted(abs(one.error_ratio) for one in found)
    blind = median([abs(1 / one.measured.value - 1) for one in found])
    return (
        f"{len(found)} flows in {len({one.flows for one in found})} sets, each set predicted by "
        f"laws fitted to the sets of other kinds: half are off by less than "
        f"{format_percent(median(errors))}, nine in ten by less than "
        f"{format_percent(errors[int(0.9 * (len(errors) - 1))])}. Who expects no slowdown at all "
        f"is off by {format_percent(blind)}."
    )
