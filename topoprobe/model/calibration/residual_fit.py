"""Fitting the interpolator of what a roofline leaves over: how far neighbours resemble each other.

Lengths, variance and noise are those that make the measured residuals most likely [rasmussen2006],
looked for on some hundreds of the points by the sign of each slope [riedmiller1993]. The search may
end on a lesser hill, so where there are enough points it is done on two sets of them, and what
predicts points outside its own set better is kept.
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
    order = np.random.default_rng(seed).permutation(len(residuals))
    lengths, ratio = _best(centred[order], residuals[order] - mean)
    points = centred / lengths
    return Residual(
        lengths=lengths * scale,
        points=points,
        weights=_weights(points, residuals - mean, ratio),
        mean=mean,
    )


def _best(points: Array, residuals: Array) -> tuple[Array, float]:
    """Return lengths and noise of the better of two searches, where there are points for two."""
    import numpy as np

    first, last = slice(0, _MOST_POINTS), slice(-_MOST_POINTS, None)
    if len(points) < 2 * _MOST_POINTS:
        return _likeliest(points[first], residuals[first])
    found = []
    for own, others in ((first, last), (last, first)):
        lengths, ratio = _likeliest(points[own], residuals[own])
        known = points[own] / lengths
        interpolator = Residual(lengths, known, _weights(known, residuals[own], ratio), 0.0)
        error = float(np.abs(interpolator.at(points[others]) - residuals[others]).mean())
        found.append((error, lengths, ratio))
    _, lengths, ratio = min(found, key=lambda each: each[0])
    return lengths, ratio


def _weights(points: Array, residuals: Array, ratio: float) -> Array:
    """Return what each point adds, given points that are divided by the lengths."""
    import numpy as np

    covariance = likeness(squared_distances(points, points))
    covariance[np.diag_indices(len(points))] += ratio + _JITTER
    return np.asarray(np.linalg.solve(covariance, residuals), dtype=np.float64)


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
