"""Small one-line drawings that stand inside a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .svg import Svg, diamond, drawing, element, group, line, rect


@dataclass(frozen=True, slots=True)
class Dot:
    """One sample of a strip."""

    value: float
    tip: str
    is_faint: bool = False


def draw_samples(label: str, dots: Sequence[Dot], *, width: float = 150.0) -> Svg:
    """Draw samples over their order, scaled to their own range; faint ones are warm-ups."""
    height, pad = 22.0, 4.0
    low = min((dot.value for dot in dots), default=0.0)
    high = max((dot.value for dot in dots), default=0.0)
    step = (width - 2 * pad) / max(len(dots) - 1, 1)

    def y(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return height - pad - share * (height - 2 * pad)

    marks = [
        group(
            element(
                "circle",
                cx=pad + step * index,
                cy=y(dot.value),
                r=2.6,
                class_="sample faint" if dot.is_faint else "sample",
            ),
            tip=dot.tip,
            class_="mark",
        )
        for index, dot in enumerate(dots)
    ]
    return drawing(width, height, label, *marks, class_="strip")


def draw_error(
    label: str,
    measured: Sequence[Dot],
    predicted: Dot,
    reach_ratio: float,
    *,
    is_within: bool,
    width: float = 210.0,
) -> Svg:
    """Draw a prediction among the repeats of its measurement.

    All values are ratios to the measured median, which is the line in the middle; the band spans
    the repeats, and the ends of the drawing are ``1 - reach_ratio`` and ``1 + reach_ratio``.
    """
    height, middle = 24.0, width / 2
    scale = (middle - 8) / (reach_ratio or 1.0)

    def x(ratio: float) -> float:
        return middle + (ratio - 1) * scale

    values = [dot.value for dot in measured] or [1.0]
    first, last = x(min(values)) - 5, x(max(values)) + 5
    dots = [
        group(
            element("circle", cx=x(dot.value), cy=height / 2, r=3.2, class_="sample"),
            tip=dot.tip,
            class_="mark",
        )
        for dot in measured
    ]
    corners = diamond(x(predicted.value), height / 2, 6, 7)
    guess = element("polygon", points=corners, class_="guess" if is_within else "guess off")
    return drawing(
        width,
        height,
        label,
        line(4, height / 2, width - 4, height / 2, "grid"),
        rect(first, 4, last - first, height - 8, "band", rx=4),
        line(middle, 2, middle, height - 2, "target"),
        *dots,
        group(guess, tip=predicted.tip, class_="mark"),
        class_="strip",
    )
