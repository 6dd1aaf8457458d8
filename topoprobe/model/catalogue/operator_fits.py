"""What a fitted operator law is as data: its constants, their intervals, their error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OperatorFit:
    """Constants of an operator's roofline on a device, fitted to a published table.

    Attributes
    ----------
    device : str
        Its name in the catalogue of data sheets.
    operator, implementation, dtype : str
        What was timed.
    source : str
        Who timed it.
    num_units, cache_bytes : int, float
        Of the device, as the fit took them.
    constants : mapping of str to tuple of float
        Value and ends of the 95 % interval, by the names of `operators.roofline.UNITS`; those that
        are 0 are left out.
    num_fit_shapes, num_validation_shapes : int
        Shapes fitted on, and others that the errors are of.
    mean_ratio, median_ratio, p90_ratio : float
        Absolute relative errors.
    ranges : mapping of str to tuple of float
        What the fit has seen of columns, flop and bytes.
    """

    device: str
    operator: str
    implementation: str
    dtype: str
    source: str
    num_units: int
    cache_bytes: float
    constants: Mapping[str, tuple[float, float, float]]
    num_fit_shapes: int
    num_validation_shapes: int
    mean_ratio: float
    median_ratio: float
    p90_ratio: float
    ranges: Mapping[str, tuple[float, float]]
