from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from topoprobe.model.fabric.circles import circles

GRAPHS = st.lists(st.lists(st.integers(0, 7), max_size=4), min_size=8, max_size=8)


def test_circle_that_waits_for_nothing_outside_is_found() -> None:
    assert circles({1: [2], 2: [3], 3: [4], 4: [2]}) == [[2, 3, 4]]


def test_circle_that_waits_for_another_is_not_one_of_them() -> None:
    assert circles({1: [2], 2: [1, 3], 3: [4], 4: [3]}) == [[3, 4]]


def test_node_that_waits_for_nothing_is_a_circle_of_its_own() -> None:
    assert circles({1: [2], 2: [], 3: [2], 4: []}) == [[2], [4]]


@given(GRAPHS)
def test_circles_reach_all_of_themselves_and_nothing_else(rows: list[list[int]]) -> None:
    graph = dict(enumerate(rows))
    reached = {node: _reached(graph, node) for node in graph}
    found = circles(graph)
    # A node is in a circle if all that it reaches reaches it back.
    inside = {node for node in graph if all(node in reached[each] for each in reached[node])}
    assert sorted(node for circle in found for node in circle) == sorted(inside)
    assert all(reached[node] == set(circle) for circle in found for node in circle)


def _reached(graph: dict[int, list[int]], start: int) -> set[int]:
    found, queue = {start}, [start]
    while queue:
        fresh = set(graph[queue.pop()]) - found
        found |= fresh
        queue += fresh
    return found
