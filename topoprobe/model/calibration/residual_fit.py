"""Fitting the interpolator of what a roofline leaves over: how far neighbours resemble each other.

Lengths, variance and noise are those that make the measured residuals most likely [rasmussen2006],
looked for on some hundreds of the points by the sign of each slope [riedmiller1993].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from topoprobe.model.operators.residual import Residual, likeness, squared_distances

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

_MOST_POINTS = 500
_NUM_STEPS = 45
_LOG_BOUNDS = (-14.0, 6.0)
_JITTER = 1e-8


def fit_residual(coordinates: Array, residuals: Array, *, seed: int) -> Residual:
    """Fit the interpolator.

    Parameters
    ----------
    coordinates : ndarray, shape (num_points, num_coordinates), float64
        Where the points lie.
    residuals : ndarray, shape (num_points,), float64
        Logarithm of measured by predicted time.
    seed : int
        Chooses the points by which lengths and noise are found.
    """
    import numpy as np

    spread = coordinates.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    centred = coordinates / scale
    mean = float(residuals.mean())
    chosen = np.random.default_rng(seed).permutation(len(residuals))[:_MOST_POINTS]
    lengths, ratio = _likeliest(centred[chosen], residuals[chosen] - mean)
    points = centred / lengths
    covariance = likeness(squared_distances(points, points))
    covariance[np.diag_indices(len(points))] += ratio + _JITTER
    return Residual(
        lengths=lengths * scale,
        points=points,
        weights=np.asarray(np.linalg.solve(covariance, residuals - mean), dtype=np.float64),
        mean=mean,
    )


def _likeliest(points: Array, residuals: Array) -> tuple[Array, float]:
    """Return the lengths, and the noise as share of the variance."""
    import numpy as np

    num_axes = points.shape[1]
    variance = max(float(residuals.var()), 1e-12)
    parameters = np.array(
        [np.log(variance), *[np.log(1.0 + 0.3 * num_axes)] * num_axes, np.log(0.05 * variance)]
    )
    steps, before = np.full(len(parameters), 0.2), np.zeros(len(parameters))
    for _ in range(_NUM_STEPS):
        slope = _slope(parameters, points, residuals)
        agreement = np.sign(slope) * np.sign(before)
        steps *= np.select([agreement > 0, agreement < 0], [1.2, 0.5], 1.0)
        steps = steps.clip(1e-4, 0.6)
        slope = np.where(agreement < 0, 0.0, slope)
        parameters = (parameters - np.sign(slope) * steps).clip(*_LOG_BOUNDS)
        before = slope
    return np.exp(parameters[1:-1]), float(np.exp(parameters[-1] - parameters[0]))


def _slope(parameters: Array, points: Array, residuals: Array) -> Array:
    """Return the gradient of the negative log likelihood by the logarithms of all parameters."""
    import numpy as np

    variance, noise = np.exp(parameters[0]), np.exp(parameters[-1])
    scaled = points / np.exp(parameters[1:-1])
    squared = squared_distances(scaled, scaled)
    alike = variance * likeness(squared)
    covariance = alike.copy()
    covariance[np.diag_indices(len(points))] += noise + _JITTER * variance
    inverse = np.linalg.inv(covariance)
    weights = inverse @ residuals
    pull = 0.5 * (inverse - np.outer(weights, weights))
    # d likeness / d squared = -3/2 exp(-sqrt(3 squared)); squared falls by 2 per log of a length.
    bend = pull * (3.0 * variance * np.exp(-np.sqrt(3.0 * squared)))
    by_length = 2 * (bend.sum(axis=1) @ np.square(scaled)) - 2 * np.einsum(
        "ic,ic->c", scaled, bend @ scaled
    )
    return np.concatenate(([float((pull * alike).sum())], by_length, [float(noise * pull.trace())]))
