"""The step-cost law of a model, fitted to single steps that were timed, and checked on others.

The law of `topoprobe.model.cost` is linear in its coefficients but for one maximum,
``max(per_token * T, stream)``. With ``stream = per_token * K`` it is ``per_token * max(T, K)``: for
a given knee K, the number of tokens at which the matrix products turn from reading weights to
arithmetic, the rest is a non-negative least-squares problem [lawson1995]. So every knee that the
shapes can tell apart is tried, and the best is kept. Errors are relative: a step of 5 ms counts as
much as one of 50.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from topoprobe.errors import ModelError
from topoprobe.model.calibration.nonnegative import solve_nonnegative
from topoprobe.model.calibration.readings import SEED, Reading, Readings, grouped
from topoprobe.model.catalogue.shapes import find_shape
from topoprobe.model.cost import FEATURES, StepFeatures, StepLaw, law_from
from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import Coefficient, FeatureRange, ModelCost, ModelShape
from topoprobe.units import PS_PER_S

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

SERIES = "model.step"
FIT, VALIDATE = "fit", "validate"

_NUM_RESAMPLES = 200
_MOST_MEDIANS = 2.0
_RANGES = {
    "per_sequence": "num_sequences",
    "per_token": "num_tokens",
    "per_pair": "num_prefill_pairs",
    "per_context": "num_context_tokens",
}


def fit_models(readings: Readings) -> tuple[ModelCost, ...]:
    """Fit the step-cost law of every model of which enough steps were timed.

    A fit needs at least as many shapes as the law has coefficients; where a run of the suite was
    stopped before, there is no law.

    Raises
    ------
    ModelError
        If steps of a model were timed whose shape is not in the catalogue.
    """
    costs = []
    groups = grouped(readings.select(SERIES), "device", "model", "dtype", "threads")
    for (device, model, _, threads), steps in groups.items():
        fitted = [step for step in steps if step.factors["role"] == FIT]
        validated = [step for step in steps if step.factors["role"] == VALIDATE]
        if len(fitted) >= len(FEATURES) and validated:
            shape = _shape(str(model))
            costs.append(fit_model(shape, str(device), int(threads), fitted, validated))
    return tuple(costs)


def fit_model(
    shape: ModelShape,
    device: str,
    num_threads: int,
    fitted: list[Reading],
    validated: list[Reading],
) -> ModelCost:
    """Fit the law on some shapes of steps and state its error on others.

    Parameters
    ----------
    shape : ModelShape
        The model that was run.
    device : str
        Node id of what ran it.
    num_threads : int
        Threads it ran on.
    fitted, validated : list of Reading
        ``model.step`` readings: seconds of a step, with its features as factors.

    Returns
    -------
    ModelCost
        Intervals are percentile bootstraps over the samples of each shape [efron1993].
    """
    import numpy as np

    features = [features_of(step) for step in fitted]
    value = fit_law(features, np.array([mean_seconds(step) for step in fitted]))
    low, high = _interval(features, fitted)
    evidence = (
        f"non-negative fit of {len(fitted)} step shapes, {fitted[0].evidence.partition(':')[0]}, "
        f"{num_threads} threads"
    )
    coefficients = tuple(
        Coefficient(
            feature=feature,
            unit="s",
            estimate=Estimate(
                value=float(value[index]),
                low=float(min(low[index], value[index])),
                high=float(max(high[index], value[index])),
                source=Source.MEASURED,
                n=min(len(step.values) for step in fitted),
                evidence=evidence,
            ),
        )
        for index, feature in enumerate(FEATURES)
    )
    cost = ModelCost(
        model=shape,
        devices=(device,),
        num_threads=num_threads,
        coefficients=coefficients,
        num_fit_shapes=len(fitted),
        num_validation_shapes=len(validated),
        ranges=_ranges(features),
    )
    errors = [abs(error) for error in step_errors(law_from(cost), validated)]
    return msgspec.structs.replace(
        cost, mean_error_ratio=sum(errors) / len(errors), max_error_ratio=max(errors)
    )


def fit_law(features: list[StepFeatures], seconds: Array) -> Array:
    """Find the non-negative coefficients with the least sum of squared relative errors.

    Parameters
    ----------
    features : list of StepFeatures
        What each step contained.
    seconds : ndarray, shape (num_steps,), float64
        How long it took.

    Returns
    -------
    ndarray, shape (6,), float64
        Seconds per unit, in the order of `FEATURES`.
    """
    import numpy as np

    columns = np.array(
        [
            (1.0, each.num_sequences, each.num_tokens, each.num_prefill_pairs,
             each.num_context_tokens)
            for each in features
        ]
    )  # fmt: skip
    best = np.inf
    fitted = np.zeros(len(FEATURES))
    for knee in _knees(columns[:, 2]):
        design = columns.copy()
        np.maximum(design[:, 2], knee, out=design[:, 2])
        design /= seconds[:, None]
        solution = solve_nonnegative(design, np.ones(len(seconds)))
        error = float(np.square(design @ solution - 1.0).sum())
        if error < best:
            best = error
            fixed, per_sequence, per_token, per_pair, per_context = solution
            fitted = np.array(
                [fixed, per_sequence, per_token, per_pair, per_token * knee, per_context]
            )
    return fitted


def step_errors(law: StepLaw, steps: list[Reading]) -> tuple[float, ...]:
    """Return ``predicted / measured - 1`` of each timed step."""
    return tuple(
        law.step_ps(features_of(step)) / PS_PER_S / mean_seconds(step) - 1.0 for step in steps
    )


def mean_seconds(step: Reading) -> float:
    """Return what a step of this shape takes on average.

    A run is a sum of steps, so the mean is what predicts it, where other numbers of a calibration
    are medians. Samples count for at most twice the median, lest one hiccup stands for a shape.
    """
    import numpy as np

    return float(_clipped_mean(np.asarray(step.values)))


def features_of(step: Reading) -> StepFeatures:
    """Read the features of a timed step from its factors."""
    return StepFeatures(
        num_sequences=step.number("num_sequences"),
        num_tokens=step.number("num_tokens"),
        num_prefill_pairs=step.number("num_prefill_pairs"),
        num_context_tokens=step.number("num_context_tokens"),
    )


def _clipped_mean(samples: Array) -> Array:
    """Average over the last axis, each sample clipped at twice the median of its row."""
    import numpy as np

    medians = np.median(samples, axis=-1, keepdims=True)
    return np.asarray(np.minimum(samples, _MOST_MEDIANS * medians).mean(axis=-1))


def _interval(features: list[StepFeatures], fitted: list[Reading]) -> tuple[Array, Array]:
    """Return the ends of the coefficients' 95 % intervals, over resamples of every shape."""
    import numpy as np

    random = np.random.default_rng(SEED)
    means = np.array(
        [
            _clipped_mean(random.choice(step.values, (_NUM_RESAMPLES, len(step.values))))
            for step in fitted
        ]
    )
    fits = np.array([fit_law(features, resampled) for resampled in means.T])
    low, high = np.quantile(fits, (0.025, 0.975), axis=0)
    return low, high


def _knees(num_tokens: Array) -> Array:
    """Return the knees to try: none at all, and a grid between the smallest and largest steps.

    A knee below all steps is none, and one above all leaves no step to tell what a token costs.
    """
    import numpy as np

    low, high = float(num_tokens.min()), float(num_tokens.max())
    return np.concatenate(([0.0], np.geomspace(low, high, 24)[1:-1]))


def _shape(model: str) -> ModelShape:
    shape = find_shape(model)
    if shape is None:
        raise ModelError(
            f"The results hold steps of model {model}, whose shape is not in the catalogue; use "
            "the version of topoprobe that measured it."
        )
    return shape


def _ranges(features: list[StepFeatures]) -> tuple[FeatureRange, ...]:
    ranges = []
    for feature, attribute in _RANGES.items():
        values = [float(getattr(each, attribute)) for each in features]
        ranges.append(FeatureRange(feature=feature, low=min(values), high=max(values)))
    return tuple(ranges)
