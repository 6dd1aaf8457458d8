"""Flows at arbiters as arrays: who waits where, and behind which ports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import NamedTuple

import numpy as np

from topoprobe.model.fabric.arbiter import Arbiter, Flow
from topoprobe.model.fabric.crowd.arbiters import (
    Arbiters,
    Floats,
    Indices,
    Ports,
    begins,
    numbers,
)


class Table(NamedTuple):
    """Flows, and the arbiters where they wait.

    Attributes
    ----------
    flows : ndarray, shape (n,), int64
        The flow of each entry, ascending.
    firsts : ndarray, shape (flows,), int64
        The first entry of each flow.
    arbiters : Arbiters
        Where the entries are.
    limits : ndarray, shape (flows,), float64
        Rates that flows cannot exceed.
    """

    flows: Indices
    firsts: Indices
    arbiters: Arbiters
    limits: Floats

    def least(self, values: Floats) -> Floats:
        """Find the least that any entry of each flow has."""
        return np.minimum.reduceat(values, self.firsts)


def tabulate(ways: Mapping[Flow, Sequence[Arbiter]]) -> tuple[Table, list[Arbiter]]:
    """Write down who waits where.

    Parameters
    ----------
    ways : mapping of Flow to sequence of Arbiter
        What can run out on the way of each flow, in order; all flows there are among these, and
        none has no way.

    Returns
    -------
    Table
        With flows in the order of `ways`.
    list of Arbiter
        In the order of the table.
    """
    arbiters = list(dict.fromkeys(chain.from_iterable(ways.values())))
    # All that flows cross, flow by flow: a port may be something that does not run out.
    number: dict[str, int] = defaultdict(count(len(arbiters)).__next__)
    number.update((arbiter.id, index) for index, arbiter in enumerate(arbiters))
    sizes = [len(flow.takes) for flow in ways]
    num = sum(sizes)
    names = chain.from_iterable(flow.takes for flow in ways)
    places = np.fromiter(map(number.__getitem__, names), np.int64, num)
    takes = np.fromiter(chain.from_iterable(flow.takes.values() for flow in ways), np.float64, num)
    turns = np.fromiter(chain.from_iterable(flow.turns.values() for flow in ways), np.float64, num)
    flows = np.repeat(np.arange(len(ways)), sizes)
    nth = np.arange(num) - (np.cumsum(sizes) - sizes)[flows]
    num_along = np.array([flow.num_along for flow in ways])
    num_before = np.where(nth < num_along[flows], nth, 0)
    at = np.flatnonzero(places < len(arbiters))
    laws, behind = _merged(at, places, num_before, turns)
    own = np.arange(len(arbiters))
    root = Ports(np.arange(len(at)), places[at], takes[at], own[:0], own)
    capacities = np.array([arbiter.capacity_per_s for arbiter in arbiters])
    table = Table(
        flows[at],
        begins(flows[at]),
        Arbiters([root, *behind], 1.0 / turns[laws], capacities),
        np.array([flow.limit_bytes_per_s for flow in ways]),
    )
    return table, arbiters


def _merged(
    at: Indices, places: Indices, num_before: Indices, turns: Floats
) -> tuple[Indices, list[Ports]]:
    """Find the ports behind which flows merge, as `Port` does.

    Parameters
    ----------
    at : ndarray, shape (n,), int64
        Where in the following each entry is.
    places, num_before, turns : ndarray
        What flows cross, flow by flow; how many they crossed before it, and their turns there.

    Returns
    -------
    laws : ndarray, shape (n,), int64
        Where in `turns` those are by which an entry meets others first.
    behind : list of Ports
        By depth, from 1 on.
    """
    end = int(places.max()) + 1  # no place, and the first number of a port that is none
    laws, port = at.copy(), places[at]  # port: the innermost of each entry that is known
    parents, depths, arbiters = np.full(end, -1), np.zeros(end, dtype=np.int64), np.arange(end)
    splits: list[tuple[Indices, Indices, Floats]] = []
    entries, back = np.arange(len(at)), 0
    while len(entries):
        back += 1
        here = at[entries]
        names = np.where(num_before[here] < back, end, places[here - back])
        keys, group, sizes = np.unique(
            port[entries] * (end + 1) + names, return_inverse=True, return_counts=True
        )
        outer, names = np.divmod(keys, end + 1)
        goes_on = names != end
        # Those that come from one place together have met there, if there is nobody else.
        passes = (np.bincount(outer)[outer] == 1) & goes_on
        is_new = ~passes & goes_on & (sizes > 1)
        number = len(parents) + numbers(is_new)
        inside = np.flatnonzero(is_new[group])
        new = entries[inside]
        port[new] = number[group[inside]]
        splits.append((new, port[new], turns[laws[new]]))
        outer = outer[is_new]
        parents = np.concatenate((parents, outer))
        depths = np.concatenate((depths, depths[outer] + 1))
        arbiters = np.concatenate((arbiters, arbiters[outer]))
        entries = entries[(passes | is_new)[group]]
        laws[entries] = at[entries] - back
    members, groups, turns = (np.concatenate(each) for each in zip(*splits, strict=True))
    behind: list[Ports] = []
    before = np.arange(end)
    for depth in range(1, int(depths.max()) + 1):
        is_here = depths == depth
        there, number = np.flatnonzero(is_here[groups]), numbers(is_here)
        behind.append(
            Ports(
                members[there],
                number[groups[there]],
                turns[there],
                before[parents[is_here]],
                arbiters[is_here],
            )
        )
        before = number
    return laws, behind
