"""Very many flows and arbiters that bargain, round by round."""

from __future__ import annotations

import numpy as np

from topoprobe.model.fabric.crowd.table import Floats, Indices, Table, begins

MAX_ROUNDS = 1000
# Steps of those that go on, and of those that turn: with larger ones crowds swing without end.
LARGER, SMALLER, SMALLEST = 1.1, 0.7, 0.02
FEW_RATIO = 0.3  # so few entries move that arbiters without one are left out


class Bargain:
    """What flows want of arbiters, and what these answer, as in `bargain`.

    Arbiters that are told nothing new wait until the others agree.

    Attributes
    ----------
    answers : ndarray, shape (entries,), float64
        What each entry of the table could have, if the others want what they say.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._wants = table.limits[table.flows]
        self._steps = np.ones(len(self._wants))
        self._last = np.zeros(len(self._wants))
        nobody = np.zeros(len(self._wants), dtype=bool)
        self.answers, self._content = table.divide(self._wants, nobody)

    def go_on(self, near_ratio: float) -> None:
        """Bargain until what is told differs from what is wanted by no more than this part."""
        table = self._table
        for _ in range(MAX_ROUNDS):
            moves = _elsewhere(table, self.answers) - self._wants
            is_far = np.abs(moves) > near_ratio * self._wants
            if not is_far.any():
                break
            part, entries = table.part(table.ports[0].any(is_far), self.answers)
            self._go_on(part, entries, moves[entries], near_ratio)

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
        self.answers, self._content = self._table.divide(wants, self._content)

    def _go_on(self, table: Table, entries: Indices, moves: Floats, near_ratio: float) -> None:
        """Bargain at some arbiters until few are told anything new."""
        wants, content = self._wants[entries], self._content[entries]
        steps, last = self._steps[entries], self._last[entries]
        for _ in range(MAX_ROUNDS):
            steps *= np.where(moves * last < 0.0, SMALLER, LARGER)
            steps = np.maximum(np.minimum(steps, 1.0), SMALLEST)
            wants = np.maximum(wants + steps * moves, wants / 2.0)
            last = moves
            answers, content = table.divide(wants, content)
            moves = _elsewhere(table, answers) - wants
            is_far = np.abs(moves) > near_ratio * wants
            if np.count_nonzero(is_far) < FEW_RATIO * len(wants):
                break
        self.answers[entries] = answers
        self._wants[entries], self._content[entries] = wants, content
        self._steps[entries], self._last[entries] = steps, last


def _elsewhere(table: Table, answers: Floats) -> Floats:
    """Find the least that the flow of each entry could have elsewhere."""
    flows, answers = table.flows[table.by_flow], answers[table.by_flow]
    first = begins(flows)
    least = np.minimum.reduceat(answers, first)
    at_least = np.flatnonzero(answers == least[flows])
    at_least = at_least[begins(flows[at_least])]
    answers[at_least] = np.inf
    told = least[flows]
    told[at_least] = np.minimum.reduceat(answers, first)
    elsewhere = np.empty_like(told)
    elsewhere[table.by_flow] = np.minimum(told, table.limits[flows])
    return elsewhere
