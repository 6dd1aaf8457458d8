"""The machine as nested boxes, with its links, and the GPU fabric below or between them."""

from __future__ import annotations

from collections.abc import Sequence

from .fabric import Fabric, Joint, draw_fabric
from .layout import (
    GAP,
    LINE,
    MAX_DRAWN_CORES,
    PAD,
    TITLE,
    WIRE_FONT,
    Box,
    Placed,
    Wire,
    core_columns,
    header_height,
    place,
)
from .svg import Svg, drawing, group, join, rect, shortened, text

WIDTH = 1240.0
_TITLE_FONT, _FONT = 12.5, 10.5


def draw_topology(
    label: str, boxes: Sequence[Box], sockets: Sequence[Joint] = (), fabric: Fabric | None = None
) -> Svg:
    """Draw boxes with what they contain.

    Parameters
    ----------
    label : str
        What the drawing shows, for people who cannot see it.
    boxes : sequence of Box
        The outermost boxes.
    sockets : sequence of Joint
        Links between outermost boxes; drawn where these stand side by side or one above another.
    fabric : Fabric or None
        A switch is drawn as a bar with a stub for every GPU, a mesh as arcs.
    """
    placed, width, height = place(boxes, WIDTH)
    parts: list[Svg] = []
    if fabric is not None:
        drawn, width, height = draw_fabric(fabric, placed, width, height)
        parts.append(drawn)
    parts += [_box(one) for outer in placed for one in outer.walk()]
    parts += [_joint(joint, placed) for joint in sockets]
    return drawing(width + 2, height + 2, label, group(*parts, transform="translate(1 1)"))


def _box(placed: Placed) -> Svg:
    return _frame(placed) if placed.box.is_container else _card(placed)


def _frame(placed: Placed) -> Svg:
    box, x, y = placed.box, placed.x, placed.y
    room = placed.width - 2 * PAD
    parts = [
        _upward(box.wire, x, y, placed.width) if box.wire else None,
        group(
            rect(x, y, placed.width, placed.height, f"frame k-{box.kind}", rx=9),
            text(
                x + PAD,
                y + PAD + 9,
                shortened(box.title, room, _TITLE_FONT, is_bold=True),
                "box-title",
            ),
            *(
                text(
                    x + PAD,
                    y + PAD + TITLE + 7 + LINE * index,
                    shortened(one, room, _FONT),
                    "box-line",
                )
                for index, one in enumerate(box.lines)
            ),
            tip=box.tip or box.title,
            class_="mark",
        ),
    ]
    return join([part for part in parts if part is not None])


def _upward(wire: Wire, x: float, y: float, width: float) -> Svg:
    """Draw the stub that leaves a container upwards, with its text beside it."""
    return group(
        rect(x + 9, y - 19, 5, 19, f"wire w-{wire.health}"),
        text(x + 20, y - 6, shortened(" · ".join(wire.parts), width - 22, WIRE_FONT), "wire-text"),
        tip=wire.tip,
        class_="mark",
    )


def _card(placed: Placed) -> Svg:
    box, x, y = placed.box, placed.x, placed.y
    room = placed.width - 18
    parts = [
        rect(x, y, placed.width, placed.height, f"card k-{box.kind}", rx=7),
        text(x + 9, y + 18, shortened(box.title, room, _TITLE_FONT, is_bold=True), "box-title"),
    ]
    at = y + 18
    for one in box.lines:
        at += LINE
        parts.append(text(x + 9, at, shortened(one, room, _FONT), "box-line"))
    if box.num_cores:
        parts.append(_cores(box.num_cores, x + 9, at + 8, placed.width))
    drawn = group(*parts, tip=box.tip or box.title, class_="mark")
    if box.wire is None:
        return drawn
    lines = box.wire.lines(placed.width)
    texts = [
        text(x + 18, at + LINE * (index + 1), shortened(one, room - 9, WIRE_FONT), "wire-text")
        for index, one in enumerate(lines)
    ]
    stub = rect(x + 9, at + 5.5, 4, LINE * len(lines) - 4, f"wire w-{box.wire.health}")
    return join([drawn, group(stub, *texts, tip=box.wire.tip, class_="mark")])


def _cores(count: int, x: float, y: float, width: float) -> Svg:
    columns = core_columns(width)
    return join(
        [
            rect(x + 11 * (index % columns), y + 11 * (index // columns), 9, 9, "core", rx=2)
            for index in range(min(count, MAX_DRAWN_CORES))
        ]
    )


def _joint(joint: Joint, placed: Sequence[Placed]) -> Svg:
    """Draw a link between outermost boxes that stand next to each other, and no other."""
    ends = {one.box.id: outer for outer in placed for one in outer.walk()}
    a, b = ends.get(joint.a), ends.get(joint.b)
    if a is None or b is None or a is b:
        return Svg()
    left, right = sorted((a, b), key=lambda one: (one.y, one.x))
    if left.y == right.y and abs(right.x - left.x - left.width - GAP) < 1:
        y = left.y + header_height(left.box) / 2
        mark = rect(left.x + left.width - 5, y - 3, GAP + 10, 6, f"wire w-{joint.health}", rx=2)
    elif left.x == right.x and abs(right.y - left.y - left.height - GAP) < 1:
        x = left.x + left.width / 2
        mark = rect(x - 3, left.y + left.height - 5, 6, GAP + 10, f"wire w-{joint.health}", rx=2)
    else:
        return Svg()
    return group(mark, tip=joint.tip, class_="mark")
