"""A matrix of numbers in coloured cells, each with its number printed in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .svg import Svg, drawing, group, rect, shortened, text, text_width

NUM_STEPS = 8
_FONT = 11.5
_GAP = 2.0
_SLANT_SINE = 0.65


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell; `step` is its colour, 0 (harmless) to ``NUM_STEPS - 1``, None for an empty cell."""

    text: str
    step: int | None
    tip: str = ""


def step_of(value: float, worst: float) -> int:
    """Return the colour of a slowdown on a logarithmic ramp from 1 to `worst`."""
    if value <= 1 or worst <= 1:
        return 0
    share = math.log(value) / math.log(worst)
    return min(NUM_STEPS - 1, int(share * NUM_STEPS))


def draw_heatmap(
    label: str,
    labels: Sequence[str],
    cells: Sequence[Sequence[Cell]],
    *,
    row_title: str,
    column_title: str,
    legend: tuple[str, str],
    width: float = 600.0,
) -> Svg:
    """Draw a square matrix of cells, shape (len(labels), len(labels)), rows first.

    `legend` is the text at both ends of the ramp below the matrix.
    """
    count = len(labels)
    names = [shortened(name, width * 0.28, _FONT) for name in labels]
    widest = max(text_width(name, _FONT) for name in names)
    left = widest + 30
    side = min((width - left) / count, 104.0)
    height = max(min(side, 46.0), 24.0)
    is_slanted = widest > side - 4
    top = 28.0 + widest * _SLANT_SINE if is_slanted else 40.0
    middle = top + height * count / 2
    turn = f"translate(11 {middle:.1f}) rotate(-90)"
    parts = [
        text(left + side * count / 2, 12, column_title, "axis-title", text_anchor="middle"),
        text(0, 0, row_title, "axis-title", text_anchor="middle", transform=turn),
    ]
    for index, (name, whole) in enumerate(zip(names, labels, strict=True)):
        x, y = left + side * (index + 0.5), top + height * (index + 0.5)
        row_name = text(left - 8, y + 4, name, "bar-label", text_anchor="end")
        parts.append(group(_column_name(name, x, top, is_slanted=is_slanted), tip=whole))
        parts.append(group(row_name, tip=whole))
    for row, line in enumerate(cells):
        for column, cell in enumerate(line):
            parts.append(_cell(cell, left + side * column, top + height * row, side, height))
    bottom = top + height * count + 14
    parts.append(_ramp(legend, left, bottom))
    overhang = widest * 0.77 - side / 2 if is_slanted else 0.0
    legend_end = left + text_width("".join(legend), _FONT) + 16 * NUM_STEPS + 24
    right = max(left + side * count + overhang, legend_end)
    return drawing(right, bottom + 22, label, *parts)


def _column_name(name: str, x: float, top: float, *, is_slanted: bool) -> Svg:
    if not is_slanted:
        return text(x, top - 8, name, "bar-label", text_anchor="middle")
    place = f"translate({x:.1f} {top - 8:.1f}) rotate(-40)"
    return text(0, 0, name, "bar-label", transform=place)


def _cell(cell: Cell, x: float, y: float, width: float, height: float) -> Svg:
    kind = "cell none" if cell.step is None else f"cell h{cell.step}"
    middle, base = x + (width - _GAP) / 2, y + height / 2 + 3.5
    return group(
        rect(x, y, width - _GAP, height - _GAP, kind, rx=4),
        text(middle, base, cell.text, f"{kind} ink", text_anchor="middle") if cell.text else None,
        tip=cell.tip,
        class_="mark",
    )


def _ramp(legend: tuple[str, str], x: float, y: float) -> Svg:
    first, last = legend
    start = x + text_width(first, 10.5) + 8
    steps = [rect(start + 16 * step, y, 16, 9, f"cell h{step}") for step in range(NUM_STEPS)]
    return group(
        text(x, y + 8.5, first, "tick"),
        *steps,
        text(start + 16 * NUM_STEPS + 8, y + 8.5, last, "tick"),
    )
