"""Least squares with coefficients that cannot be negative."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]


def solve_nonnegative(design: Array, target: Array) -> Array:
    """Minimise ``|design @ x - target|`` over ``x >= 0`` by the active-set method [lawson1995].

    Parameters
    ----------
    design : ndarray, shape (num_rows, num_columns), float64
        Columns may differ in scale by many orders; they are brought to unit length first.
    target : ndarray, shape (num_rows,), float64
        What is to be met.

    Returns
    -------
    ndarray, shape (num_columns,), float64
        The minimum. A column of zeros gets 0.
    """
    import numpy as np

    lengths = np.sqrt(np.square(design).sum(axis=0))
    scale = np.where(lengths > 0, lengths, 1.0)
    columns = design / scale
    gram, projection = columns.T @ columns, columns.T @ target
    tolerance = 1e-12 * float(np.abs(projection).max(initial=0.0))
    solution = np.zeros(design.shape[1])
    is_free = np.zeros(design.shape[1], dtype=bool)
    while True:
        gradient = np.where(is_free, -np.inf, projection - gram @ solution)
        candidate = int(gradient.argmax())
        if gradient[candidate] <= tolerance:
            return np.asarray(solution / scale)
        is_free[candidate] = True
        solution = _move(gram, projection, solution, is_free)
        if not is_free[candidate]:  # rounding alone asked for it: the minimum is reached
            return np.asarray(solution / scale)


def _move(gram: Array, projection: Array, solution: Array, is_free: Any) -> Array:
    """Go to the minimum over the free columns, and bind those that would turn negative on the way.

    `is_free` is changed in place.
    """
    import numpy as np

    while True:
        free = np.flatnonzero(is_free)
        wanted = np.zeros_like(solution)
        wanted[free] = np.linalg.lstsq(gram[np.ix_(free, free)], projection[free], rcond=None)[0]
        if (wanted[free] > 0).all():
            return wanted
        blocked = free[wanted[free] <= 0]
        steps = solution[blocked] / (solution[blocked] - wanted[blocked]).clip(1e-300)
        solution = solution + steps.min() * (wanted - solution)
        bound = blocked[steps <= steps.min()]
        is_free[bound] = False
        solution[bound] = 0.0
