"""What a forward step costs: the fitted coefficients of every model, and how well they held."""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.records.calibration import ModelCost, ModelShape

from .quantity import Quantity, format_percent, quantity
from .section import NEEDS_CALIBRATION, Absent, Documents, not_measured


@dataclass(frozen=True, slots=True)
class CoefficientRow:
    """One coefficient, and the range of its feature that the fit has seen."""

    feature: str
    value: Quantity
    interval: str
    seen: str


@dataclass(frozen=True, slots=True)
class StepCost:
    """The law of one model on one worker."""

    title: str
    shape: str
    rows: tuple[CoefficientRow, ...]
    validation: str


def step_costs(documents: Documents) -> tuple[StepCost, ...] | Absent:
    """Prepare the step-cost law of every model."""
    if documents.calibration is None:
        return NEEDS_CALIBRATION
    found = tuple(_step_cost(cost) for cost in documents.calibration.models)
    return found or not_measured(documents, "The cost of model steps was", ("model",))


def validation_sentence(cost: ModelCost) -> str:
    """Say how the law did on shapes that it was not fitted on."""
    if cost.mean_error_ratio is None or cost.max_error_ratio is None:
        return "Derived from nominal ceilings; no step was measured."
    return (
        f"Fitted on {cost.num_fit_shapes} shapes; on {cost.num_validation_shapes} others it is off "
        f"by {format_percent(cost.mean_error_ratio)} on average and "
        f"{format_percent(cost.max_error_ratio)} at most."
    )


def _step_cost(cost: ModelCost) -> StepCost:
    seen = {one.feature: f"{one.low:,.0f} to {one.high:,.0f}" for one in cost.ranges}
    rows = []
    for coefficient in cost.coefficients:
        value = quantity(coefficient.estimate, coefficient.unit)
        rows.append(
            CoefficientRow(
                feature=coefficient.feature.replace("_", " "),
                value=value,
                interval=value.tip.splitlines()[1].removeprefix("95 % interval "),
                seen=seen.get(coefficient.feature, ""),
            )
        )
    return StepCost(
        title=f"{cost.model.name} ({cost.model.dtype}) on {', '.join(cost.devices)}",
        shape=_shape(cost.model),
        rows=tuple(rows),
        validation=validation_sentence(cost),
    )


def _shape(model: ModelShape) -> str:
    return (
        f"{model.num_layers} layers, hidden {model.hidden_size}, {model.num_heads} heads "
        f"({model.num_kv_heads} for keys and values), MLP {model.intermediate_size}, "
        f"vocabulary {model.vocab_size:,}"
    )
