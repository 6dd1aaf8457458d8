"""The machine as nested boxes, with its links, and the GPU fabric below or between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
from .svg import Svg, drawing, element, group, join, rect, shortened, text, text_width

WIDTH = 1240.0
_BAR = 40.0
_STUB = 26.0
_TITLE_FONT, _FONT = 12.5, 10.5


@dataclass(frozen=True, slots=True)
class Joint:
    """A direct link between two boxes: between sockets, or between GPUs of a mesh."""

    a: str
    b: str
    tip: str
    count: int = 1
    health: str = "unmeasured"


@dataclass(frozen=True, slots=True)
class Fabric:
    """What joins the GPUs beside PCIe.

    Attributes
    ----------
    title, detail, tip : str
        What is written in its bar, and its tooltip.
    members : tuple of str
        Node ids of the GPUs on it.
    names : tuple of str
        Their short names, in the same order.
    joints : tuple of Joint
        The links of a mesh; empty where a switch joins all members.
    """

    title: str
    detail: str
    tip: str
    members: tuple[str, ...]
    names: tuple[str, ...]
    joints: tuple[Joint, ...] = ()


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
    rows = sorted({one.y for one in placed})
    parts: list[Svg] = []
    if fabric is not None:
        drawn, height, width = _fabric(fabric, placed, rows, width, height)
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


def _fabric(
    fabric: Fabric, placed: Sequence[Placed], rows: Sequence[float], width: float, height: float
) -> tuple[Svg, float, float]:
    """Draw the fabric; return it with the new height and width of the drawing."""
    centers = {
        one.box.id: (one.x + one.width / 2, outer)
        for outer in placed
        for one in outer.walk()
        if one.box.id in fabric.members
    }
    if fabric.joints:
        width = max(width, 420.0)
        drawn, depth = _arcs(fabric, centers, len(rows) == 1, width, height)
        return drawn, height + depth, width
    width = max(width, _bar_width(fabric))
    if len(rows) == 2:
        return _bar_between(fabric, placed, centers, rows, width), height + _BAR + 2 * _STUB, width
    # With more rows than two, stubs would cross other boxes: only the last row gets them.
    top = height + _STUB
    stubs = [
        rect(x - 2.5, outer.y + outer.height, 5, top - outer.y - outer.height, "stub")
        for x, outer in centers.values()
        if outer.y == rows[-1]
    ]
    return join([*stubs, _bar(fabric, top, width)]), top + _BAR, width


def _bar_between(
    fabric: Fabric,
    placed: Sequence[Placed],
    centers: dict[str, tuple[float, Placed]],
    rows: Sequence[float],
    width: float,
) -> Svg:
    """Move the lower of two rows down and draw the bar between them."""
    upper_end = max(one.y + one.height for one in placed if one.y == rows[0])
    lower = [one for one in placed if one.y == rows[1]]
    top = upper_end + _STUB
    shift = _BAR + 2 * _STUB
    stubs = []
    for x, outer in centers.values():
        if outer in lower:
            stubs.append(rect(x - 2.5, top + _BAR, 5, outer.y + shift - top - _BAR, "stub"))
        else:
            end = outer.y + outer.height
            stubs.append(rect(x - 2.5, end, 5, top - end, "stub"))
    for one in lower:
        one.moved(0, shift)
    return join([*stubs, _bar(fabric, top, width)])


def _bar_width(fabric: Fabric) -> float:
    return text_width(fabric.title, _TITLE_FONT) + text_width(fabric.detail, _FONT) + 60


def _bar(fabric: Fabric, y: float, width: float) -> Svg:
    return group(
        rect(0, y, width, _BAR, "card k-nvswitch", rx=8),
        text(16, y + 24, fabric.title, "box-title"),
        text(width - 16, y + 24, fabric.detail, "box-line", text_anchor="end"),
        tip=fabric.tip,
        class_="mark",
    )


def _arcs(
    fabric: Fabric,
    centers: dict[str, tuple[float, Placed]],
    has_one_row: bool,
    width: float,
    height: float,
) -> tuple[Svg, float]:
    """Draw a mesh as arcs below; under the GPUs themselves where they stand in one row."""
    known = [member for member in fabric.members if member in centers]
    xs = {member: centers[member][0] for member in known}
    is_below = has_one_row and len({round(x) for x in xs.values()}) == len(xs)
    if not is_below:
        step = width / max(len(known), 1)
        xs = {member: step * (index + 0.5) for index, member in enumerate(known)}
    base = height + 48.0
    deepest = 0.0
    parts: list[Svg] = []
    if is_below:
        parts += [
            rect(
                xs[member] - 1.5,
                centers[member][1].y + centers[member][1].height,
                3,
                base - centers[member][1].y - centers[member][1].height,
                "stub",
            )
            for member in known
        ]
    for joint in fabric.joints:
        if joint.a not in xs or joint.b not in xs:
            continue
        a, b = sorted((xs[joint.a], xs[joint.b]))
        depth = 18 + (b - a) * 0.16
        deepest = max(deepest, depth * 0.75)
        low = base + depth
        path = f"M{a:.1f} {base:.1f} C{a:.1f} {low:.1f} {b:.1f} {low:.1f} {b:.1f} {base:.1f}"
        parts.append(
            group(
                element("path", d=path, class_="arc", stroke_width=1.2 + 1.1 * joint.count),
                tip=joint.tip,
                class_="mark",
            )
        )
    names = dict(zip(fabric.members, fabric.names, strict=True))
    for member in known:
        name = names.get(member, member)
        is_outside = xs[member] + 9 + text_width(name, _FONT) > width
        x, anchor = (xs[member] - 9, "end") if is_outside else (xs[member] + 9, "start")
        parts.append(element("circle", cx=xs[member], cy=base, r=5, class_="arc-end"))
        parts.append(text(x, base - 5, name, "box-line", text_anchor=anchor))
    below = base + deepest + 20
    parts.append(text(width / 2, below, fabric.title, "box-title", text_anchor="middle"))
    return join(parts), below + 6 - height
