"""Arbiters as arrays: the ports behind which flows wait, and how each divides what it has."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from topoprobe.model.fabric.arbiter import TIE_RATIO

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

MAX_GUESSES = 1000  # at who is content
NUM_AT_ONCE = 4  # guesses after which all who are wrong change


class Ports(NamedTuple):
    """Ports of one depth: arbiters, or those that are so many ports behind them.

    Attributes
    ----------
    entries : ndarray, shape (n,), int64
        Those behind these ports.
    groups : ndarray, shape (n,), int64
        The port that each of them is behind.
    turns : ndarray, shape (n,), float64
        Their turns per byte by the law of the port before; at arbiters, what a byte takes.
    parents, arbiters : ndarray, shape (ports,), int64
        Which port is before each, if any, and where it is.
    """

    entries: Indices
    groups: Indices
    turns: Floats
    parents: Indices
    arbiters: Indices

    def sums(self, values: Floats) -> Floats:
        """Add up, for each port, what those behind it have."""
        return sums(self.groups, values, len(self.arbiters))

    def any(self, mask: Mask) -> Mask:
        """Say for each port whether any of those behind it is meant."""
        found = np.zeros(len(self.arbiters), dtype=bool)
        found[self.groups[mask]] = True
        return found


class Arbiters(NamedTuple):
    """Arbiters and those who wait at each: an entry is one flow at one arbiter.

    Attributes
    ----------
    ports : list of Ports
        By depth. The first are the arbiters, with all entries in order.
    grows : ndarray, shape (n,), float64
        Bytes per turn of the innermost port that an entry is behind, where it meets others first.
    capacities : ndarray, shape (arbiters,), float64
        What arbiters have.
    """

    ports: list[Ports]
    grows: Floats
    capacities: Floats

    @property
    def at(self) -> Indices:
        """The arbiter of each entry."""
        return self.ports[0].groups

    def any(self, mask: Mask) -> Mask:
        """Say for each arbiter whether any entry there is meant."""
        return self.ports[0].any(mask)

    def part(self, keep: Mask) -> tuple[Arbiters, Indices]:
        """Leave out arbiters.

        Parameters
        ----------
        keep : ndarray, shape (arbiters,), bool
            Which arbiters stay.

        Returns
        -------
        Arbiters
            What is left, in the same order.
        ndarray of int64
            Which entries are left.
        """
        stays = keep[self.at]
        entries = np.flatnonzero(stays)
        number, before = numbers(stays), numbers(keep)
        arbiters = before
        left: list[Ports] = []
        for ports in self.ports:
            kept = keep[ports.arbiters]
            if not kept.any():
                break
            there = np.flatnonzero(kept[ports.groups])
            port = numbers(kept)
            left.append(
                Ports(
                    number[ports.entries[there]],
                    port[ports.groups[there]],
                    ports.turns[there],
                    before[ports.parents[kept]] if left else ports.parents,
                    arbiters[ports.arbiters[kept]],
                )
            )
            before = port
        return Arbiters(left, self.grows[entries], self.capacities[keep]), entries

    def divide(self, wants: Floats, content: Mask) -> tuple[Floats, Mask]:
        """Divide each arbiter among entries that want no more than they say.

        It is guessed who gets what it wants, and those who are found wrong change: all at once
        first, then one of each arbiter, which comes to an end [murty1974, judice1994].

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
        part, entries = self, np.arange(len(wants))
        for number in range(MAX_GUESSES):
            mine = wants[entries]
            answers[entries] = found = part._answers(mine, content[entries])
            wrong = np.flatnonzero((mine < found * (1.0 - TIE_RATIO)) != content[entries])
            if not len(wrong):
                break
            at = part.at[wrong]
            changed = wrong if number < NUM_AT_ONCE else wrong[np.unique(at, return_index=True)[1]]
            content[entries[changed]] ^= True
            keep = np.zeros(len(part.capacities), dtype=bool)
            keep[at] = True
            part, left = part.part(keep)
            entries = entries[left]
        return answers, content

    def _answers(self, wants: Floats, content: Mask) -> Floats:
        # Of the turns of each port: what one for each child makes, and those taken by the content.
        slopes, offsets = self.grows * ~content, wants * content
        lines: list[tuple[Floats, Floats]] = []
        for ports in self.ports[:0:-1]:
            share, offset = slopes[ports.entries], offsets[ports.entries]
            slope, taken = ports.sums(ports.turns * share), ports.sums(ports.turns * offset)
            lines.append((slope, taken))
            share /= (slope + (slope == 0.0))[ports.groups]
            slopes[ports.entries] = share
            offsets[ports.entries] = offset - share * taken[ports.groups]
        # The turns that each child of the innermost port gets. Behind ports where all are content,
        # what is left goes on top.
        ports = self.ports[0]
        slope, left = ports.sums(ports.turns * slopes), self.capacities
        left = left - ports.sums(ports.turns * offsets)
        is_open = slope > 0.0
        level = left / (slope + ~is_open)
        levels = level[ports.groups]
        shut = np.flatnonzero(~is_open[ports.groups])
        extra = [(shut, left[ports.groups[shut]] / ports.turns[shut])]
        for ports, (slope, taken) in zip(self.ports[1:], lines[::-1], strict=True):
            left, is_given = level[ports.parents] - taken, is_open[ports.parents]
            is_open = slope > 0.0
            level = left / (slope + ~is_open)
            levels[ports.entries] = level[ports.groups]
            shut = np.flatnonzero((is_given & ~is_open)[ports.groups])
            extra.append((ports.entries[shut], left[ports.groups[shut]] / ports.turns[shut]))
        answers = levels * self.grows
        for entries, more in extra:
            answers[entries] = wants[entries] + more
        return answers


def sums(groups: Indices, values: Floats, num: int) -> Floats:
    """Add up the values of each group, of so many."""
    return np.asarray(np.bincount(groups, values, num), dtype=np.float64)


def begins(groups: Indices) -> Indices:
    """Say where each group begins of those that are next to each other."""
    return np.flatnonzero(np.diff(groups, prepend=-1))


def numbers(mask: Mask) -> Indices:
    """Return the numbers of those that are meant."""
    return np.cumsum(mask) - 1
