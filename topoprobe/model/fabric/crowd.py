"""Where very many flows are held, as a guess: the bargain of all with all, in arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from topoprobe.model.fabric.arbiter import MAX_GUESSES, TIE_RATIO, Arbiter, Flow, Port

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

MAX_ROUNDS = 600
NEAR_RATIOS = (1e-3, 1e-5, 1e-8, 1e-11)  # how far flows still move when it is time for a guess
LARGER, SMALLER, SMALLEST = 1.1, 0.7, 0.02  # steps of those that went on, or turned


def crowd(
    ways: Mapping[Flow, Sequence[Arbiter]], limits: Mapping[Flow, float]
) -> Iterator[dict[Flow, Arbiter | None]]:
    """Let all flows bargain with all arbiters, round by round.

    The rules are those of `Bargain`, but for the sizes of steps.

    Parameters
    ----------
    ways : mapping of Flow to sequence of Arbiter
        What can run out on the way of each flow.
    limits : mapping of Flow to float
        Of all flows there; those without a way have their limits.

    Yields
    ------
    dict of Flow to Arbiter or None
        Where each flow would be held, None for its limit; from time to time, the later the surer.
    """
    import numpy as np

    table = _Table(ways, limits)
    wants = table.limits[table.flows]
    content = np.zeros(len(wants), dtype=bool)
    steps, last = np.ones(len(wants)), np.zeros(len(wants))
    for near_ratio in NEAR_RATIOS:
        for _ in range(MAX_ROUNDS):
            for _ in range(MAX_GUESSES):
                answers = table.answers(wants, content)
                found = wants < answers * (1.0 - TIE_RATIO)
                if np.array_equal(found, content):
                    break
                content = found
            least, told = table.choices(answers)
            moves = told - wants
            if np.all(np.abs(moves) <= near_ratio * wants):
                break
            turned = moves * last < 0.0
            steps = np.where(
                turned, np.maximum(steps * SMALLER, SMALLEST), np.minimum(steps * LARGER, 1.0)
            )
            last = moves
            wants = np.maximum(wants + steps * moves, wants / 2.0)
        yield table.held(answers, least)


class _Depth(NamedTuple):
    """Ports that are so many ports behind a resource, and the entries behind each.

    Attributes
    ----------
    entries : ndarray, shape (n,), int64
        Those behind a port of this depth.
    ports : ndarray, shape (n,), int64
        Which port.
    turns, outer : ndarray, shape (n,), float64
        Turns per byte by the law of that port, and by the law of the port before it.
    parents : ndarray, shape (m,), int64
        Of each port of this depth, the one before it.
    """

    entries: Indices
    ports: Indices
    turns: Floats
    outer: Floats
    parents: Indices


class _Table:
    """Flows at arbiters as arrays: an entry is one flow at one arbiter.

    Ports are numbered by depth; the roots, which are the arbiters, have depth 0.
    """

    def __init__(
        self, ways: Mapping[Flow, Sequence[Arbiter]], limits: Mapping[Flow, float]
    ) -> None:
        import numpy as np

        self.num_open = len(ways)
        self.all_flows = [*ways, *(flow for flow in limits if flow not in ways)]
        self.arbiters = list(dict.fromkeys(arbiter for at in ways.values() for arbiter in at))
        self.limits = np.array([limits[flow] for flow in self.all_flows])
        self.capacities = np.array([arbiter.capacity_per_s for arbiter in self.arbiters])
        number = {flow: index for index, flow in enumerate(self.all_flows)}
        pairs = [(arbiter, flow) for arbiter in self.arbiters for flow in arbiter.flows]
        self.roots = np.repeat(
            np.arange(len(self.arbiters)), [len(arbiter.flows) for arbiter in self.arbiters]
        )
        self.flows = np.array([number[flow] for _, flow in pairs])
        self.takes = np.array([arbiter.flows[flow] for arbiter, flow in pairs])
        self.depths = _depths(self.arbiters)
        # The law that applies where an entry joins others, by the deepest port that it is behind.
        self.turns = np.empty(len(pairs))
        self.depth = np.zeros(len(pairs), dtype=np.int64)
        for depth, each in enumerate(self.depths):
            self.turns[each.entries] = each.turns
            self.depth[each.entries] = depth
        self.order = np.argsort(self.flows, kind="stable")
        self.begins = np.flatnonzero(np.diff(self.flows[self.order], prepend=-1))

    def answers(self, wants: Floats, content: NDArray[np.bool_]) -> Floats:
        """Tell what each entry could have, if the others want what they say."""
        import numpy as np

        slopes = np.where(content, 0.0, 1.0 / self.turns)
        offsets = np.where(content, wants, 0.0)
        inner: list[tuple[Floats, Floats]] = []
        for depth in self.depths[:0:-1]:
            num = len(depth.parents)
            slope = _sums(depth.ports, depth.outer * slopes[depth.entries], num)
            taken = _sums(depth.ports, depth.outer * offsets[depth.entries], num)
            inner.insert(0, (slope, taken))
            share = slopes[depth.entries] / np.where(slope > 0.0, slope, 1.0)[depth.ports]
            slopes[depth.entries] = share
            offsets[depth.entries] -= share * taken[depth.ports]
        num = len(self.capacities)
        slope = _sums(self.roots, self.takes * slopes, num)
        left = self.capacities - _sums(self.roots, self.takes * offsets, num)
        is_open = is_open_root = slope > 0.0
        level = left / np.where(is_open, slope, 1.0)
        answers = slopes * level[self.roots] + offsets
        alone = wants + left[self.roots] / self.takes
        here = content & (self.depth == 0)
        answers[here] = (level[self.roots] / self.turns)[here]
        for number, (slope, taken) in enumerate(inner, start=1):
            depth = self.depths[number]
            # Turns that each port is given, and what they make for each behind it.
            given, was_open = level[depth.parents], is_open[depth.parents]
            is_open = (slope > 0.0) & was_open
            spare = given - taken
            level = spare / np.where(slope > 0.0, slope, 1.0)
            entries, ports = depth.entries, depth.ports
            ends = content[entries] & is_open[ports] & (self.depth[entries] == number)
            answers[entries[ends]] = level[ports[ends]] / self.turns[entries[ends]]
            shut = content[entries] & (was_open & ~is_open)[ports]
            more = spare[ports] / depth.outer
            answers[entries[shut]] = (wants[entries] + more)[shut]
        return np.where(is_open_root[self.roots], answers, alone)

    def choices(self, answers: Floats) -> tuple[Floats, Floats]:
        """Find the least answer to each flow, and for each entry the least elsewhere."""
        import numpy as np

        answers = answers[self.order]
        flows = self.flows[self.order]
        ids = flows[self.begins]
        least = np.full(len(self.limits), np.inf)
        least[ids] = np.minimum.reduceat(answers, self.begins)
        at_least = np.flatnonzero(answers == least[flows])
        first = at_least[np.diff(flows[at_least], prepend=-1) != 0]
        answers[first] = np.inf
        next_least = np.full(len(self.limits), np.inf)
        next_least[ids] = np.minimum.reduceat(answers, self.begins)
        told = least[flows]
        told[first] = next_least[flows[first]]
        elsewhere = np.empty_like(told)
        elsewhere[self.order] = np.minimum(told, self.limits[flows])
        return least, elsewhere

    def held(self, answers: Floats, least: Floats) -> dict[Flow, Arbiter | None]:
        """Say where each flow could have least."""
        import numpy as np

        first: dict[int, int] = {}
        for entry in np.flatnonzero(answers <= least[self.flows]).tolist():
            first.setdefault(int(self.flows[entry]), int(self.roots[entry]))
        rows = zip(
            self.all_flows[: self.num_open], least.tolist(), self.limits.tolist(), strict=False
        )
        return {
            flow: self.arbiters[first[index]] if rate < limit else None
            for index, (flow, rate, limit) in enumerate(rows)
        }


def _sums(groups: Indices, values: Floats, num: int) -> Floats:
    import numpy as np

    return np.asarray(np.bincount(groups, values, num), dtype=np.float64)


def _depths(arbiters: Sequence[Arbiter]) -> list[_Depth]:
    """Give numbers to ports by depth, and to flows at arbiters in their order."""
    import numpy as np

    found: list[_Depth] = []
    first = 0
    entry_of: list[dict[Flow, int]] = []
    for arbiter in arbiters:
        entry_of.append({flow: first + index for index, flow in enumerate(arbiter.flows)})
        first += len(arbiter.flows)
    # Ports of one depth, each with its parent's number, its parent's law and its arbiter's number.
    ports = [(arbiter.root, 0, arbiter.id, number) for number, arbiter in enumerate(arbiters)]
    while ports:
        rows: list[tuple[int, int, float, float]] = []
        behind: list[tuple[Port, int, str, int]] = []
        for index, (port, _, outer, number) in enumerate(ports):
            entries = entry_of[number]
            rows += [
                (entries[flow], index, flow.turns[port.law], flow.turns[outer])
                for flow in port.behind
            ]
            behind += [(child, index, port.law, number) for child in port.ports]
        entries_, ports_, turns, outer_turns = (
            np.array(column) for column in zip(*rows, strict=True)
        )
        parents = np.array([parent for _, parent, _, _ in ports])
        found.append(_Depth(entries_, ports_, turns, outer_turns, parents))
        ports = behind
    return found
