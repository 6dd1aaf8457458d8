"""Circles of things that wait for each other, and for nothing else."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def circles(waits: Mapping[Node, Iterable[Node]]) -> list[list[Node]]:
    """Find the circles that wait for nothing outside.

    They are the strongly connected components without a way out [tarjan1972].

    Parameters
    ----------
    waits : mapping of node to iterable of nodes
        For what each node waits.

    Returns
    -------
    list of list of nodes
        One at least; a node that waits for nothing is a circle of its own.
    """
    order: dict[Node, int] = {}
    lowest: dict[Node, int] = {}
    done: set[Node] = set()
    stack: list[Node] = []
    found: list[list[Node]] = []
    for start in waits:
        if start in order:
            continue
        path: list[tuple[Node, Iterator[Node]]] = []

        def enter(node: Node, path: list[tuple[Node, Iterator[Node]]] = path) -> None:
            order[node] = lowest[node] = len(order)
            stack.append(node)
            path.append((node, iter(waits[node])))

        enter(start)
        while path:
            node, rest = path[-1]
            onward = next((each for each in rest if each not in done), None)
            if onward is not None:
                if onward not in order:
                    enter(onward)
                lowest[node] = min(lowest[node], order[onward])
                continue
            path.pop()
            if path:
                above = path[-1][0]
                lowest[above] = min(lowest[above], lowest[node])
            if lowest[node] == order[node]:
                begin = stack.index(node)
                circle = stack[begin:]
                del stack[begin:]
                if not any(each in done for inside in circle for each in waits[inside]):
                    found.append(circle)
                done.update(circle)
    return found
