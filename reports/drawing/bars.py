"""Horizontal bars with a number each, an interval, and what they are compared with behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .svg import Svg, drawing, element, group, line, rect, shortened, text, text_width

_ROW = 24.0
_BAR = 15.0
_HEADING = 22.0
_FONT = 11.5


@dataclass(frozen=True, slots=True)
class Bar:
    """One row.

    Attributes
    ----------
    label, value : str
        Text left and right of the bar.
    length : float
        In any unit, the same for all bars of a drawing.
    low, high : float or None
        Interval in the same unit.
    behind : float or None
        Length of a grey bar behind this one.
    color : int
        Which of the categorical colours, from 1.
    is_hollow : bool
        Drawn as an outline: not measured here.
    tip : str
        Tooltip.
    """

    label: str
    value: str
    length: float
    low: float | None = None
    high: float | None = None
    behind: float | None = None
    color: int = 1
    is_hollow: bool = False
    tip: str = ""


@dataclass(frozen=True, slots=True)
class BarGroup:
    """Bars under one heading; an empty title draws none."""

    title: str
    bars: tuple[Bar, ...]


def draw_bars(label: str, groups: Sequence[BarGroup], *, width: float = 600.0) -> Svg:
    """Draw groups of bars on one common scale that starts at zero."""
    bars = [bar for one in groups for bar in one.bars]
    labels = min(max((text_width(bar.label, _FONT) for bar in bars), default=0) + 14, width * 0.42)
    values = max((text_width(bar.value, _FONT, is_bold=True) for bar in bars), default=0) + 14
    longest = max((max(bar.length, bar.behind or 0, bar.high or 0) for bar in bars), default=0)
    per_unit = (width - labels - values) / longest if longest else 0.0
    parts: list[Svg] = []
    y = 2.0
    for one in groups:
        if one.title:
            parts.append(text(0, y + 14, shortened(one.title, width, _FONT), "group-title"))
            y += _HEADING
        for bar in one.bars:
            parts.append(_row(bar, y, labels, per_unit, width))
            y += _ROW
        y += 6
    return drawing(width, y, label, *parts)


def _row(bar: Bar, y: float, left: float, per_unit: float, width: float) -> Svg:
    middle = y + _ROW / 2
    top = middle - _BAR / 2
    kind = f"bar {'hollow ' if bar.is_hollow else ''}c{bar.color}"
    parts = [
        text(0, middle + 4, shortened(bar.label, left - 8, _FONT), "bar-label"),
        rect(0, y, width, _ROW, "hit"),
    ]
    if bar.behind is not None:
        parts.append(rect(left, top, bar.behind * per_unit, _BAR, "bar behind", rx=2.5))
    inset = 3.0 if bar.behind is not None else 0.0
    parts.append(rect(left, top + inset, bar.length * per_unit, _BAR - 2 * inset, kind, rx=2.5))
    end = max(bar.length, bar.behind or 0.0) * per_unit
    if bar.low is not None and bar.high is not None and bar.high > bar.low:
        parts.append(_whisker(left + bar.low * per_unit, left + bar.high * per_unit, middle))
        end = max(end, bar.high * per_unit)
    parts.append(text(left + end + 8, middle + 4, bar.value, "bar-value"))
    return group(*parts, tip=bar.tip or f"{bar.label}: {bar.value}", class_="mark")


def _whisker(low: float, high: float, y: float) -> Svg:
    return element(
        "g",
        line(low, y, high, y, "whisker"),
        line(low, y - 3, low, y + 3, "whisker"),
        line(high, y - 3, high, y + 3, "whisker"),
    )
