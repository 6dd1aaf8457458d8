"""What the roofline leaves over, interpolated between the shapes that were measured.

The logarithm of measured by predicted time is a smooth function of the shape's coordinates with
some noise: kriging, that is, the mean of a Gaussian process, weighs the measured points by how
near they are along each axis [rasmussen2006]. Far from all points it returns to their average, so
beyond the measured range the roofline alone extrapolates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

_CHUNK = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """An interpolator through measured points.

    Attributes
    ----------
    lengths : ndarray, shape (num_coordinates,), float64
        Distance along each axis over which neighbours resemble each other.
    points : ndarray, shape (num_points, num_coordinates), float64
        Coordinates of the measured points, divided by the lengths.
    weights : ndarray, shape (num_points,), float64
        What each point adds, per unit of likeness.
    mean : float
        Average of the residual, returned to far from all points.
    """

    lengths: Array
    points: Array
    weights: Array
    mean: float

    def at(self, coordinates: Array) -> Array:
        """Return the residual at coordinates.

        Parameters
        ----------
        coordinates : ndarray, shape (num_shapes, num_coordinates), float64
            Where.

        Returns
        -------
        ndarray, shape (num_shapes,), float64
            Logarithm of measured by predicted time.
        """
        import numpy as np

        scaled = coordinates / self.lengths
        found = np.empty(len(scaled))
        for start in range(0, len(scaled), _CHUNK):  # bounds the memory of the likenesses
            part = slice(start, start + _CHUNK)
            found[part] = likeness(squared_distances(scaled[part], self.points)) @ self.weights
        return found + self.mean


def squared_distances(a: Array, b: Array) -> Array:
    """Return the squared distance of each row of `a` to each row of `b`."""
    import numpy as np

    products = a @ b.T
    products *= -2
    products += np.square(a).sum(axis=1)[:, None]
    products += np.square(b).sum(axis=1)
    return np.asarray(np.maximum(products, 0.0, out=products))


def likeness(squared: Array) -> Array:
    """Return the Matern covariance of smoothness 3/2 at squared distances, 1 at 0."""
    import numpy as np

    root = np.sqrt(3.0 * squared)
    return np.asarray((1.0 + root) * np.exp(-root))
