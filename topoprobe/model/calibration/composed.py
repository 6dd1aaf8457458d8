"""The step-cost law of a model from the laws of its operators, where no step was timed.

Made-up steps are priced as the sum of their operators, and the step law is fitted to those sums as
it is to timed steps; other steps tell how well it stands for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.model.calibration.steps import fit_law
from topoprobe.model.cost import StepLaw
from topoprobe.model.operators.step import Composition, StepOperators, parts, uncached
from topoprobe.records.calibration import ModelShape
from topoprobe.units import PS_PER_S

_LONGEST = 8192
"""Tokens of a sequence in made-up steps, for a model that sets no limit."""

_MOST_TOKENS = 8192
"""Tokens computed in one step; schedulers seldom admit more."""

_MOST_CONTEXT = 1 << 17
"""Cached tokens of all sequences in one step; memory seldom holds more."""


@dataclass(frozen=True, slots=True)
class ComposedLaw:
    """A step law, and how well it stands for the sum of the operators.

    Attributes
    ----------
    law : StepLaw
        The coefficients.
    num_fit_steps, num_validation_steps : int
        Made-up steps that it was fitted to and judged on.
    mean_error_ratio : float
        Mean absolute relative error on the latter.
    extrapolated : tuple of str
        Parts of steps that lie beyond what the operators' laws were fitted on.
    """

    law: StepLaw
    num_fit_steps: int
    num_validation_steps: int
    mean_error_ratio: float
    extrapolated: tuple[str, ...]


def compose_law(shape: ModelShape, operators: StepOperators) -> ComposedLaw:
    """Fit the step law of a model to the sums of its operators.

    Parameters
    ----------
    shape : ModelShape
        The model.
    operators : StepOperators
        Laws on the device that is to run it.
    """
    import numpy as np

    cold = uncached(operators)
    steps = _steps(min(shape.max_context_tokens or _LONGEST, _LONGEST))
    priced = [parts(shape, cold, step) for step in steps]
    seconds = np.array([sum(part.seconds for part in each) for each in priced])
    features = [step.features() for step in steps]
    found = fit_law(features[0::2], seconds[0::2])
    law = StepLaw(*(round(float(value) * PS_PER_S) for value in found))
    predicted = np.array([law.step_ps(each) / PS_PER_S for each in features[1::2]])
    beyond = {part.name for each in priced for part in each if part.is_extrapolated}
    return ComposedLaw(
        law=law,
        num_fit_steps=len(features[0::2]),
        num_validation_steps=len(predicted),
        mean_error_ratio=float(np.abs(predicted / seconds[1::2] - 1.0).mean()),
        extrapolated=tuple(sorted(beyond)),
    )


def _steps(longest: int) -> list[Composition]:
    """Make steps up: decoding alone, prompts alone, and prompts beside decoding.

    There are many short prompts beside few long ones, so that what a token costs can be told from
    what a pair of tokens costs.
    """
    contexts = [length for length in (64, 256, 1024, 2048, 4096, 8000) if length < longest]
    prompts = [
        (number, tokens)
        for number in (1, 2, 4, 8, 16, 32, 64, 128, 256)
        for tokens in (16, 64, 256, 1024, 4096)
        if tokens <= longest
    ]
    decoding = [
        Composition(num_decoding=sequences, context=context)
        for sequences in (1, 2, 4, 8, 16, 32, 64, 128, 256)
        for context in contexts
        if sequences * context <= _MOST_CONTEXT
    ]
    alone = [Composition(num_prompts=number, prompt_tokens=tokens) for number, tokens in prompts]
    mixed = [
        Composition(
            num_prompts=number, prompt_tokens=tokens, num_decoding=sequences, context=context
        )
        for number, tokens in prompts
        if number in {1, 8, 64}
        for sequences in (4, 32)
        for context in contexts[1::2]
    ]
    steps = decoding + alone + mixed
    return [step for step in steps if step.features().num_tokens <= _MOST_TOKENS]
