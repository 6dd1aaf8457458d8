"""Building SVG text: escaping, numbers, widths."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from topoprobe.reports.drawing.svg import (
    Svg,
    diamond,
    drawing,
    element,
    group,
    shortened,
    text,
    text_width,
)

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60)


def test_element_writes_attributes_and_leaves_out_none() -> None:
    made = element("rect", x=1.0, y=2.345, class_="card", rx=None, text_anchor="end")
    assert made == '<rect x="1" y="2.35" class="card" text-anchor="end"/>'


@given(NAMES, NAMES)
def test_element_any_text_is_text_again_when_parsed(content: str, tip: str) -> None:
    parsed = ElementTree.fromstring(group(text(0, 0, content), tip=tip))
    title = parsed.find("title")
    assert (title.text or "" if title is not None else "") == tip
    found = parsed.find("text")
    assert found is not None
    assert (found.text or "") == content


def test_element_keeps_markup_that_it_made_itself() -> None:
    assert element("g", element("a"), "<b>") == "<g><a/>&lt;b&gt;</g>"


def test_drawing_is_an_image_with_a_title() -> None:
    parsed = ElementTree.fromstring(drawing(100, 50, 'a "label" & more'))
    assert parsed.attrib["role"] == "img"
    assert parsed.attrib["aria-label"] == 'a "label" & more'
    assert parsed.findtext("title") == 'a "label" & more'


def test_svg_is_not_escaped_by_templates_and_plain_text_is() -> None:
    import jinja2

    template = jinja2.Environment(autoescape=True).from_string("{{ drawn }}{{ plain }}")
    assert template.render(drawn=Svg("<g/>"), plain="<g/>") == "<g/>&lt;g/&gt;"


@given(NAMES, st.floats(20, 400))
def test_shortened_text_fits_or_is_only_an_ellipsis(content: str, width: float) -> None:
    cut = shortened(content, width, 10.5)
    assert text_width(cut, 10.5) <= width or cut == "…"
    assert cut == content or cut.endswith("…")


def test_shortened_a_million_characters_is_cut_at_once() -> None:
    assert len(shortened("x" * 10**6, 100, 10)) < 30


def test_diamond_has_four_corners_around_its_middle() -> None:
    assert diamond(10, 20, 3, 4) == "10.0,16.0 13.0,20.0 10.0,24.0 7.0,20.0"
