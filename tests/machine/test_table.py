"""Tables that continue below when the terminal is narrow, and lists in columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.machine.table import Column, clip, draw_table, side_by_side

ROWS = ("GPU0", "GPU1")


def columns(prefix: str, number: int) -> list[Column]:
    return [Column(f"{prefix}{i}", ("SYS", "PIX")) for i in range(number)]


def heads(lines: list[str]) -> list[list[str]]:
    """Return the column names of each block."""
    return [line.split() for line in lines if line and not line.startswith("GPU")]


def test_groups_that_fit_stand_beside_each_other_a_little_apart() -> None:
    lines = draw_table(ROWS, [columns("A", 2), columns("B", 1)], 40)
    assert lines == ["     A0  A1   B0", "GPU0 SYS SYS  SYS", "GPU1 PIX PIX  PIX"]


def test_group_that_does_not_fit_starts_below() -> None:
    lines = draw_table(ROWS, [columns("A", 2), columns("B", 2)], 20)
    assert heads(lines) == [["A0", "A1"], ["B0", "B1"]]
    assert lines[3] == ""


def test_group_wider_than_the_terminal_is_split_evenly() -> None:
    lines = draw_table(ROWS, [columns("A", 10)], 4 + 4 * 8)
    assert heads(lines) == [[f"A{i}" for i in range(5)], [f"A{i}" for i in range(5, 10)]]


def test_empty_group_takes_no_room() -> None:
    assert draw_table(ROWS, [columns("A", 1), [], columns("B", 1)], 40)[0] == "     A0   B0"


@given(
    st.lists(st.lists(st.text("abc", min_size=1, max_size=30), max_size=9), min_size=1, max_size=4),
    st.integers(10, 120),
)
def test_no_column_is_lost_and_no_line_too_long(names: list[list[str]], width: int) -> None:
    groups = [[Column(name, ("1", "2")) for name in group] for group in names]
    lines = draw_table(ROWS, groups, width)
    assert all(len(line) <= width and line == line.rstrip() for line in lines)
    if all(len(name) < width - 7 for group in names for name in group):
        assert [n for head in heads(lines) for n in head] == [n for group in names for n in group]


def test_items_are_read_downwards() -> None:
    assert side_by_side(["a", "b", "c", "d", "e"], 12) == ["a   c   e", "b   d"]
    assert side_by_side(["long word", "b"], 5) == ["long…", "b"]
    assert side_by_side([], 80) == []


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("a cd", 3, "a…"), ("a\nb", 9, "a b"), ("ab", 0, "…")],
)
def test_cut_is_marked(text: str, width: int, expected: str) -> None:
    assert clip(text, width) == expected
