"""Where nested boxes go: cards in rows inside containers, containers side by side where they fit.

A container holds first its cards, kind by kind, then its inner containers. Of all numbers of
columns that fit the width, the one that gives the least height is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from .svg import text_width

CARD_MIN, CARD_MAX = 112.0, 200.0
PAD, GAP = 12.0, 10.0
WIRE_ROOM = 24.0
TITLE, LINE = 17.0, 14.0
WIRE_FONT, WIRE_MARGIN = 10.5, 28.0
_CARD_PAD = 9.0
_CORE, _CORES_PER_ROW = 9.0, 16
MAX_DRAWN_CORES = 256
# The order of cards in a container; kinds that are not listed come last.
_KINDS = ("cores", "memory", "gpu", "nic", "nvme", "cxl_memory")


@dataclass(frozen=True, slots=True)
class Wire:
    """The link from a box to what holds it.

    Attributes
    ----------
    parts : tuple of str
        As ``x16 Gen5`` and ``54.6 GB/s``; on one line where there is room.
    tip : str
        All that is known.
    health : str
        ``good``, ``fair``, ``poor``, or ``unmeasured``.
    """

    parts: tuple[str, ...]
    tip: str
    health: str

    def lines(self, width: float) -> tuple[str, ...]:
        """Return its text in lines for a card of this width."""
        whole = " · ".join(self.parts)
        fits = text_width(whole, WIRE_FONT) <= width - WIRE_MARGIN
        return (whole,) if fits else self.parts


@dataclass(frozen=True, slots=True)
class Box:
    """One thing to draw.

    Attributes
    ----------
    id : str
        Node id.
    kind : str
        Decides the colours.
    title, lines, tip : str, tuple of str, str
        What is written in it and in its tooltip.
    wire : Wire or None
        Its link upwards.
    children : tuple of Box
        What it contains; a box without children that is no container is a card.
    is_container : bool
        Drawn as a frame even when it is empty.
    num_cores : int
        Small squares to draw in it.
    """

    id: str
    kind: str
    title: str
    lines: tuple[str, ...] = ()
    tip: str = ""
    wire: Wire | None = None
    children: tuple[Box, ...] = ()
    is_container: bool = False
    num_cores: int = 0


@dataclass(slots=True)
class Placed:
    """A box with its place in the drawing and the places of what it contains."""

    box: Box
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0
    inside: list[Placed] = field(default_factory=list)

    def moved(self, dx: float, dy: float) -> None:
        """Shift it and everything in it."""
        self.x += dx
        self.y += dy
        for child in self.inside:
            child.moved(dx, dy)

    def walk(self) -> list[Placed]:
        """Return it and everything in it, outermost first."""
        return [self, *(placed for child in self.inside for placed in child.walk())]


def place(boxes: Sequence[Box], width: float) -> tuple[list[Placed], float, float]:
    """Place boxes from the top left corner.

    Returns
    -------
    tuple
        The placed boxes, the width and the height that they take.
    """
    placed, used, height = _place_all(boxes, width)
    return placed, used, height


def header_height(box: Box) -> float:
    """Return the room that the title and the lines of a container take."""
    return PAD + TITLE + LINE * len(box.lines)


def _place(box: Box, width: float) -> Placed:
    if not box.is_container:
        return _card(box, width)
    header = header_height(box)
    children, used, height = _place_all(box.children, width - 2 * PAD)
    for child in children:
        child.moved(PAD, header)
    written = max([text_width(box.title, 12.5), *(text_width(line, 10.5) for line in box.lines)])
    used = min(max(used + 2 * PAD, written + 2 * PAD), width)
    return Placed(box, used, header + height + (PAD if children else 2.0), inside=children)


def _card(box: Box, width: float) -> Placed:
    width = min(width, CARD_MAX)
    num_lines = len(box.lines) + (len(box.wire.lines(width)) if box.wire is not None else 0)
    height = 2 * _CARD_PAD + TITLE - 4 + LINE * num_lines
    if box.num_cores:
        per_row = core_columns(width)
        drawn = min(box.num_cores, MAX_DRAWN_CORES)
        height += math.ceil(drawn / per_row) * (_CORE + 2) + 4
    return Placed(box, width, height)


def core_columns(width: float) -> int:
    """Return how many core squares stand in a row of a card."""
    return max(1, min(_CORES_PER_ROW, int((width - 2 * _CARD_PAD) // (_CORE + 2))))


def _place_all(boxes: Sequence[Box], width: float) -> tuple[list[Placed], float, float]:
    """Place cards above containers; return them with the width and height that they take."""
    cards = sorted((box for box in boxes if not box.is_container), key=_rank)
    frames = [box for box in boxes if box.is_container]
    placed: list[Placed] = []
    used = y = 0.0
    for row in _card_rows(cards, width):
        row_width, row_height = _place_row(row, y, width, placed)
        used, y = max(used, row_width), y + row_height + GAP
    if frames:
        grid, grid_width, grid_height = _place_grid(frames, width)
        for one in grid:
            one.moved(0, y)
        placed += grid
        used, y = max(used, grid_width), y + grid_height + GAP
    return placed, used, max(y - GAP, 0.0)


def _rank(box: Box) -> int:
    return _KINDS.index(box.kind) if box.kind in _KINDS else len(_KINDS)


def _card_rows(cards: Sequence[Box], width: float) -> list[list[Box]]:
    """Put all cards in one row if there is room, otherwise start a row for every kind."""
    columns = max(1, int((width + GAP) // (CARD_MIN + GAP)))
    if len(cards) <= columns:
        return [list(cards)] if cards else []
    rows = []
    for kind in dict.fromkeys(card.kind for card in cards):
        of_kind = [card for card in cards if card.kind == kind]
        # Even rows look better than a full one and a rest.
        num_rows = math.ceil(len(of_kind) / columns)
        per_row = math.ceil(len(of_kind) / num_rows)
        rows += [of_kind[at : at + per_row] for at in range(0, len(of_kind), per_row)]
    return rows


def _place_row(
    row: Sequence[Box], y: float, width: float, placed: list[Placed]
) -> tuple[float, float]:
    each = min((width - GAP * (len(row) - 1)) / len(row), CARD_MAX)
    cards = [_card(box, each) for box in row]
    height = max(card.height for card in cards)
    for index, card in enumerate(cards):
        card.moved(index * (each + GAP), y)
        card.height = height
    placed += cards
    return len(row) * (each + GAP) - GAP, height


def _place_grid(frames: Sequence[Box], width: float) -> tuple[list[Placed], float, float]:
    best: tuple[list[Placed], float, float] | None = None
    counts = {math.ceil(len(frames) / rows) for rows in range(1, len(frames) + 1)}
    for columns in sorted(counts, reverse=True):
        cell = (width - GAP * (columns - 1)) / columns
        if columns > 1 and any(_least_width(frame) > cell for frame in frames):
            continue
        candidate = _place_columns(frames, columns, cell)
        if best is None or candidate[2] < best[2] - 1:
            best = candidate
    assert best is not None, "one column always fits"
    return best


def _place_columns(
    frames: Sequence[Box], columns: int, cell: float
) -> tuple[list[Placed], float, float]:
    placed: list[Placed] = []
    used = y = 0.0
    for at in range(0, len(frames), columns):
        row = [_place(frame, cell) for frame in frames[at : at + columns]]
        room = WIRE_ROOM if any(one.box.wire for one in row) else 0.0
        height = max(one.height for one in row)
        x = 0.0
        for one in row:
            one.moved(x, y + room)
            one.height = height
            x += one.width + GAP
        placed += row
        used, y = max(used, x - GAP), y + room + height + GAP
    return placed, used, y - GAP


def _least_width(box: Box) -> float:
    if not box.is_container:
        return CARD_MIN
    return max([CARD_MIN, *(_least_width(child) for child in box.children)]) + 2 * PAD
