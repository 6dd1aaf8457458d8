"""What flows get if each is held where a guess says: one linear equation for each port's turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from topoprobe.model.fabric.arbiter import TIE_RATIO, Arbiter, Flow, Port
from topoprobe.model.fabric.elimination import eliminate

# Where each flow is held; None where its own limit holds it.
Guess: TypeAlias = Mapping[Flow, Arbiter | None]
# For each arbiter that holds flows or is asked for too much, what each flow there could have.
Answers: TypeAlias = Mapping[Arbiter, Mapping[Flow, float]]


def answers_at(
    arbiters: Sequence[Arbiter], guess: Guess, limits: Mapping[Flow, float]
) -> Answers | None:
    """Find what each arbiter could give each flow if a guess is right.

    Every port behind which a flow is held gives each of its children the same number of turns, its
    *level*. A held flow's rate is the level of its port over its turns, another's is its limit. So
    that an arbiter that holds flows is used up, and that what a port behind it passes on is what
    the port before it gives, is one linear equation for each level. An arbiter that would give
    more than it has, or less than nothing, divides what it has as if there were no other.

    Parameters
    ----------
    arbiters : sequence of Arbiter
        All that could hold a flow.
    guess : mapping of Flow to Arbiter or None
        Where each flow is held.
    limits : mapping of Flow to float
        Of all flows there; those of which there is no guess have their limits.

    Returns
    -------
    mapping of Arbiter to mapping of Flow to float, or None
        The guess is right if no flow has a lower answer, or limit, than where it is held. None if
        the equations have no one solution.
    """
    levels = _Levels(guess, limits)
    if not levels.solve():
        return None
    answers: dict[Arbiter, dict[Flow, float]] = {}
    wrong: list[Arbiter] = []
    for arbiter in arbiters:
        if levels.is_plausible(arbiter):
            if arbiter.root in levels.columns:
                answers[arbiter] = levels.answers(arbiter)
        else:
            wrong.append(arbiter)
    for arbiter in wrong:
        answers[arbiter] = _divided(arbiter, limits)
    return answers


def _divided(arbiter: Arbiter, limits: Mapping[Flow, float]) -> dict[Flow, float]:
    """Divide what an arbiter has among flows that could have their limits elsewhere."""
    content: dict[Flow, float] = {}
    while True:
        offers = arbiter.offers(content)
        more = {flow: limits[flow] for flow, offer in offers.items() if limits[flow] < offer}
        if not more:
            return content | offers
        content |= more


class _Levels:
    """The levels of all ports behind which a guess has flows held.

    Attributes
    ----------
    columns : dict of Port to int
        The number of each such port.
    levels : list of float
        By number, each in the `_unit` of its port.
    """

    def __init__(self, guess: Guess, limits: Mapping[Flow, float]) -> None:
        self.columns: dict[Port, int] = {}
        self.levels: list[float] = []
        self._rows_of: dict[Port, int] = {}
        self._guess = guess
        self._limits = limits
        self._shares: dict[Flow, tuple[int, float]] = {}
        self._arbiters = {arbiter: None for arbiter in guess.values() if arbiter is not None}

    def solve(self) -> bool:
        """Write the equations and solve them; say whether that was possible."""
        for arbiter in self._arbiters:
            self._number(arbiter.root, arbiter)
        self._rows: list[dict[int, float]] = [{} for _ in self.columns]
        self._right = [0.0] * len(self.columns)
        for arbiter in self._arbiters:
            row = self._rows_of[arbiter.root]
            self._right[row] = arbiter.capacity_per_s
            self._add(row, arbiter.flows.items())
            if arbiter.root.ports:
                self._pass_on(arbiter.root)
        levels = eliminate(self._rows, self._right)
        if levels is None:
            return False
        self.levels = levels
        self.rates = dict(self._limits)
        for flow, (column, share) in self._shares.items():
            self.rates[flow] = levels[column] * share
        return True

    def _number(self, port: Port, arbiter: Arbiter) -> bool:
        guess, law = self._guess, port.law
        here = [flow for flow in port.flows if guess.get(flow) is arbiter]
        behind = [child for child in port.ports if self._number(child, arbiter)]
        if not here and not behind:
            return False
        column = self.columns[port] = self._rows_of[port] = len(self.columns)
        if not here:
            # No rate depends on this level but in the equation of a child: have that in its place.
            first = behind[0]
            self._rows_of[port], self._rows_of[first] = self._rows_of[first], column
        for flow in here:
            self._shares[flow] = column, _unit(port) / flow.turns[law]
        return True

    def _pass_on(self, port: Port) -> None:
        """Write that ports behind a port take the level of that port."""
        law, column, unit = port.law, self.columns[port], _unit(port)
        for child in port.ports:
            if child in self.columns:
                row = self._rows_of[child]
                # Two equations that change places change the determinant's sign, and so does this.
                sign = -1.0 if row == column else 1.0
                self._rows[row][column] = -sign
                scale = sign / unit
                self._add(row, [(flow, scale * flow.turns[law]) for flow in child.behind])
                self._pass_on(child)

    def _add(self, row: int, parts: Iterable[tuple[Flow, float]]) -> None:
        shares, coefficients = self._shares, self._rows[row]
        for flow, per_byte in parts:
            if flow in shares:
                column, share = shares[flow]
                coefficients[column] = coefficients.get(column, 0.0) + per_byte * share
            else:
                self._right[row] -= per_byte * self._limits[flow]

    def is_plausible(self, arbiter: Arbiter) -> bool:
        """Whether an arbiter gives no more than it has, and no less than nothing."""
        if arbiter in self._arbiters:
            return self.levels[self.columns[arbiter.root]] > 0.0
        taken = 0.0
        for flow, takes in arbiter.flows.items():
            taken += takes * self.rates[flow]
        return taken <= arbiter.capacity_per_s * (1.0 + TIE_RATIO)

    def answers(self, arbiter: Arbiter) -> dict[Flow, float]:
        """Find what flows could have of an arbiter that holds some."""
        answers: dict[Flow, float] = {}
        self._spread(arbiter.root, answers)
        return answers

    def _spread(self, port: Port, answers: dict[Flow, float]) -> None:
        level, law = self.levels[self.columns[port]] * _unit(port), port.law
        for flow in port.flows:
            answers[flow] = level / flow.turns[law]
        for child in port.ports:
            if child in self.columns:
                self._spread(child, answers)
                continue
            left = level
            for flow in child.behind:
                left -= flow.turns[law] * self.rates[flow]
            for flow in child.behind:
                answers[flow] = self.rates[flow] + left / flow.turns[law]


def _unit(port: Port) -> float:
    """Return the turns of the first flow behind a port: with these, coefficients are about 1."""
    return port.behind[0].turns[port.law]
