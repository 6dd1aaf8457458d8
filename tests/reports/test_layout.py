"""Where nested boxes go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from topoprobe.reports.drawing.layout import CARD_MAX, Box, Placed, Wire, place

KINDS = ("gpu", "nic", "nvme", "other")


def card(number: int, kind: str = "gpu") -> Box:
    return Box(id=f"{kind}{number}", kind=kind, title=f"{kind} {number}", lines=("one", "two"))


def frame(name: str, *children: Box, wire: Wire | None = None) -> Box:
    return Box(
        id=name, kind="pcie_switch", title=name, children=children, is_container=True, wire=wire
    )


def trees() -> st.SearchStrategy[Box]:
    cards = st.builds(card, st.integers(0, 99), st.sampled_from(KINDS))
    return st.recursive(
        cards,
        lambda inner: st.lists(inner, max_size=5).map(lambda boxes: frame("frame", *boxes)),
        max_leaves=24,
    )


def contains(outer: Placed, inner: Placed) -> bool:
    return (
        inner.x >= outer.x
        and inner.y >= outer.y
        and inner.x + inner.width <= outer.x + outer.width + 0.01
        and inner.y + inner.height <= outer.y + outer.height + 0.01
    )


def overlap(a: Placed, b: Placed) -> bool:
    apart_x = a.x + a.width <= b.x + 0.01 or b.x + b.width <= a.x + 0.01
    apart_y = a.y + a.height <= b.y + 0.01 or b.y + b.height <= a.y + 0.01
    return not (apart_x or apart_y)


@given(st.lists(trees(), min_size=1, max_size=6))
def test_boxes_stay_inside_and_apart(boxes: list[Box]) -> None:
    placed, _, height = place(boxes, 1240.0)
    groups = [placed, *(one.inside for outer in placed for one in outer.walk())]
    for siblings in groups:
        for index, one in enumerate(siblings):
            assert not any(overlap(one, other) for other in siblings[index + 1 :])
    for outer in placed:
        assert outer.y + outer.height <= height + 0.01
        for one in outer.walk():
            assert all(contains(one, inner) for inner in one.inside)


@given(st.lists(trees(), min_size=1, max_size=6))
def test_every_box_is_placed_once(boxes: list[Box]) -> None:
    def count(box: Box) -> int:
        return 1 + sum(count(child) for child in box.children if box.is_container)

    placed, _, _ = place(boxes, 1240.0)
    assert sum(len(one.walk()) for one in placed) == sum(map(count, boxes))


def test_two_gpus_of_a_switch_stand_side_by_side() -> None:
    (switch,), _, _ = place([frame("switch", card(0), card(1))], 320.0)
    first, second = switch.inside
    assert first.y == second.y
    assert first.width == second.width


def test_kinds_get_rows_of_their_own_where_there_is_no_room_for_one_row() -> None:
    cards = [card(0), card(0, "nic"), card(1), card(1, "nic")]
    (switch,), _, _ = place([frame("switch", *cards)], 320.0)
    rows: dict[float, set[str]] = {}
    for one in switch.inside:
        rows.setdefault(one.y, set()).add(one.box.kind)
    assert sorted(map(sorted, rows.values())) == [["gpu"], ["nic"]]


def test_cards_do_not_grow_beyond_their_largest_width() -> None:
    (only,), used, _ = place([card(0)], 1240.0)
    assert only.width == used == CARD_MAX


def test_wire_text_breaks_into_lines_where_the_card_is_narrow() -> None:
    wire = Wire(("x16 Gen5", "54.6 GB/s"), "", "good")
    assert wire.lines(220.0) == ("x16 Gen5 · 54.6 GB/s",)
    assert wire.lines(120.0) == ("x16 Gen5", "54.6 GB/s")


def test_containers_with_links_leave_room_for_them() -> None:
    wired = frame("switch", card(0), wire=Wire(("x16",), "", "good"))
    (with_link,), _, _ = place([wired], 400.0)
    (without,), _, _ = place([frame("switch", card(0))], 400.0)
    assert with_link.y > without.y
