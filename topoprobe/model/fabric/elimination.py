"""Solve linear equations in which most coefficients are zero."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

SINGULAR = 1e-10
ENOUGH = 0.01  # of the largest number in its row, for a pivot on the diagonal
NUM_FEW = 24  # equations whose order is not worth a thought


def eliminate(rows: Sequence[dict[int, float]], right: Sequence[float]) -> list[float] | None:
    """Solve linear equations whose determinant is above zero.

    Gaussian elimination; if there are many, of the row next that costs least [markowitz1957].

    Parameters
    ----------
    rows : sequence of dict of int to float
        The coefficients of each equation that are not zero, by unknown; about 1, and those on the
        diagonal not zero if possible. Changed on the way.
    right : sequence of float
        The right side of each equation.

    Returns
    -------
    list of float or None
        The unknowns; None if there is no one solution, or the determinant is below zero.
    """
    right = list(right)
    pivots: list[tuple[int, int]] = []
    is_positive = True
    users = _users(rows)
    for index in _cheapest(rows, users) if len(rows) > NUM_FEW else range(len(rows)):
        row = rows[index]
        column = _pivot(row, index)
        pivot = row.get(column, 0.0)
        if not abs(pivot) > SINGULAR:
            return None
        is_positive ^= pivot < 0.0
        pivots.append((index, column))
        for each in row:
            users[each].discard(index)
        if users[column]:
            del row[column]
            for other in users[column]:
                target = rows[other]
                factor = target.pop(column) / pivot
                right[other] -= factor * right[index]
                for each, value in row.items():
                    if each in target:
                        target[each] -= factor * value
                    else:
                        target[each] = -factor * value
                        users[each].add(other)
            row[column] = pivot
    if not is_positive ^ _is_odd(pivots):
        return None
    found = [0.0] * len(rows)
    for index, column in reversed(pivots):
        row = rows[index]
        pivot = row.pop(column)
        total = right[index]
        for each, value in row.items():
            total -= value * found[each]
        found[column] = total / pivot
    return found


def _users(rows: Sequence[dict[int, float]]) -> list[set[int]]:
    """For each unknown, the equations that it is in."""
    users: list[set[int]] = [set() for _ in rows]
    for index, row in enumerate(rows):
        for column in row:
            users[column].add(index)
    return users


def _cheapest(rows: Sequence[dict[int, float]], users: Sequence[set[int]]) -> Iterator[int]:
    """Yield rows in the order in which eliminating them takes least, as they change."""
    is_left = [True] * len(rows)
    queue = [(len(row) * len(users[index]), index) for index, row in enumerate(rows)]
    heapify(queue)
    while queue:
        cost, index = heappop(queue)
        if not is_left[index]:
            continue
        now = len(rows[index]) * len(users[index])
        if now > cost:
            heappush(queue, (now, index))
            continue
        is_left[index] = False
        near = {*users[index], *rows[index]}
        yield index
        for each in near:
            if is_left[each]:
                heappush(queue, (len(rows[each]) * len(users[each]), each))


def _pivot(row: Mapping[int, float], diagonal: int) -> int:
    """Choose the unknown that a row is solved for."""
    if len(row) == 1:
        return next(iter(row))
    most = max(row, key=lambda each: abs(row[each]), default=diagonal)
    enough = ENOUGH * abs(row.get(most, 0.0))
    return diagonal if abs(row.get(diagonal, 0.0)) > enough else most


def _is_odd(pairs: Iterable[tuple[int, int]]) -> bool:
    """Whether a permutation is made by an odd number of swaps."""
    to = {one: other for one, other in pairs if one != other}
    is_odd = False
    while to:
        one, other = to.popitem()
        while other != one:
            is_odd = not is_odd
            other = to.pop(other)
    return is_odd
