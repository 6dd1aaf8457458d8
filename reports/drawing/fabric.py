"""What joins GPUs beside PCIe: a bar with a stub for every GPU, or arcs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .layout import Placed
from .svg import Svg, element, group, join, rect, text, text_width

_BAR, _STUB = 40.0, 26.0
_TITLE_FONT, _FONT = 12.5, 10.5
_LEAST_WIDTH = 420.0
# A cubic curve with both handles at some depth reaches three quarters of it.
_BEZIER_REACH = 0.75


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


@dataclass(frozen=True, slots=True)
class _Pin:
    """Where a GPU's link to the fabric leaves the outermost box that the GPU is in."""

    x: float
    top: float
    bottom: float


def draw_fabric(
    fabric: Fabric, placed: Sequence[Placed], width: float, height: float
) -> tuple[Svg, float, float]:
    """Draw the fabric below the boxes, or between two rows of them.

    Parameters
    ----------
    fabric : Fabric
        What joins the GPUs.
    placed : sequence of Placed
        The outermost boxes; the lower of two rows is moved down to make room for a bar.
    width, height : float
        Of the drawing so far.

    Returns
    -------
    tuple
        The drawing of the fabric, and width and height with it.
    """
    pins = {
        one.box.id: _Pin(one.x + one.width / 2, outer.y, outer.y + outer.height)
        for outer in placed
        for one in outer.walk()
        if one.box.id in fabric.members
    }
    rows = sorted({one.y for one in placed})
    if fabric.joints:
        width = max(width, _LEAST_WIDTH)
        drawn, height = _mesh(fabric, pins, len(rows) == 1, width, height)
        return drawn, width, height
    width = max(width, _bar_width(fabric))
    if len(rows) == 2:
        return _bar_between(fabric, placed, pins, rows[1], width), width, height + _BAR + 2 * _STUB
    # With more than two rows, stubs would cross other boxes: only the last row gets them.
    top = height + _STUB
    last = [pin for pin in pins.values() if pin.top == rows[-1]]
    stubs = [_stub(pin.x, pin.bottom, top) for pin in last]
    return join([*stubs, _bar(fabric, top, width)]), width, top + _BAR


def _bar_between(
    fabric: Fabric,
    placed: Sequence[Placed],
    pins: Mapping[str, _Pin],
    second_row: float,
    width: float,
) -> Svg:
    """Move the lower of two rows down and draw the bar between them."""
    upper_end = max(one.y + one.height for one in placed if one.y < second_row)
    top, shift = upper_end + _STUB, _BAR + 2 * _STUB
    for one in placed:
        if one.y == second_row:
            one.moved(0, shift)
    stubs = [
        _stub(pin.x, top + _BAR, pin.top + shift)
        if pin.top == second_row
        else _stub(pin.x, pin.bottom, top)
        for pin in pins.values()
    ]
    return join([*stubs, _bar(fabric, top, width)])


def _stub(x: float, start: float, end: float) -> Svg:
    return rect(x - 2.5, start, 5, end - start, "stub")


def _bar_width(fabric: Fabric) -> float:
    title = text_width(fabric.title, _TITLE_FONT, is_bold=True)
    return title + text_width(fabric.detail, _FONT) + 60


def _bar(fabric: Fabric, y: float, width: float) -> Svg:
    return group(
        rect(0, y, width, _BAR, "card k-nvswitch", rx=8),
        text(16, y + 24, fabric.title, "box-title"),
        text(width - 16, y + 24, fabric.detail, "box-line", text_anchor="end"),
        tip=fabric.tip,
        class_="mark",
    )


def _mesh(
    fabric: Fabric, pins: Mapping[str, _Pin], has_one_row: bool, width: float, height: float
) -> tuple[Svg, float]:
    """Draw arcs, under the GPUs themselves where these stand in one row without overlap."""
    names = {
        member: name
        for member, name in zip(fabric.members, fabric.names, strict=True)
        if member in pins
    }
    base = height + 48.0
    parts: list[Svg] = []
    if has_one_row and len({round(pins[member].x) for member in names}) == len(names):
        xs = {member: pins[member].x for member in names}
        parts += [_stub(pins[member].x, pins[member].bottom, base) for member in names]
    else:
        step = width / len(names)
        xs = {member: step * (index + 0.5) for index, member in enumerate(names)}
    joints = [joint for joint in fabric.joints if joint.a in xs and joint.b in xs]
    parts += [_arc(joint, xs[joint.a], xs[joint.b], base) for joint in joints]
    parts += [_arc_end(name, xs[member], base, width) for member, name in names.items()]
    longest = max(abs(xs[joint.a] - xs[joint.b]) for joint in joints)
    below = base + _depth(longest) * _BEZIER_REACH + 20
    parts.append(text(width / 2, below, fabric.title, "box-title", text_anchor="middle"))
    return join(parts), below + 6


def _depth(length: float) -> float:
    return 18 + length * 0.16


def _arc(joint: Joint, a: float, b: float, base: float) -> Svg:
    low = base + _depth(abs(a - b))
    path = f"M{a:.1f} {base:.1f} C{a:.1f} {low:.1f} {b:.1f} {low:.1f} {b:.1f} {base:.1f}"
    arc = element("path", d=path, class_="arc", stroke_width=1.2 + 1.1 * joint.count)
    return group(arc, tip=joint.tip, class_="mark")


def _arc_end(name: str, x: float, base: float, width: float) -> Svg:
    """Draw the end of a GPU's arcs, its name on the side where there is room."""
    is_outside = x + 9 + text_width(name, _FONT) > width
    at, anchor = (x - 9, "end") if is_outside else (x + 9, "start")
    return group(
        element("circle", cx=x, cy=base, r=5, class_="arc-end"),
        text(at, base - 5, name, "box-line", text_anchor=anchor),
    )
