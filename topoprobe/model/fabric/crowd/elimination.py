"""Solve many linear equations in which most coefficients are zero, many unknowns at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from topoprobe.model.fabric.crowd.arbiters import Floats, Indices, Mask, sums

SINGULAR = 1e-10
ENOUGH = 0.01  # of the largest number in its row, for a pivot
NUM_DENSE = 400  # equations that are solved at once
SPREAD = 0x9E3779B1  # an odd number: products with it are far apart for numbers that are close


class _Step(NamedTuple):
    """Unknowns that were eliminated together: each is `right` less what it takes of others."""

    pivots: Indices
    rows: Indices
    columns: Indices
    values: Floats


def eliminate(rows: Indices, columns: Indices, values: Floats, right: Floats) -> Floats | None:
    """Solve linear equations whose determinant is not below zero.

    Gaussian elimination. Unknowns that are in no equation of each other's are eliminated together
    [luby1986, saad1996], those first that cost least [markowitz1957]; the last few at once.

    Parameters
    ----------
    rows, columns : ndarray, shape (n,), int64
        Where coefficients are; those in the same place add up. Those on the diagonal are not zero
        if possible.
    values : ndarray, shape (n,), float64
        The coefficients.
    right : ndarray, shape (m,), float64
        The right side of each equation.

    Returns
    -------
    ndarray, shape (m,), float64, or None
        The unknowns; of several solutions one that is small. None if the determinant is below zero.
    """
    num = len(right)
    right = right.copy()
    is_left = np.ones(num, dtype=bool)
    is_positive = True
    steps: list[_Step] = []
    while True:
        keys, group = np.unique(rows * num + columns, return_inverse=True)
        values = sums(group, values, len(keys))
        rows, columns = np.divmod(keys, num)
        pivots = np.zeros(num)
        on_diagonal = rows == columns
        pivots[rows[on_diagonal]] = values[on_diagonal]
        chosen = _chosen(rows, columns, values, pivots, is_left)
        if np.count_nonzero(is_left) <= NUM_DENSE or not chosen.any():
            break
        is_positive ^= bool(np.count_nonzero(pivots[chosen] < 0.0) % 2)
        is_left &= ~chosen
        in_row = np.flatnonzero(chosen[rows] & ~on_diagonal)
        in_column = np.flatnonzero(chosen[columns] & ~on_diagonal)
        row, at, value = rows[in_row], columns[in_row], values[in_row] / pivots[rows[in_row]]
        here = np.flatnonzero(chosen)
        right[here] /= pivots[here]
        steps.append(_Step(here, row, at, value))
        # Each equation with a pivot's unknown gets the pivot's equation instead of it.
        target, of, factor = rows[in_column], columns[in_column], values[in_column]
        right -= sums(target, factor * right[of], num)
        sizes = np.bincount(row, minlength=num)
        times = sizes[of]
        first = np.repeat(np.cumsum(sizes)[of] - times, times)
        index = first + np.arange(len(first)) - np.repeat(np.cumsum(times) - times, times)
        others = np.flatnonzero(~(chosen[rows] | chosen[columns]))
        rows = np.concatenate((rows[others], np.repeat(target, times)))
        columns = np.concatenate((columns[others], at[index]))
        values = np.concatenate((values[others], -np.repeat(factor, times) * value[index]))
    left = np.flatnonzero(is_left)
    number = np.cumsum(is_left) - 1
    matrix = np.zeros((len(left), len(left)))
    matrix[number[rows], number[columns]] = values
    core = _core(matrix, right[left], 1.0 if is_positive else -1.0)
    if core is None:
        return None
    found = np.zeros(num)
    found[left] = core
    for step in reversed(steps):
        taken = sums(step.rows, step.values * found[step.columns], num)
        found[step.pivots] = right[step.pivots] - taken[step.pivots]
    return found


def _core(matrix: Floats, right: Floats, sign: float) -> Floats | None:
    """Solve what is left, whose determinant has to have a sign."""
    found_sign, _ = np.linalg.slogdet(matrix)
    if found_sign == sign:
        found = np.linalg.solve(matrix, right)
        if np.all(np.abs(found) <= np.max(np.abs(right), initial=0.0) / SINGULAR):
            return np.asarray(found)
    found, _, rank, _ = np.linalg.lstsq(matrix, right, rcond=SINGULAR)
    return None if rank == len(matrix) else np.asarray(found)


def _chosen(rows: Indices, columns: Indices, values: Floats, pivots: Floats, is_left: Mask) -> Mask:
    """Choose unknowns to eliminate: each costs less than those with which it shares an equation."""
    num = len(pivots)
    most = np.zeros(num)
    np.maximum.at(most, rows, np.abs(values))
    can = is_left & (np.abs(pivots) > ENOUGH * most)
    cost = (np.bincount(rows, minlength=num) - 1) * (np.bincount(columns, minlength=num) - 1)
    rank = np.full(num, np.inf)
    rank[can] = (cost + (np.arange(num) * SPREAD % 2**32) / 2.0**32)[can]
    near = np.full(num, np.inf)
    others = rows != columns
    np.minimum.at(near, rows[others], rank[columns[others]])
    np.minimum.at(near, columns[others], rank[rows[others]])
    return can & (rank < near)
