"""Policy iteration: guess where flows that depend on each other are held, and better the guess."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from topoprobe.errors import ModelError
from topoprobe.model.fabric.arbiter import Arbiter, Flow
from topoprobe.model.fabric.bargain import Bargain
from topoprobe.model.fabric.crowd import crowd
from topoprobe.model.fabric.demand import Allocation
from topoprobe.model.fabric.equilibrium import unheld
from topoprobe.model.fabric.levels import Answers, Guess, answers_at

MAX_ROUNDS = 1000
NEARER_RATIO = 1e-11  # held elsewhere if that gives less by more than rounding


class Iteration:
    """Guesses for flows whose bottlenecks depend on each other [howard1960].

    If it were known where each flow is held, at one of the arbiters or by its limit, rates would
    follow from linear equations. Such a guess is tried out, and each flow is held next where it
    could have least, until a guess leads to itself: then it is right. If a guess comes back, or
    decides nothing, the flows bargain for a round, and the next guess is where that leaves them.

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
        self._tried: set[tuple[Arbiter | None, ...]] = set()

    def settle(self, first: Guess | None) -> dict[Flow, Allocation]:
        """Better guesses until one is right; say what it leads to.

        Parameters
        ----------
        first : mapping of Flow to Arbiter or None, or None
            Where each flow, and perhaps others, may be held; None to bargain as a `crowd` first.

        Raises
        ------
        ModelError
            If the flows do not come to agree.
        """
        ways = self._ways
        guesses = (
            crowd(ways, self._limits) if first is None else [{flow: first[flow] for flow in ways}]
        )
        for guess in guesses:
            found = self._bettered(guess)
            if found is not None:
                return found
        bargain = Bargain(ways, self._arbiters, self._limits)
        for _ in range(MAX_ROUNDS):
            guess = self._held(bargain.answers)
            found = self._bettered(guess)
            if found is not None:
                return found
            if not bargain.go_on():
                found = self._allocations(guess, bargain.answers)
                if found is not None:
                    return found
                break
        raise _unsettled(ways)

    def _bettered(self, guess: Guess) -> dict[Flow, Allocation] | None:
        """Better a guess until it leads to itself; None if to one that was tried before."""
        while (key := tuple(guess.values())) not in self._tried:
            self._tried.add(key)
            answers = answers_at(self._arbiters, guess, self._limits)
            if answers is None:
                return None
            better = self._held(answers, guess)
            if better == guess:
                return self._allocations(guess, answers)
            guess = better
        return None

    def _held(self, answers: Answers, last: Guess | None = None) -> dict[Flow, Arbiter | None]:
        """Say where each flow could have least; where it was held last, if that is no more."""
        held: dict[Flow, Arbiter | None] = {}
        for flow, at in self._ways.items():
            least, here = self._limits[flow], None
            if last is not None and (before := last[flow]) is not None:
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


def _unsettled(flows: Collection[Flow]) -> ModelError:
    """Say that rates of flows cannot be found."""
    names = ", ".join(sorted(flow.demand.id for flow in flows)[:4])
    return ModelError(
        f"The rates of {len(flows)} flows ({names}…) do not settle; expected shares that do not "
        "contradict each other where flows cross the same resources in different orders."
    )
