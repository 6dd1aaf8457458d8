"""Arbiters and flows that bargain: what each arbiter could give, and what each flow wants of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from topoprobe.model.fabric.arbiter import Arbiter, Flow

AGREED_RATIO = 1e-13
LARGER, SMALLER, SMALLEST = 1.1, 0.5, 1 / 128

Key: TypeAlias = tuple[Arbiter, Flow]


class Bargain:
    """What flows want of arbiters, and what these answer.

    Each arbiter divides what it has among what its flows want, and each flow wants of an arbiter
    the least that it could have elsewhere. When nobody moves, the rates are fair. All move at
    once, so that the order of flows plays no role. One that is told to go back makes smaller steps
    from then on.

    Attributes
    ----------
    answers : dict of Arbiter to dict of Flow to float
        What each flow could have, if the others want what they say.
    """

    def __init__(
        self,
        ways: Mapping[Flow, Sequence[Arbiter]],
        arbiters: Sequence[Arbiter],
        limits: Mapping[Flow, float],
    ) -> None:
        self.answers: dict[Arbiter, dict[Flow, float]] = {}
        self._ways = ways
        self._limits = limits
        self._wants = {
            arbiter: {flow: limits[flow] for flow in arbiter.flows} for arbiter in arbiters
        }
        self._content: dict[Arbiter, Mapping[Flow, float]] = {key: {} for key in arbiters}
        self._steps: dict[Key, tuple[float, bool]] = {}
        self._answer(arbiters)

    def go_on(self) -> bool:
        """Let all flows tell what they want now; say whether anybody moved."""
        told: dict[Arbiter, None] = {}
        for flow, at in self._ways.items():
            answers = [self.answers[arbiter][flow] for arbiter in at]
            for index, arbiter in enumerate(at):
                elsewhere = answers[:index] + answers[index + 1 :]
                want = min([self._limits[flow], *elsewhere])
                last = self._wants[arbiter][flow]
                if abs(want - last) > AGREED_RATIO * want:
                    step = self._step((arbiter, flow), want > last)
                    self._wants[arbiter][flow] = last + step * (want - last)
                    told[arbiter] = None
        self._answer(list(told))
        return bool(told)

    def _answer(self, arbiters: Sequence[Arbiter]) -> None:
        for arbiter in arbiters:
            self.answers[arbiter], self._content[arbiter] = arbiter.answers(
                self._wants[arbiter], self._content[arbiter]
            )

    def _step(self, key: Key, is_up: bool) -> float:
        step, was_up = self._steps.get(key, (1.0, is_up))
        step = min(1.0, step * LARGER) if is_up == was_up else max(step * SMALLER, SMALLEST)
        self._steps[key] = step, is_up
        return step
