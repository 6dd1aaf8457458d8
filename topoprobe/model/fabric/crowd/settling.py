"""Fair rates of very many flows that depend on each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from topoprobe.model.fabric.arbiter import Arbiter, Flow
from topoprobe.model.fabric.crowd.arbiters import Floats, Indices, Mask
from topoprobe.model.fabric.crowd.bargain import Bargain
from topoprobe.model.fabric.crowd.fairness import unheld
from topoprobe.model.fabric.crowd.levels import rates_at
from topoprobe.model.fabric.crowd.table import Table, tabulate
from topoprobe.model.fabric.demand import Allocation

NEAR_RATIOS = 4 * (1e-2, 1e-3, 1e-5, 1e-8, 1e-11)  # how far flows still move at each guess
TIED_RATIO = 1e-10  # answers that differ by less hold flows at the same arbiter


def settle(ways: Mapping[Flow, Sequence[Arbiter]]) -> dict[Flow, Allocation] | None:
    """Give each flow its fair rate.

    Flows bargain until they hardly move, or for long, which leaves each held by one arbiter, or by
    its limit: a guess, from which rates follow exactly. If they are fair it was right; else the
    bargain goes on.

    Parameters
    ----------
    ways : mapping of Flow to sequence of Arbiter
        What can run out on the way of each flow, in order; all flows there are among these, and
        none has no way.

    Returns
    -------
    dict of Flow to Allocation, or None
        None if no guess was right.
    """
    table, arbiters = tabulate(ways)
    bargain = Bargain(table)
    for near_ratio in NEAR_RATIOS:
        bargain.go_on(near_ratio)
        held = _held(table, bargain.answers)
        near = np.minimum(table.limits, table.least(bargain.answers))
        rates = rates_at(table, held, near)
        if rates is None:
            continue
        if not unheld(table, rates).any():
            return _allocations(ways, arbiters, rates, table.arbiters.at[held], held < 0)
        bargain.take(rates, held)
    return None


def _allocations(
    ways: Iterable[Flow], arbiters: Sequence[Arbiter], rates: Floats, at: Indices, is_alone: Mask
) -> dict[Flow, Allocation]:
    rows = zip(ways, rates.tolist(), at.tolist(), is_alone.tolist(), strict=True)
    return {
        flow: flow.alone if alone else Allocation(rate, arbiters[number].id)
        for flow, rate, number, alone in rows
    }


def _held(table: Table, answers: Floats) -> Indices:
    """Say where each flow could have least: an entry, or -1 for its limit.

    Of arbiters that are tied it is the one with fewest flows that have less elsewhere, and all
    choose alike. So one that holds all its flows holds them: if each were held by another of the
    arbiters that are tied, the equations might have no one solution.
    """
    least = table.least(answers)
    most = least * (1.0 + TIED_RATIO)
    has_less = answers > most[table.flows]
    at, num = table.arbiters.at, len(table.arbiters.capacities)
    ranks = (np.bincount(at[has_less], minlength=num) * num + np.arange(num))[at]
    ranks[has_less] = num * (len(at) + 1)
    first = np.flatnonzero(ranks == np.minimum.reduceat(ranks, table.firsts)[table.flows])
    return np.where(table.limits <= most, -1, first)
