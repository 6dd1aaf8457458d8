"""Drawings put marks where the numbers say."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from tests.reports import sample
from topoprobe.records.calibration import LinkCalibration
from topoprobe.records.machine import Link, LinkKind
from topoprobe.reports.contention import Sharing, sharing
from topoprobe.reports.drawing.bars import Bar, BarGroup, draw_bars
from topoprobe.reports.drawing.heatmap import Cell, draw_heatmap
from topoprobe.reports.drawing.plot import Axis, Curve, Point, draw_plot, frame
from topoprobe.reports.drawing.scale import linear
from topoprobe.reports.drawing.strip import Dot, draw_error, draw_samples
from topoprobe.reports.drawing.timeline import Lane, Step, draw_timeline
from topoprobe.reports.links import LinkBook
from topoprobe.reports.section import Documents


def parse(drawing: str) -> Element:
    return ElementTree.fromstring(drawing)


def of_class(drawing: Element, name: str) -> list[Element]:
    return [one for one in drawing.iter() if name in (one.get("class") or "").split()]


def number(one: Element, name: str) -> float:
    return float(one.attrib[name])


def test_bars_are_as_long_as_their_numbers() -> None:
    bars = (
        Bar("one", "1", 1.0, behind=4.0, tip="tip of one"),
        Bar("two", "2", 2.0, low=1.5, high=3.0),
    )
    drawing = parse(draw_bars("label", [BarGroup("group", bars)]))
    behind, first, second = of_class(drawing, "bar")
    assert number(second, "width") == pytest.approx(2 * number(first, "width"), abs=0.02)
    assert number(behind, "width") == pytest.approx(4 * number(first, "width"), abs=0.04)
    whisker = of_class(drawing, "whisker")[0]
    start, unit = number(second, "x"), number(first, "width")
    assert number(whisker, "x1") == pytest.approx(start + 1.5 * unit, abs=0.02)
    assert number(whisker, "x2") == pytest.approx(start + 3.0 * unit, abs=0.02)
    assert [one.text for one in drawing.iter("title")] == ["label", "tip of one", "two: 2"]


def test_bars_of_nothing_are_an_empty_drawing() -> None:
    assert of_class(parse(draw_bars("label", [])), "bar") == []
    zero = parse(draw_bars("label", [BarGroup("", (Bar("a", "0", 0.0),))]))
    assert number(of_class(zero, "bar")[0], "width") == 0


def test_fairness_bars_show_the_share_of_the_solo_rate() -> None:
    payload = sharing(Documents(calibration=sample.vm_calibration()))
    assert isinstance(payload, tuple)
    (one,) = payload
    assert isinstance(one, Sharing)
    assert one.fairness is not None
    drawing = parse(one.fairness)
    behind = of_class(drawing, "behind")
    front = [bar for bar in of_class(drawing, "bar") if bar not in behind]
    shares = [number(a, "width") / number(b, "width") for a, b in zip(front, behind, strict=True)]
    assert shares == pytest.approx([0.44, 0.31, 0.52, 0.47], abs=0.001)


@pytest.mark.parametrize(
    ("forward", "back", "health"),
    [(54e9, 52e9, "good"), (54e9, 45e9, "fair"), (20e9, 54e9, "poor"), (None, None, "unmeasured")],
)
def test_link_is_as_healthy_as_its_slower_direction(
    forward: float | None, back: float | None, health: str
) -> None:
    link = Link(
        id="l", kind=LinkKind.PCIE, a="a", b="b", wire="w", nominal=sample.GEN5_X16,
        current=sample.GEN1_X16,
    )  # fmt: skip
    measured = LinkCalibration(
        link="l",
        a_to_b_bytes_per_s=None if forward is None else sample.measured(forward),
        b_to_a_bytes_per_s=None if back is None else sample.measured(back),
    )
    assert LinkBook({}, {"l": measured}).health(link) == health


def test_link_of_which_only_data_sheets_tell_counts_as_unmeasured() -> None:
    link = Link(id="l", kind=LinkKind.PCIE, a="a", b="b", wire="w", nominal=sample.GEN5_X16)
    told = LinkCalibration(link="l", a_to_b_bytes_per_s=sample.nominal(63e9))
    book = LinkBook({}, {"l": told})
    assert (book.health(link), book.rate(link)) == ("unmeasured", None)
    assert book.tip(link).endswith("not measured")


def test_plot_points_and_whiskers_lie_on_the_axes_scales() -> None:
    (x_start, x_end), (y_start, y_end) = frame()
    point = Point(5.0, 50.0, "here", y_interval=(-10.0, 75.0))
    drawing = parse(
        draw_plot(
            "label",
            [Curve("name", (point,))],
            linear(10.0, x_start, x_end),
            linear(100.0, y_start, y_end),
            x_axis=Axis("x", str),
            y_axis=Axis("y", str),
        )
    )
    dot = of_class(drawing, "dot")[0]
    assert number(dot, "cx") == pytest.approx((x_start + x_end) / 2, abs=0.01)
    assert number(dot, "cy") == pytest.approx((y_start + y_end) / 2, abs=0.01)
    (whisker,) = of_class(drawing, "whisker")
    assert number(whisker, "y1") == y_start  # cut at the frame
    assert number(whisker, "y2") == pytest.approx(y_start + 0.75 * (y_end - y_start), abs=0.01)


def test_heatmap_prints_numbers_and_slants_names_that_do_not_fit() -> None:
    cells = [[Cell("1.00", 0, "a"), Cell("2.00", 4, "b")], [Cell("", None, "c"), Cell("9", 7, "d")]]

    def draw(names: list[str]) -> Element:
        return parse(
            draw_heatmap(
                "label", names, cells, row_title="r", column_title="c", legend=("low", "high")
            )
        )

    short = draw(["a", "b"])
    assert [one.text for one in of_class(short, "ink")] == ["1.00", "2.00", "9"]
    assert not any("rotate(-40)" in (one.get("transform") or "") for one in short.iter())
    long = draw(["a rather long name", "another rather long name"])
    assert sum("rotate(-40)" in (one.get("transform") or "") for one in long.iter()) == 2


def test_samples_span_their_range_and_mark_warmups() -> None:
    drawing = parse(draw_samples("label", [Dot(1.0, "first", is_faint=True), Dot(3.0, "last")]))
    first, last = of_class(drawing, "sample")
    assert number(first, "cy") > number(last, "cy")
    assert "faint" in first.attrib["class"]
    equal = of_class(parse(draw_samples("label", [Dot(2.0, ""), Dot(2.0, "")])), "sample")
    assert number(equal[0], "cy") == number(equal[1], "cy") == 11


def test_error_strip_puts_the_prediction_on_its_side_of_the_measurement() -> None:
    def middle_of_guess(ratio: float) -> float:
        strip = draw_error("l", [Dot(1.0, "")], Dot(ratio, ""), 0.2, is_within=True, width=210)
        (guess,) = of_class(parse(strip), "guess")
        return float(guess.attrib["points"].split(",")[0])

    assert middle_of_guess(1.0) == 105
    assert middle_of_guess(1.2) == 105 + 97
    assert middle_of_guess(0.9) == pytest.approx(105 - 48.5)


def test_timeline_lanes_and_steps_share_one_axis() -> None:
    drawing = parse(
        draw_timeline(
            "label",
            [Lane(((0.0, 1.0, "lane waiting"), (1.0, 4.0, "lane decode")), "request")],
            [Step(1.0, 2.0, 3.0, True, "s"), Step(2.0, 4.0, 6.0, False, "t")],
            format_time=str,
        )
    )
    waiting, decode = of_class(drawing, "lane")
    prefill, plain = of_class(drawing, "step")
    assert number(decode, "width") == pytest.approx(3 * number(waiting, "width"), abs=0.05)
    assert number(prefill, "x") == pytest.approx(number(decode, "x"), abs=0.02)
    assert number(plain, "height") == pytest.approx(2 * number(prefill, "height"), abs=0.02)
