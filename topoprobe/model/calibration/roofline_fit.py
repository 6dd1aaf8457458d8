"""Fitting the constants of an operator's roofline to timed shapes.

The law is not linear in its constants, so relative errors are minimised step by step
[marquardt1963]. Constants are exponentials of what is fitted, hence above zero; shares lie between
bounds by a logistic. A weak pull to typical values settles what the shapes do not tell. Large
errors count less than their square, lest a few shapes with another kernel bend the law for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from topoprobe.model.operators.roofline import UNITS, Roofline

if TYPE_CHECKING:
    import numpy as np

    from topoprobe.model.operators.work import Work

    Array = np.ndarray[Any, np.dtype[np.float64]]

_MOST_STEPS = 80
_DIFFERENCE = 1e-5
_LARGE_ERROR = 0.3
_PULL = 0.02

_NAMES = tuple(UNITS)
_SHARPNESS, _SHARE, _CACHE_SHARPNESS = map(_NAMES.index, _NAMES[-3:])
_PER_BYTE, _PER_CACHED_BYTE = _NAMES.index("per_byte"), _NAMES.index("per_cached_byte")
_SOFT, _HARD = 1.0, 8.0
_LEAST_SHARE, _MOST_SHARE = 0.2, 1.5


def fit_roofline(work: Work, seconds: Array) -> Roofline:
    """Find the constants with the least relative errors.

    Parameters
    ----------
    work : Work
        Of the timed shapes.
    seconds : ndarray, shape (num_shapes,), float64
        What each took.
    """
    import numpy as np

    is_used = _used(work)
    start = _start(work, seconds)
    logarithms = np.log(seconds)
    strength = _PULL * np.sqrt(len(seconds))

    def residuals(free: Array) -> Array:
        parameters = start.copy()
        parameters[is_used] = free
        errors = np.log(_roofline(parameters, is_used).seconds(work)) - logarithms
        tamed = errors / np.sqrt(1.0 + np.abs(errors) / _LARGE_ERROR)
        return np.concatenate((tamed, strength * (free - start[is_used]) / 3.0))

    free = minimise(residuals, start[is_used])
    parameters = start.copy()
    parameters[is_used] = free
    return _roofline(parameters, is_used)


def minimise(residuals: Callable[[Array], Array], start: Array) -> Array:
    """Minimise a sum of squares by damped Gauss-Newton steps [marquardt1963].

    Parameters
    ----------
    residuals : callable
        Residuals at parameters, shape (num_parameters,) to shape (num_residuals,).
    start : ndarray, shape (num_parameters,), float64
        Where to begin; no step changes a parameter by more than 1.
    """
    import numpy as np

    parameters, damping = start.copy(), 1e-2
    current = residuals(parameters)
    for _ in range(_MOST_STEPS):
        jacobian = np.stack(
            [
                (residuals(parameters + shift) - current) / _DIFFERENCE
                for shift in _DIFFERENCE * np.eye(len(parameters))
            ],
            axis=1,
        )
        curvature, slope = jacobian.T @ jacobian, jacobian.T @ current
        while True:
            damped = curvature + damping * np.diag(curvature.diagonal() + 1e-9)
            trial = parameters - np.linalg.solve(damped, slope).clip(-1.0, 1.0)
            found = residuals(trial)
            gain = float(current @ current - found @ found)
            if gain > 0 or damping > 1e6:
                break
            damping *= 4
        if gain <= 0:
            return parameters
        is_done = gain < 1e-8 * float(current @ current)
        parameters, current, damping = trial, found, max(damping / 5, 1e-9)
        if is_done:
            break
    return parameters


def _used(work: Work) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell which constants the work has a term for."""
    import numpy as np

    has_cache = work.cache_bytes > 0
    return np.array(
        [
            True, bool(work.is_split.any()), bool(work.num_waves.any()), bool(work.flop.any()),
            True, has_cache, bool(work.num_serial.any()), bool(work.num_unsplit.any()), True,
            has_cache, has_cache,
        ]
    )  # fmt: skip


def _start(work: Work, seconds: Array) -> Array:
    """Return typical values: each term alone explains the shapes that it takes the most part of."""
    import numpy as np

    def rate(amount: Array) -> float:
        return float(np.log(np.quantile(seconds / np.maximum(amount, 1e-9), 0.02)))

    overhead = float(np.log(0.7 * np.quantile(seconds, 0.02)))
    return np.array(
        [
            overhead, overhead - 1.0, overhead - 1.5, rate(work.flop), rate(work.num_bytes), 0.0,
            rate(work.num_serial) - 1.0, rate(work.num_unsplit) - 1.0, -0.5, 0.0, -0.5,
        ]
    )  # fmt: skip


def _roofline(parameters: Array, is_used: np.ndarray[Any, np.dtype[np.bool_]]) -> Roofline:
    import numpy as np

    values = np.exp(parameters)
    shares = 1.0 / (1.0 + np.exp(-parameters))
    values[_PER_CACHED_BYTE] = shares[_PER_CACHED_BYTE] * values[_PER_BYTE]
    for index in (_SHARPNESS, _CACHE_SHARPNESS):
        values[index] = _SOFT + (_HARD - _SOFT) * shares[index]
    values[_SHARE] = _LEAST_SHARE + (_MOST_SHARE - _LEAST_SHARE) * shares[_SHARE]
    return Roofline(*(float(value) for value in np.where(is_used, values, 0.0)))
