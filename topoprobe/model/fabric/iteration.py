"""Policy iteration: guess where flows that depend on each other are held, and better the guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topoprobe.model.fabric.arbiter import Arbiter, Flow
from topoprobe.model.fabric.demand import Allocation
from topoprobe.model.fabric.equilibrium import unheld
from topoprobe.model.fabric.levels import Answers, Guess, answers_at

NEARER_RATIO = 1e-11  # held elsewhere if that gives less by more than rounding


class Iteration:
    """Guesses for flows whose bottlenecks depend on each other [howard1960].

    If it were known where each flow is held, at one of the arbiters or by its limit, rates would
    follow from linear equations. Such a guess is tried out, and each flow is held next where it
    could have least, until a guess leads to itself: then it is right.

    Parameters
    ----------
    ways : mapping of Flow to sequence of Arbiter
        What each flow waits for.
    rates : mapping of Flow to float
        Of the other flows there.
    """

    def __init__(self, ways: Mapping[Flow, Sequence[Arbiter]], rates: Mapping[Flow, float]) -> None:
        self._ways = ways
        self._arbiters = list(dict.fromkeys(arbiter for at in ways.values() for arbiter in at))
        self._limits = {
            flow: flow.limit_bytes_per_s if flow in ways else rates[flow]
            for arbiter in self._arbiters
            for flow in arbiter.flows
        }

    def settle(self, first: Guess) -> dict[Flow, Allocation] | None:
        """Better a guess until it is right, and say what it leads to.

        Parameters
        ----------
        first : mapping of Flow to Arbiter or None
            Where each flow, and perhaps others, may be held; None for its limit.

        Returns
        -------
        dict of Flow to Allocation, or None
            None if a guess comes back, decides nothing, or is right and not fair.
        """
        guess = {flow: first[flow] for flow in self._ways}
        tried: set[tuple[Arbiter | None, ...]] = set()
        while (key := tuple(guess.values())) not in tried:
            tried.add(key)
            answers = answers_at(self._arbiters, guess, self._limits)
            if answers is None:
                break
            better = self._held(answers, guess)
            if better == guess:
                return self._allocations(guess, answers)
            guess = better
        return None

    def _held(self, answers: Answers, last: Guess) -> dict[Flow, Arbiter | None]:
        """Say where each flow could have least; where it was held last, if that is no more."""
        held: dict[Flow, Arbiter | None] = {}
        for flow, at in self._ways.items():
            least, here = self._limits[flow], None
            if (before := last[flow]) is not None:
                answer = answers[before][flow]
                if answer < least:
                    least, here = answer, before
            for arbiter in at:
                if arbiter in answers:
                    answer = answers[arbiter][flow]
                    if answer < least - NEARER_RATIO * abs(least):
                        least, here = answer, arbiter
            held[flow] = here
        return held

    def _allocations(self, guess: Guess, answers: Answers) -> dict[Flow, Allocation] | None:
        """Say what flows get where they are held; None if that is not fair."""
        found = {
            flow: flow.alone if at is None else Allocation(answers[at][flow], at.id)
            for flow, at in guess.items()
        }
        rates = {**self._limits, **{flow: each.rate_bytes_per_s for flow, each in found.items()}}
        is_fair = found.keys().isdisjoint(unheld(self._arbiters, rates))
        return found if is_fair else None
