"""Flows at arbiters as arrays: who waits where, and behind which ports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from topoprobe.model.fabric.arbiter import TIE_RATIO, Arbiter, Flow

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]


MAX_GUESSES = 8  # at who is content


class Ports(NamedTuple):
    """Ports of one depth: arbiters, or those that are so many ports behind them.

    Attributes
    ----------
    entries : ndarray, shape (n,), int64
        Those behind these ports, port by port.
    groups : ndarray, shape (n,), int64
        The port that each of them is behind.
    turns : ndarray, shape (n,), float64
        Their turns per byte by the law of the port before; at arbiters, what a byte takes.
    firsts : ndarray, shape (ports,), int64
        Where in `entries` those of each port begin.
    parents, arbiters : ndarray, shape (ports,), int64
        Which port is before each, if any, and where it is.
    """

    entries: Indices
    groups: Indices
    turns: Floats
    firsts: Indices
    parents: Indices
    arbiters: Indices

    def sums(self, values: Floats) -> Floats:
        """Add up, for each port, what those behind it have."""
        return sums(self.groups, values, len(self.firsts))

    def any(self, mask: Mask) -> Mask:
        """Say for each port whether any of those behind it is meant."""
        return np.logical_or.reduceat(mask, self.firsts)


class Table(NamedTuple):
    """Flows at arbiters: an entry is one flow at one arbiter.

    Entries are in the order of arbiters, and those behind a port are next to each other.

    Attributes
    ----------
    flows : ndarray, shape (n,), int64
        The flow of each entry.
    grows : ndarray, shape (n,), float64
        Bytes per turn of the innermost port that an entry is behind, where it meets others first.
    by_flow : ndarray, shape (n,), int64
        The entries in the order of flows.
    ports : list of Ports
        By depth. The first are the arbiters.
    capacities : ndarray, shape (arbiters,), float64
        What arbiters have.
    limits : ndarray, shape (flows,), float64
        Rates that flows cannot exceed.
    """

    flows: Indices
    grows: Floats
    by_flow: Indices
    ports: list[Ports]
    capacities: Floats
    limits: Floats

    def part(self, keep: Mask, answers: Floats | None = None) -> tuple[Table, Indices]:
        """Leave out arbiters.

        Parameters
        ----------
        keep : ndarray, shape (arbiters,), bool
            Which arbiters stay.
        answers : ndarray, shape (n,), float64
            What each entry could have: those left out become limits.

        Returns
        -------
        Table
            What is left, in the same order.
        ndarray of int64
            Which entries are left.
        """
        stays = keep[self.ports[0].groups]
        entries = np.flatnonzero(stays)
        limits = self.limits
        if answers is not None:
            others = answers.copy()
            others[entries] = np.inf
            limits = np.minimum(limits, self.least(others))
        flows = self.flows[entries]
        has = np.zeros(len(limits), dtype=bool)
        has[flows] = True
        number, arbiter_number = _numbers(stays), _numbers(keep)
        before = arbiter_number
        left: list[Ports] = []
        for ports in self.ports:
            kept = keep[ports.arbiters]
            if not kept.any():
                break
            there = np.flatnonzero(kept[ports.groups])
            port_number = _numbers(kept)
            groups = port_number[ports.groups[there]]
            left.append(
                Ports(
                    number[ports.entries[there]],
                    groups,
                    ports.turns[there],
                    begins(groups),
                    before[ports.parents[kept]] if left else ports.parents,
                    arbiter_number[ports.arbiters[kept]],
                )
            )
            before = port_number
        by_flow = number[self.by_flow[np.flatnonzero(stays[self.by_flow])]]
        part = Table(
            _numbers(has)[flows],
            self.grows[entries],
            by_flow,
            left,
            self.capacities[keep],
            limits[has],
        )
        return part, entries

    def least(self, values: Floats) -> Floats:
        """Find the least that any entry of each flow has."""
        return np.minimum.reduceat(values[self.by_flow], begins(self.flows[self.by_flow]))

    def divide(self, wants: Floats, content: Mask) -> tuple[Floats, Mask]:
        """Divide each arbiter among entries that want no more than they say.

        Parameters
        ----------
        wants : ndarray, shape (n,), float64
            Rates.
        content : ndarray, shape (n,), bool
            Those that may get what they want, as a guess.

        Returns
        -------
        answers : ndarray, shape (n,), float64
            What each entry could have, if the others want what they say.
        content : ndarray, shape (n,), bool
            Those that get what they want.
        """
        answers, content = np.empty_like(wants), content.copy()
        table, entries = self, np.arange(len(wants))
        for _ in range(MAX_GUESSES):
            mine = wants[entries]
            found = table._answers(mine, content[entries])
            gets = mine < found * (1.0 - TIE_RATIO)
            is_wrong = table.ports[0].any(gets != content[entries])
            answers[entries], content[entries] = found, gets
            if not is_wrong.any():
                break
            table, left = table.part(is_wrong)
            entries = entries[left]
        return answers, content

    def _answers(self, wants: Floats, content: Mask) -> Floats:
        # Of the turns of each port: what one for each child makes, and those taken by the content.
        slopes, offsets = self.grows * ~content, wants * content
        lines: list[tuple[Floats, Floats]] = []
        for ports in self.ports[::-1]:
            share, offset = slopes[ports.entries], offsets[ports.entries]
            slope, taken = ports.sums(ports.turns * share), ports.sums(ports.turns * offset)
            lines.append((slope, taken))
            share /= (slope + (slope == 0.0))[ports.groups]
            slopes[ports.entries] = share
            offsets[ports.entries] = offset - share * taken[ports.groups]
        # The turns that each child of the innermost port gets. Behind ports where all are content,
        # what is left goes on top.
        levels = np.empty_like(wants)
        extra: list[tuple[Indices, Floats]] = []
        given, is_given = self.capacities, np.ones(len(self.capacities), dtype=bool)
        level, is_open = given, is_given
        for ports, (slope, taken) in zip(self.ports, lines[::-1], strict=True):
            if ports is not self.ports[0]:
                given, is_given = level[ports.parents], is_open[ports.parents]
            left = given - taken
            is_open = slope > 0.0
            level = left / (slope + ~is_open)
            levels[ports.entries] = level[ports.groups]
            shut = np.flatnonzero((is_given & ~is_open)[ports.groups])
            extra.append((ports.entries[shut], left[ports.groups[shut]] / ports.turns[shut]))
        answers = levels * self.grows
        for entries, more in extra:
            answers[entries] = wants[entries] + more
        return answers


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
    at = at[np.argsort(places[at], kind="stable")]
    at, laws, behind = _merged(at, places, num_before, turns)
    groups = places[at]
    numbers = np.arange(len(arbiters))
    root = Ports(np.arange(len(at)), groups, takes[at], begins(groups), numbers[:0], numbers)
    table = Table(
        flows[at],
        1.0 / turns[laws],
        np.argsort(at),
        [root, *behind],
        np.array([arbiter.capacity_per_s for arbiter in arbiters]),
        np.array([flow.limit_bytes_per_s for flow in ways]),
    )
    return table, arbiters


class _Split(NamedTuple):
    """Ports that have been found at once, and where the entries behind them are."""

    at: Indices
    groups: Indices
    turns: Floats
    parents: Indices


def _merged(
    at: Indices, places: Indices, num_before: Indices, turns: Floats
) -> tuple[Indices, Indices, list[Ports]]:
    """Find the ports behind which flows merge, as `Port` does.

    Parameters
    ----------
    at : ndarray, shape (n,), int64
        Where in the following each entry is, in the order of arbiters.
    places, num_before, turns : ndarray
        What flows cross, flow by flow; how many they crossed before it, and their turns there.

    Returns
    -------
    at, laws : ndarray, shape (n,), int64
        Where each entry is, those behind a port next to each other, and where its turns are.
    behind : list of Ports
        By depth, from 1 on.
    """
    num_places = int(places.max()) + 1
    at = at.copy()
    laws = at.copy()
    port = places[at]  # of each entry, the innermost that is known
    num_ports = num_places
    splits: list[_Split] = []
    entries, back = np.arange(len(at)), 0
    while len(entries):
        back += 1
        here, runs = at[entries], np.cumsum(np.diff(port[entries], prepend=-1) != 0) - 1
        names = np.where(num_before[here] < back, num_places, places[here - back])
        keys = runs * (num_places + 1) + names
        order = np.argsort(keys)
        at[entries], laws[entries] = here[order], laws[entries][order]
        first = begins(keys[order])
        runs, names = np.divmod(keys[order[first]], num_places + 1)
        sizes = np.diff(first, append=len(entries))
        has_ended = names == num_places
        # Those that come from one place together have met there, if there is nobody else.
        passes = (np.bincount(runs)[runs] == 1) & ~has_ended
        is_new = ~passes & ~has_ended & (sizes > 1)
        new = entries[np.repeat(is_new, sizes)]
        parents = port[entries[first[is_new]]]
        port[new] = np.repeat(num_ports + np.arange(len(parents)), sizes[is_new])
        splits.append(_Split(at[new], port[new], turns[laws[new]], parents))
        num_ports += len(parents)
        entries = entries[np.repeat(passes | is_new, sizes)]
        laws[entries] = at[entries] - back
    entry_at = np.empty_like(places)
    entry_at[at] = np.arange(len(at))
    return at, laws, _by_depth(splits, entry_at, num_places)


def _by_depth(splits: Sequence[_Split], entry_at: Indices, num_places: int) -> list[Ports]:
    """Give the ports of each depth numbers in the order of their entries."""
    at, groups, turns, parents = (np.concatenate(each) for each in zip(*splits, strict=True))
    entries = entry_at[at]
    parents = np.concatenate((np.full(num_places, -1), parents))
    depths = np.zeros(len(parents), dtype=np.int64)
    arbiters = np.arange(len(parents))
    for split in splits:
        new = np.unique(split.groups)
        depths[new] = depths[parents[new]] + 1
        arbiters[new] = arbiters[parents[new]]
    behind = []
    number = np.arange(len(parents))
    for depth in range(1, int(depths.max()) + 1):
        there = np.flatnonzero(depths[groups] == depth)
        there = there[np.argsort(entries[there])]
        first = begins(groups[there])
        ports = groups[there[first]]
        before = number[parents[ports]]
        number[ports] = np.arange(len(ports))
        behind.append(
            Ports(
                entries[there],
                number[groups[there]],
                turns[there],
                first,
                before,
                arbiters[ports],
            )
        )
    return behind


def sums(groups: Indices, values: Floats, num: int) -> Floats:
    """Add up the values of each group, of so many."""
    return np.asarray(np.bincount(groups, values, num), dtype=np.float64)


def begins(groups: Indices) -> Indices:
    """Say where each group begins of those that are next to each other."""
    return np.flatnonzero(np.diff(groups, prepend=-1))


def _numbers(mask: Mask) -> Indices:
    """Return the numbers of those that are meant."""
    return np.cumsum(mask) - 1
