"""A run over time: a lane for every request, and the size of the batch below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .scale import Scale, linear
from .svg import Svg, drawing, element, group, line, rect, text

_LEFT, _RIGHT = 56.0, 12.0
_BATCH = 96.0


@dataclass(frozen=True, slots=True)
class Lane:
    """One request: spans of (start, end, class), in seconds, and its tooltip."""

    spans: tuple[tuple[float, float, str], ...]
    tip: str


@dataclass(frozen=True, slots=True)
class Step:
    """One segment of steps; `has_prefill` decides its colour."""

    start_s: float
    end_s: float
    num_sequences: float
    has_prefill: bool
    tip: str


def draw_timeline(
    label: str,
    lanes: Sequence[Lane],
    steps: Sequence[Step],
    *,
    format_time: Callable[[float], str],
    width: float = 1240.0,
) -> Svg:
    """Draw lanes above the batch on one time axis that starts at zero."""
    ends = [span[1] for lane in lanes for span in lane.spans] + [step.end_s for step in steps]
    x_scale = Scale(0.0, max(ends, default=1.0) or 1.0, _LEFT, width - _RIGHT)
    lane_height = 11.0 if len(lanes) <= 24 else 7.0
    top = 8.0
    parts = [
        _lane(lane, x_scale, top + index * lane_height, lane_height)
        for index, lane in enumerate(lanes)
    ]
    y = top + len(lanes) * lane_height + 14
    if lanes:
        parts.append(_side_title("requests", (top + y - 14) / 2))
    if steps:
        parts.append(_batch(steps, x_scale, y))
        y += _BATCH + 4
    parts += [_tick(x_scale(value), top, y, format_time(value)) for value in x_scale.ticks(8)]
    return drawing(width, y + 20, label, *parts)


def _lane(lane: Lane, x_scale: Scale, y: float, height: float) -> Svg:
    bars = [
        rect(x_scale(start), y + 1, max(x_scale(end) - x_scale(start), 0.75), height - 2.5, kind)
        for start, end, kind in lane.spans
    ]
    return group(*bars, tip=lane.tip, class_="mark")


def _batch(steps: Sequence[Step], x_scale: Scale, top: float) -> Svg:
    most = max(step.num_sequences for step in steps)
    y_scale = linear(most, top + _BATCH, top)
    bars = [
        group(
            rect(
                x_scale(step.start_s),
                y_scale(step.num_sequences),
                max(x_scale(step.end_s) - x_scale(step.start_s), 0.4),
                y_scale.start - y_scale(step.num_sequences),
                "step prefill" if step.has_prefill else "step decode",
            ),
            tip=step.tip,
            class_="mark",
        )
        for step in steps
    ]
    ticks = [
        text(_LEFT - 6, y_scale(value) + 4, f"{value:g}", "tick", text_anchor="end")
        for value in y_scale.ticks(3)
    ]
    base = line(_LEFT, y_scale.start, x_scale.end, y_scale.start, "axis")
    return element("g", *bars, *ticks, base, _side_title("batch size", top + _BATCH / 2))


def _side_title(content: str, y: float) -> Svg:
    return text(
        0,
        0,
        content,
        "axis-title",
        text_anchor="middle",
        transform=f"translate(12 {y:.1f}) rotate(-90)",
    )


def _tick(x: float, top: float, bottom: float, label: str) -> Svg:
    return element(
        "g",
        line(x, top, x, bottom, "grid over"),
        text(x, bottom + 14, label, "tick", text_anchor="middle"),
    )
