"""Building SVG text so that nothing from a document can be taken for markup."""

from __future__ import annotations

import html

# Width of a character of the page's sans-serif fonts relative to its size, on the wide side.
_CHARACTER_EM = 0.63
_BOLD_RATIO = 1.12
_NARROW_EM = 0.36
_WIDE_EM = 0.8
_EMS = {
    **dict.fromkeys(" .,:;'|!iIljft()[]/·-", _NARROW_EM),
    **dict.fromkeys("mwMWGOQ%→", _WIDE_EM),
}


class Svg(str):
    """Markup that is safe by construction; template autoescape leaves it alone."""

    __slots__ = ()

    def __html__(self) -> str:
        """Tell Jinja that this is markup already."""
        return str(self)


def element(name: str, *children: str | None, **attributes: object) -> Svg:
    """Return one element.

    Parameters
    ----------
    name : str
        The tag.
    *children : str or None
        `Svg` is kept, plain text is escaped, None is left out.
    **attributes : object
        A trailing underscore is dropped and others become hyphens (``class_``, ``text_anchor``);
        None is left out, floats are written with two digits.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escape(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(
        child if isinstance(child, Svg) else _escape(child)
        for child in children
        if child is not None
    )
    return Svg(f"<{name}{written}>{inside}</{name}>" if inside else f"<{name}{written}/>")


def group(*children: str | None, tip: str | None = None, **attributes: object) -> Svg:
    """Return a group of marks with one tooltip."""
    return element("g", element("title", tip) if tip else None, *children, **attributes)


def drawing(
    width: float, height: float, label: str, *children: str | None, class_: str = "chart"
) -> Svg:
    """Return a whole drawing that scales with the page; `label` says what it shows."""
    return element(
        "svg",
        element("title", label),
        *children,
        class_=class_,
        role="img",
        aria_label=label,
        viewBox=f"0 0 {_number(width)} {_number(height)}",
        style=f"--width:{_number(float(round(width)))}px",
    )


def text(x: float, y: float, content: str, class_: str | None = None, **attributes: object) -> Svg:
    """Return text whose base line starts at (x, y)."""
    return element("text", content, x=x, y=y, class_=class_, **attributes)


def rect(x: float, y: float, width: float, height: float, class_: str, **attributes: object) -> Svg:
    """Return a rectangle."""
    return element(
        "rect",
        x=x,
        y=y,
        width=max(width, 0.0),
        height=max(height, 0.0),
        class_=class_,
        **attributes,
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str, **attributes: object) -> Svg:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_, **attributes)


def diamond(x: float, y: float, half_width: float, half_height: float) -> str:
    """Return the corners of a diamond around (x, y), for a polygon."""
    corners = ((x, y - half_height), (x + half_width, y), (x, y + half_height), (x - half_width, y))
    return " ".join(f"{corner_x:.1f},{corner_y:.1f}" for corner_x, corner_y in corners)


def join(parts: list[Svg]) -> Svg:
    """Return the parts one after another."""
    return Svg("".join(parts))


def text_width(content: str, size: float, *, is_bold: bool = False) -> float:
    """Estimate the width of text set at `size`; fonts differ, so this is on the wide side."""
    width = sum(_EMS.get(character, _CHARACTER_EM) for character in content) * size
    return width * _BOLD_RATIO if is_bold else width


def shortened(content: str, width: float, size: float, *, is_bold: bool = False) -> str:
    """Cut text that would be wider than `width`, marking the cut with an ellipsis."""
    if text_width(content, size, is_bold=is_bold) <= width:
        return content
    # No font is so narrow that more characters than this could fit; names may be very long.
    kept = content[: int(width / size / _NARROW_EM) + 1]
    while kept and text_width(kept + "…", size, is_bold=is_bold) > width:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _escape(content: str) -> str:
    return html.escape(content, quote=True)
