"""Very many flows and arbiters that bargain, round by round."""

from __future__ import annotations

import numpy as np

from topoprobe.model.fabric.crowd.arbiters import Floats, Indices, Mask, begins, numbers
from topoprobe.model.fabric.crowd.table import Table

MAX_ROUNDS = 100  # before another guess; some of those who swing without end pass a right one
# Steps of those that go on become larger, and of those that turn smaller.
LARGER, SMALLER, SMALLEST = 1.1, 0.75, 0.02
PATIENCE = 40  # rounds after which they no longer do so alike
UNLIKE_SMALLER = (0.5, 0.9)


class Bargain:
    """What flows want of arbiters, and what these answer.

    Each arbiter answers what it could give if the others want what they say, and each flow wants
    the least that it could have elsewhere. Arbiters that are told nothing new wait.

    Who turns goes on in smaller steps. Where want follows want in a ring, the last one against the
    first, steps that are all alike can swing without end however small they are, which unlike ones
    do not [tyson1978]. So after some rounds some become smaller faster than others, by chance.

    Attributes
    ----------
    answers : ndarray, shape (entries,), float64
        What each entry of the table could have, if the others want what they say.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._wants = table.limits[table.flows]
        self._rng = np.random.default_rng(0)
        self._steps = np.ones(len(self._wants))
        self._last = np.zeros(len(self._wants))
        nobody = np.zeros(len(self._wants), dtype=bool)
        self.answers, self._content = table.arbiters.divide(self._wants, nobody)

    def go_on(self, near_ratio: float) -> None:
        """Bargain until what is told differs from what is wanted by no more than this part.

        Or until many rounds have passed.
        """
        table = self._table
        elsewhere = _elsewhere(table.flows, table.firsts, table.limits, self.answers)
        smaller = np.full(len(self._wants), SMALLER)
        for number in range(1, MAX_ROUNDS + 1):
            if number % PATIENCE == 0:
                smaller = self._rng.uniform(*UNLIKE_SMALLER, len(self._wants))
            moves = elsewhere - self._wants
            is_far = np.abs(moves) > near_ratio * self._wants
            if not is_far.any():
                break
            entries = self._answer(table.arbiters.any(is_far), moves, smaller)
            is_told = np.zeros(len(table.limits), dtype=bool)
            is_told[table.flows[entries]] = True
            there = np.flatnonzero(is_told[table.flows])
            flows = table.flows[there]
            elsewhere[there] = _elsewhere(
                numbers(is_told)[flows], begins(flows), table.limits[is_told], self.answers[there]
            )

    def take(self, rates: Floats, held: Indices) -> None:
        """Let flows want the rates that follow from a guess, but for where it has them held.

        Parameters
        ----------
        rates : ndarray, shape (flows,), float64
            What they would have.
        held : ndarray, shape (flows,), int64
            The entry where each is held; below zero where its own limit holds it.
        """
        wants = np.minimum(rates, self._table.limits)[self._table.flows]
        at = held[held >= 0]
        wants[at] = self._wants[at]
        self._wants = wants
        self.answers, self._content = self._table.arbiters.divide(wants, self._content)

    def _answer(self, told: Mask, moves: Floats, smaller: Floats) -> Indices:
        """Let some arbiters answer, after a step of all who wait there, and say who these are."""
        part, entries = self._table.arbiters.part(told)
        moves, wants = moves[entries], self._wants[entries]
        turns = moves * self._last[entries] < 0.0
        steps = self._steps[entries] * np.where(turns, smaller[entries], LARGER)
        steps = np.maximum(np.minimum(steps, 1.0), SMALLEST)
        wants = np.maximum(wants + steps * moves, wants / 2.0)
        answers, content = part.divide(wants, self._content[entries])
        self._steps[entries], self._last[entries] = steps, moves
        self._wants[entries], self._content[entries] = wants, content
        self.answers[entries] = answers
        return entries


def _elsewhere(flows: Indices, firsts: Indices, limits: Floats, answers: Floats) -> Floats:
    """Find the least that the flow of each entry could have elsewhere."""
    least = np.minimum.reduceat(answers, firsts)
    at_least = np.flatnonzero(answers == least[flows])
    at_least = at_least[begins(flows[at_least])]
    others = answers.copy()
    others[at_least] = np.inf
    elsewhere = least[flows]
    elsewhere[at_least] = np.minimum.reduceat(others, firsts)
    return np.minimum(elsewhere, limits[flows])
