"""Plots of y over x: points with intervals, lines, roofs, on linear or logarithmic axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .scale import Scale
from .svg import Svg, diamond, drawing, element, group, line, shortened, text, text_width

_FONT = 11.0
_LINE = 14.0
LEFT, TOP, BOTTOM = 66.0, 14.0, 46.0


@dataclass(frozen=True, slots=True)
class Point:
    """One measured point; the intervals are drawn where they are given."""

    x: float
    y: float
    tip: str
    x_interval: tuple[float, float] | None = None
    y_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one kind.

    Attributes
    ----------
    name : str
        Its label at the right edge; empty draws none.
    points : tuple of Point
        In the order in which a line joins them.
    color : int
        Which of the categorical colours, from 1; the marker's shape follows it.
    has_line, has_markers : bool
        What is drawn.
    is_dashed : bool
        For what is predicted or derived.
    label_y : float or None
        Where the label goes, if not at the last point.
    """

    name: str
    points: tuple[Point, ...]
    color: int = 1
    has_line: bool = True
    has_markers: bool = True
    is_dashed: bool = False
    label_y: float | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: its title, how a tick is written, and where ticks are if not at round values."""

    title: str
    format: Callable[[float], str]
    ticks: tuple[float, ...] = ()


def draw_plot(
    label: str,
    curves: Sequence[Curve],
    x_scale: Scale,
    y_scale: Scale,
    *,
    x_axis: Axis,
    y_axis: Axis,
    width: float = 600.0,
    height: float = 330.0,
    right: float = 120.0,
) -> Svg:
    """Draw curves in a frame; scales span ``LEFT .. width - right`` and ``height - BOTTOM .. TOP``.

    Names stand at the right of the frame, moved apart where they would collide.
    """
    parts = [
        *_grid(x_scale, y_scale, x_axis, y_axis, height),
        *(_curve(curve, x_scale, y_scale) for curve in curves),
        *_names(curves, y_scale, width - right + 8, right - 8),
    ]
    return drawing(width, height, label, *parts)


def frame(
    width: float = 600.0, height: float = 330.0, right: float = 120.0
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the pixels of both axes, ``(x start, x end), (y start, y end)``, for `draw_plot`."""
    return (LEFT, width - right), (height - BOTTOM, TOP)


def spread_apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move positions apart until they differ by `gap`, as little as needed, within the limits.

    The order of the result is that of `wanted`. Where there is no room for all, they overlap
    beyond `high`.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [0.0] * len(wanted)
    floor = low
    for index in order:
        placed[index] = max(wanted[index], floor)
        floor = placed[index] + gap
    ceiling = high
    for index in reversed(order):
        placed[index] = max(min(placed[index], ceiling), low)
        ceiling = placed[index] - gap
    return placed


def _grid(x_scale: Scale, y_scale: Scale, x_axis: Axis, y_axis: Axis, height: float) -> list[Svg]:
    bottom = height - BOTTOM
    parts = []
    for value in x_axis.ticks or x_scale.ticks():
        x = x_scale(value)
        parts.append(line(x, TOP, x, bottom, "grid"))
        parts.append(text(x, bottom + 16, x_axis.format(value), "tick", text_anchor="middle"))
    for value in y_axis.ticks or y_scale.ticks():
        y = y_scale(value)
        parts.append(line(LEFT, y, x_scale.end, y, "grid"))
        parts.append(text(LEFT - 7, y + 4, y_axis.format(value), "tick", text_anchor="end"))
    parts.append(line(LEFT, bottom, x_scale.end, bottom, "axis"))
    parts.append(
        text((LEFT + x_scale.end) / 2, height - 8, x_axis.title, "axis-title", text_anchor="middle")
    )
    parts.append(
        text(
            0,
            0,
            y_axis.title,
            "axis-title",
            text_anchor="middle",
            transform=f"translate(12 {(TOP + bottom) / 2:.1f}) rotate(-90)",
        )
    )
    return parts


def _curve(curve: Curve, x_scale: Scale, y_scale: Scale) -> Svg:
    parts: list[Svg] = []
    pixels = [(x_scale(point.x), y_scale(point.y)) for point in curve.points]
    if curve.has_line and len(pixels) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        kind = f"curve s{curve.color}{_dashes(curve)}"
        parts.append(element("polyline", points=path, class_=kind))
    if curve.has_markers:
        for point, (x, y) in zip(curve.points, pixels, strict=True):
            parts.append(
                group(
                    _whisker(point.x_interval, x_scale, y, is_vertical=False),
                    _whisker(point.y_interval, y_scale, x, is_vertical=True),
                    _marker(x, y, curve.color),
                    tip=point.tip,
                    class_="mark",
                )
            )
    elif curve.points:
        parts.append(element("title", curve.points[0].tip))
    return element("g", *parts, class_=None if curve.has_markers else "mark")


def _dashes(curve: Curve) -> str:
    return " dashed" if curve.is_dashed else ""


def _whisker(
    interval: tuple[float, float] | None, scale: Scale, across: float, *, is_vertical: bool
) -> Svg | None:
    """Draw an interval as far as the frame reaches."""
    if interval is None or interval[1] <= interval[0]:
        return None
    low, high = (scale(min(max(end, scale.low), scale.high)) for end in interval)
    if is_vertical:
        return line(across, low, across, high, "whisker")
    return line(low, across, high, across, "whisker")


def _marker(x: float, y: float, color: int) -> Svg:
    """Draw a marker whose shape differs with the colour, for eyes and printers without colour."""
    kind = f"dot c{color}"
    if color % 4 == 2:
        return element("rect", x=x - 3.8, y=y - 3.8, width=7.6, height=7.6, class_=kind)
    if color % 4 == 3:
        corners = f"{x:.1f},{y - 5.2:.1f} {x + 5:.1f},{y + 3.8:.1f} {x - 5:.1f},{y + 3.8:.1f}"
        return element("polygon", points=corners, class_=kind)
    if color % 4 == 0:
        return element("polygon", points=diamond(x, y, 5.4, 5.4), class_=kind)
    return element("circle", cx=x, cy=y, r=4.2, class_=kind)


def _names(curves: Sequence[Curve], y_scale: Scale, x: float, room: float) -> list[Svg]:
    named = [curve for curve in curves if curve.name and curve.points]
    wanted = [
        y_scale(curve.points[-1].y if curve.label_y is None else curve.label_y) for curve in named
    ]
    placed = spread_apart(wanted, _LINE, TOP + 6, y_scale.start - 2)
    parts = []
    for curve, y in zip(named, placed, strict=True):
        shown = shortened(curve.name, room - 14, _FONT, is_bold=True)
        swatch = (
            _marker(x + 4, y, curve.color)
            if curve.has_markers
            else line(x - 3, y, x + 10, y, f"curve s{curve.color}{_dashes(curve)}")
        )
        name = text(x + 14, y + 4, shown, f"name f{curve.color}")
        parts.append(group(swatch, name, tip=None if shown == curve.name else curve.name))
    return parts


def name_room(names: Sequence[str]) -> float:
    """Return how much room the names of curves need at the right of a plot."""
    return max((text_width(name, _FONT, is_bold=True) for name in names), default=0.0) + 26.0
