"""What a segment costs: the protocol that the simulator asks, and its answer by the step law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from topoprobe.model.cost import StepFeatures, StepLaw, prefill_pairs
from topoprobe.serving.events import Plan


class Segment(Protocol):
    """The durations of a run of steps, as exact integer sums."""

    @property
    def valid_steps(self) -> int:
        """Steps for which the sums hold; the driver ends the segment there."""

    def end_ps(self, num_steps: int) -> int:
        """Return the duration of the first `num_steps` steps; grows with them."""


class CostLaw(Protocol):
    """Prices segments. The simulator's world is one; a scheduler's belief may be another."""

    def segment(self, worker_id: int, plan: Plan, max_steps: int) -> Segment:
        """Return the durations of up to `max_steps` steps of `plan`."""


@dataclass(frozen=True, slots=True)
class StepLawCost:
    """The step law on every worker alike."""

    law: StepLaw

    def segment(self, worker_id: int, plan: Plan, max_steps: int) -> StepLawSegment:
        """Return the durations of up to `max_steps` steps of `plan`."""
        return StepLawSegment(self.law, features_of(plan), max_steps)


class StepLawSegment:
    """A segment priced by the step law."""

    __slots__ = ("_features", "_law", "valid_steps")

    def __init__(self, law: StepLaw, features: StepFeatures, max_steps: int) -> None:
        self._law = law
        self._features = features
        self.valid_steps = max_steps

    def end_ps(self, num_steps: int) -> int:
        """Return the duration of the first `num_steps` steps."""
        return self._law.segment_ps(self._features, num_steps)


def features_of(plan: Plan) -> StepFeatures:
    """Count what the first step of a plan contains."""
    num_tokens = len(plan.decodes)
    num_pairs = 0
    for chunk in plan.chunks:
        num_tokens += chunk.num_query
        num_pairs += prefill_pairs(chunk.num_query, chunk.num_context)
    return StepFeatures(
        num_sequences=len(plan.decodes) + len(plan.chunks),
        num_tokens=num_tokens,
        num_prefill_pairs=num_pairs,
        num_context_tokens=plan.num_decode_context,
    )
