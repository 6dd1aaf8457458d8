"""What flows get if each is held where a guess says: the equations of `levels`, in arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from topoprobe.model.fabric.crowd.arbiters import Floats, Indices, Mask, Ports, sums
from topoprobe.model.fabric.crowd.elimination import eliminate
from topoprobe.model.fabric.crowd.table import Table


def rates_at(table: Table, held: Indices, near: Floats) -> Floats | None:
    """Find the rates of flows if a guess is right.

    Parameters
    ----------
    table : Table
        Who waits where.
    held : ndarray, shape (flows,), int64
        The entry where each flow is held; below zero where its own limit holds it.
    near : ndarray, shape (flows,), float64
        About what they have. If several rates are right, some that are close to these are found.

    Returns
    -------
    ndarray, shape (flows,), float64, or None
        Rates; None if the equations have no solution above zero, or only one that does not last.
    """
    if not np.any(held >= 0):
        return table.limits
    levels = _Levels(table, held)
    rows, columns, values, right = levels.equations()
    known = levels.known(near)
    more = eliminate(rows, columns, values, right - sums(rows, values * known[columns], len(known)))
    if more is None or not np.all(known + more > 0.0):
        return None
    return levels.rates(known + more)


class _Inner(NamedTuple):
    """Ports of one depth behind which flows are held, and the levels of each and the one before."""

    ports: Ports
    has: Mask
    levels: Indices
    before: Indices


class _Levels:
    """The levels of all ports behind which a guess has flows held, each in turns of one of them."""

    def __init__(self, table: Table, held: Indices) -> None:
        self._table = table
        self._is_held = held >= 0
        at = held[self._is_held]
        holds = np.zeros(len(table.flows), dtype=bool)
        holds[at] = True
        self._depths: list[_Inner] = []
        num, numbers = 0, np.zeros(0, dtype=np.int64)
        innermost = np.full(len(table.flows), -1)
        for ports in table.arbiters.ports:
            has = ports.any(holds[ports.entries])
            before = numbers[ports.parents[has]] if self._depths else numbers
            numbers = num + np.cumsum(has) - 1
            num += int(np.count_nonzero(has))
            self._depths.append(_Inner(ports, has, numbers[has], before))
            there = np.flatnonzero(has[ports.groups])
            innermost[ports.entries[there]] = numbers[ports.groups[there]]
        own = innermost[at]
        self._units = np.empty(num)
        for ports, has, _, before in self._depths[1:]:
            turns = np.empty(len(has))
            turns[ports.groups] = ports.turns
            self._units[before] = turns[has]
        self._units[own] = 1.0 / table.arbiters.grows[at]
        # Of each flow that is held, the level on which its rate depends, and the rate at one.
        self._level, self._share = np.full(len(held), -1), np.zeros(len(held))
        self._level[self._is_held] = own
        self._share[self._is_held] = self._units[own] * table.arbiters.grows[at]
        self._has_own = np.zeros(num, dtype=bool)
        self._has_own[own] = True

    def known(self, rates: Floats) -> Floats:
        """Return the levels at which flows have such rates."""
        known = np.empty(len(self._units))
        for ports, has, _, before in self._depths[1:]:
            turns = ports.sums(ports.turns * rates[self._table.flows[ports.entries]])
            known[before] = turns[has] / self._units[before]
        held = self._is_held
        known[self._level[held]] = rates[held] / self._share[held]
        return known

    def rates(self, levels: Floats) -> Floats:
        """Return the rates that flows have at such levels."""
        rates = self._table.limits.copy()
        held = self._is_held
        rates[held] = levels[self._level[held]] * self._share[held]
        return rates

    def equations(self) -> tuple[Indices, Indices, Floats, Floats]:
        """Write that those behind a port have what it is given, and an arbiter is used up.

        Returns
        -------
        rows, columns, values : ndarray
            The coefficients, as `eliminate` takes them.
        right : ndarray
            The right sides.
        """
        table, num = self._table, len(self._units)
        row_of, is_turned = self._rows()
        right = np.zeros(num)
        parts: list[tuple[Indices, Indices, Floats]] = []
        for ports, has, levels, before in self._depths:
            rows, scales = row_of[levels], np.ones(len(levels))
            if ports is table.arbiters.ports[0]:
                right[rows] = table.arbiters.capacities[has]
            else:
                signs = np.where(is_turned[levels], -1.0, 1.0)
                scales = signs / self._units[before]
                parts.append((rows, before, -signs))
            there = np.flatnonzero(has[ports.groups])
            groups = (np.cumsum(has) - 1)[ports.groups[there]]
            rows, flows = rows[groups], table.flows[ports.entries[there]]
            values = ports.turns[there] * scales[groups]
            depends = self._is_held[flows]
            held, other = np.flatnonzero(depends), np.flatnonzero(~depends)
            values_held = values[held] * self._share[flows[held]]
            parts.append((rows[held], self._level[flows[held]], values_held))
            right -= sums(rows[other], values[other] * table.limits[flows[other]], num)
        row, column, value = (np.concatenate(each) for each in zip(*parts, strict=True))
        return row, column, value, right

    def _rows(self) -> tuple[Indices, Mask]:
        """Choose a row for the equation of each level, and those to turn over.

        A level on which no rate depends is only in the equations of its children: it gets the
        first one's row, which gets its own. Two that change places change the determinant's sign,
        and so does one turned over.
        """
        row_of = np.arange(len(self._units))
        is_turned = np.zeros(len(self._units), dtype=bool)
        for _, _, levels, before in self._depths[:0:-1]:
            outer, first = np.unique(before, return_index=True)
            alone = ~self._has_own[outer]
            outer, inner = outer[alone], levels[first[alone]]
            row_of[outer], row_of[inner] = row_of[inner], outer
            is_turned[inner] = True
        return row_of, is_turned
