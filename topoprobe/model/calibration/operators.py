"""The cost law of an operator, fitted to a table of timed shapes, and its error on others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from topoprobe.errors import ModelError
from topoprobe.model.calibration.residual_fit import fit_residual
from topoprobe.model.calibration.roofline_fit import fit_roofline
from topoprobe.model.operators.law import OperatorLaw, extents
from topoprobe.model.operators.roofline import UNITS
from topoprobe.model.operators.work import Operator, Processor

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]
    Indices = np.ndarray[Any, np.dtype[np.intp]]

LEAST_POINTS = 2 * len(UNITS)
"""Fewer do not settle the constants."""


@dataclass(frozen=True, slots=True, eq=False)
class OperatorTable:
    """Timed shapes of one operator on one kind of device.

    Attributes
    ----------
    operator : Operator
        What was timed.
    processor : Processor
        Where.
    shapes : mapping of str to ndarray, shape (num_shapes,), float64
        The operator's columns.
    seconds : ndarray, shape (num_shapes,), float64
        The time of one call.
    """

    operator: Operator
    processor: Processor
    shapes: Mapping[str, Array]
    seconds: Array

    def only(self, indices: Indices) -> OperatorTable:
        """Return the table of some shapes."""
        return OperatorTable(
            operator=self.operator,
            processor=self.processor,
            shapes={column: values[indices] for column, values in self.shapes.items()},
            seconds=self.seconds[indices],
        )


@dataclass(frozen=True, slots=True)
class Errors:
    """Absolute relative errors on shapes that the fit has not seen."""

    num_shapes: int
    mean_ratio: float
    median_ratio: float
    p90_ratio: float


def fit_operator(table: OperatorTable, *, seed: int = 0) -> OperatorLaw:
    """Fit roofline and residual.

    Parameters
    ----------
    table : OperatorTable
        The timed shapes, all of which are used.
    seed : int
        Of the choice of points for the residual's lengths.

    Raises
    ------
    ModelError
        If there are too few shapes, or times that are not above zero.
    """
    import numpy as np

    roofline_law = fit_constants(table)
    work = table.operator.work(table.shapes, table.processor)
    left = np.log(table.seconds / roofline_law.roofline.seconds(work))
    return OperatorLaw(
        operator=table.operator,
        processor=table.processor,
        roofline=roofline_law.roofline,
        residual=fit_residual(work.coordinates, left, seed=seed),
        ranges=roofline_law.ranges,
    )


def fit_constants(table: OperatorTable) -> OperatorLaw:
    """Fit the roofline alone: the law without a residual.

    Raises
    ------
    ModelError
        If there are too few shapes, or times that are not above zero.
    """
    import numpy as np

    name, num_shapes = table.operator.name, len(table.seconds)
    if num_shapes < LEAST_POINTS:
        raise ModelError(
            f"The table of {name} has {num_shapes} timed shapes; expected at least {LEAST_POINTS} "
            "to fit its law."
        )
    if not (np.isfinite(table.seconds) & (table.seconds > 0)).all():
        raise ModelError(f"The table of {name} has times that are not above zero; leave them out.")
    work = table.operator.work(table.shapes, table.processor)
    return OperatorLaw(
        operator=table.operator,
        processor=table.processor,
        roofline=fit_roofline(work, table.seconds),
        residual=None,
        ranges={
            name: (float(values.min()), float(values.max()))
            for name, values in extents(table.shapes, work).items()
        },
    )


def errors_of(law: OperatorLaw, table: OperatorTable) -> Errors:
    """Compare a law with timed shapes."""
    import numpy as np

    errors = np.abs(law.predict(table.shapes).seconds / table.seconds - 1.0)
    return Errors(
        num_shapes=len(errors),
        mean_ratio=float(errors.mean()),
        median_ratio=float(np.median(errors)),
        p90_ratio=float(np.quantile(errors, 0.9)),
    )
