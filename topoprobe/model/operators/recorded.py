"""Operator laws as a calibration document holds them."""

from __future__ import annotations

from topoprobe.errors import ModelError
from topoprobe.model.operators.law import OperatorLaw
from topoprobe.model.operators.roofline import UNITS, Roofline
from topoprobe.model.operators.work import (
    COLLECTIVES,
    DECODE_ATTENTION,
    GEMM,
    PREFILL_ATTENTION,
    Operator,
    Processor,
)
from topoprobe.records.calibration import OperatorCost

OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (GEMM, PREFILL_ATTENTION, DECODE_ATTENTION, *COLLECTIVES)
}
"""All kinds of operators by name."""


def law_of(cost: OperatorCost) -> OperatorLaw:
    """Read the law of an operator; a constant that is not given is 0.

    Raises
    ------
    ModelError
        If the operator or a constant is not known, or a constant is negative.
    """
    operator = OPERATORS.get(cost.operator)
    if operator is None:
        raise ModelError(
            f"The calibration has a law of {cost.operator!r}; expected one of "
            f"{', '.join(OPERATORS)}: calibrate with this version."
        )
    values = {each.feature: each.estimate.value for each in cost.coefficients}
    units = {each.feature: each.unit for each in cost.coefficients}
    is_known = all(UNITS.get(name) == unit for name, unit in units.items())
    if not (values and is_known and min(values.values()) >= 0):
        found = ", ".join(f"{name} ({unit})" for name, unit in units.items()) or "none"
        raise ModelError(
            f"The law of {cost.operator} has the constants {found}; expected some of "
            f"{', '.join(UNITS)}, in their units and not negative: calibrate it again."
        )
    ranges = {each.feature: (each.low, each.high) for each in cost.ranges}
    strange = set(ranges) - {*operator.columns, "flop", "num_bytes"}
    if strange:
        raise ModelError(
            f"The law of {cost.operator} has a range of {', '.join(sorted(strange))}; expected "
            f"{', '.join(operator.columns)}, flop and num_bytes: calibrate it again."
        )
    return OperatorLaw(
        operator=operator,
        processor=Processor(num_units=cost.num_units, cache_bytes=cost.cache_bytes),
        roofline=Roofline(*(values.get(name, 0.0) for name in UNITS)),
        residual=None,
        ranges=ranges,
    )
