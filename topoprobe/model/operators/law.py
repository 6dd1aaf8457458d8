"""The cost law of an operator: its roofline, times what is left over, and where that holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from topoprobe.errors import ModelError
from topoprobe.model.operators.work import Operator, Processor, Shapes, Work

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

    from topoprobe.model.operators.residual import Residual
    from topoprobe.model.operators.roofline import Roofline

    Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What shapes of an operator will take.

    Attributes
    ----------
    seconds : ndarray, shape (num_shapes,), float64
        The time of one call.
    is_extrapolated : ndarray, shape (num_shapes,), bool
        Whether the shape lies beyond what the law was fitted on.
    """

    seconds: Array
    is_extrapolated: np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class OperatorLaw:
    """The cost of one kind of operator on one kind of device.

    Attributes
    ----------
    operator : Operator
        What is predicted.
    processor : Processor
        Where it runs.
    roofline : Roofline
        The physical part.
    residual : Residual or None
        What interpolates between measured shapes; None where only the constants are known.
    ranges : mapping of str to tuple of float
        Least and most that the fit has seen of each column, and of ``flop`` and ``num_bytes``.
    """

    operator: Operator
    processor: Processor
    roofline: Roofline
    residual: Residual | None
    ranges: Mapping[str, tuple[float, float]]

    def predict(self, shapes: Mapping[str, ArrayLike]) -> Prediction:
        """Predict calls of the operator.

        Parameters
        ----------
        shapes : mapping of str to array_like, shape (num_shapes,)
            The operator's columns; numbers stand for one shape.

        Raises
        ------
        ModelError
            If a column is missing, not a number, or holds a size below 0, or below 1 but for
            ``window``.
        """
        import numpy as np

        columns = dict(zip(self.operator.columns, self._columns(shapes), strict=True))
        work = self.operator.work(columns, self.processor)
        seconds = self.roofline.seconds(work)
        if self.residual is not None:
            seconds = seconds * np.exp(self.residual.at(work.coordinates))
        beyond = np.zeros(len(seconds), dtype=bool)
        amounts = extents(columns, work)
        for name, (low, high) in self.ranges.items():
            beyond |= (amounts[name] < low) | (amounts[name] > high)
        return Prediction(seconds=seconds, is_extrapolated=beyond)

    def _columns(self, shapes: Mapping[str, ArrayLike]) -> list[Array]:
        import numpy as np

        name, wanted = self.operator.name, self.operator.columns
        missing = [column for column in wanted if column not in shapes]
        if missing:
            raise ModelError(
                f"A shape of {name} has {', '.join(wanted)}; {', '.join(missing)} is missing."
            )
        given = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(shapes[column], dtype=np.float64)) for column in wanted)
        )
        for column, values in zip(wanted, given, strict=True):
            least = 0.0 if column == "window" else 1.0
            is_size = np.isfinite(values) & (values >= least)
            if not is_size.all():
                raise ModelError(
                    f"The {column} of {name} is {values[~is_size][0]:g}; expected numbers of at "
                    f"least {least:g}."
                )
        return list(given)


def extents(columns: Shapes, work: Work) -> dict[str, Array]:
    """Return what a law's ranges are of: the columns of shapes, their flop and their bytes."""
    return {**columns, "flop": work.flop, "num_bytes": work.num_bytes}
