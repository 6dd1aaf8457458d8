"""Fair rates of flows whose arbiters wait for each other: offers and wants until they agree."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from topoprobe.errors import ModelError
from topoprobe.model.fabric.arbiter import Arbiter, Flow
from topoprobe.model.fabric.demand import Allocation

AGREED_RATIO = 1e-13
MAX_ROUNDS = 1000
HASTY_ROUNDS = 24
LEAPS = (24, 32, 40, 64, 128, 256, 512)  # after so many rounds, ever rarer: a leap may miss
LEAP_ROUNDS = 8


def bargain(
    ways: Mapping[Flow, Sequence[Arbiter]],
    most: Mapping[Flow, Allocation],
    start: Mapping[Flow, Allocation],
) -> dict[Flow, Allocation]:
    """Give each flow its fair rate by bargaining.

    Each arbiter divides what it has among what its flows want, and each flow wants of an arbiter
    the least that it could have elsewhere. When nobody changes, the rates are fair. All move at
    once, so that the order of flows plays no role; those that still move after a number of rounds
    go only half-way, and now and then leap to where their last moves lead, by reduced rank
    extrapolation [sidi2017].

    Parameters
    ----------
    ways : mapping of Flow to sequence of Arbiter
        Who bargains, and with whom.
    most : mapping of Flow to Allocation
        What each of them could have if these arbiters gave it all that it wants.
    start : mapping of Flow to Allocation
        What flows at these arbiters have that do not bargain, and perhaps what others begin with.

    Returns
    -------
    dict of Flow to Allocation

    Raises
    ------
    ModelError
        If they do not come to agree.
    """
    talks = _Talks(ways, most, start)
    for num_rounds in range(1, MAX_ROUNDS):
        if not talks.round(1.0 if num_rounds < HASTY_ROUNDS else 0.5):
            return {flow: talks.result(flow, most[flow]) for flow in ways}
        if num_rounds in LEAPS:
            talks.leap()
    raise unsettled(ways)


class _Talks:
    """What flows want of arbiters, and what these answer."""

    def __init__(
        self,
        ways: Mapping[Flow, Sequence[Arbiter]],
        most: Mapping[Flow, Allocation],
        start: Mapping[Flow, Allocation],
    ) -> None:
        self.ways = ways
        self.limits = {flow: allocation.rate_bytes_per_s for flow, allocation in most.items()}
        self.stale = dict.fromkeys(arbiter for at in ways.values() for arbiter in at)
        self.wants: dict[Arbiter, dict[Flow, float]] = {}
        self.content: dict[Arbiter, Mapping[Flow, float]] = {}
        self.answers: dict[Arbiter, dict[Flow, float]] = {}
        self.moves: list[dict[tuple[Arbiter, Flow], tuple[float, float]]] = []
        for arbiter in self.stale:
            held = {
                flow: start[flow].rate_bytes_per_s
                for flow in arbiter.flows
                if flow in start and (flow not in ways or start[flow].bottleneck != arbiter.id)
            }
            self.content[arbiter] = held
            self.wants[arbiter] = {
                flow: held[flow] if flow in held else self.limits[flow] for flow in arbiter.flows
            }

    def round(self, step: float) -> bool:
        """Let arbiters answer and flows go a part of the way to what they want now.

        Returns
        -------
        bool
            Whether anything moved.
        """
        for arbiter in self.stale:
            self.answers[arbiter], self.content[arbiter] = arbiter.answers(
                self.wants[arbiter], self.content[arbiter]
            )
        moves: dict[tuple[Arbiter, Flow], tuple[float, float]] = {}
        for flow in dict.fromkeys(each for arbiter in self.stale for each in arbiter.flows):
            for arbiter, want in self._told(flow):
                last = self.wants[arbiter][flow]
                if abs(want - last) > AGREED_RATIO * last:
                    moves[arbiter, flow] = last, last + step * (want - last)
        self._move(moves)
        self.moves.append(moves)
        return bool(moves)

    def _told(self, flow: Flow) -> list[tuple[Arbiter, float]]:
        """Tell what a flow wants of each arbiter: the least that it could have elsewhere."""
        at = self.ways.get(flow, ())
        least, next_least = self.limits.get(flow, 0.0), float("inf")
        least_at = None
        for arbiter in at:
            answer = self.answers[arbiter][flow]
            if answer < least:
                least, next_least, least_at = answer, least, arbiter
            elif answer < next_least:
                next_least = answer
        return [(arbiter, next_least if arbiter is least_at else least) for arbiter in at]

    def leap(self) -> None:
        """Go to where the last moves lead, if they go on like this."""
        import numpy as np

        moves = self.moves[-LEAP_ROUNDS:]
        where: dict[tuple[Arbiter, Flow], float] = {}
        for move in reversed(moves):
            where |= {key: last for key, (last, _) in move.items()}
        path = [list(where.values())]
        for move in moves:
            where |= {key: new for key, (_, new) in move.items()}
            path.append(list(where.values()))
        points = np.array(path)
        steps = np.diff(points, axis=0)
        turns = np.diff(steps, axis=0)
        scale = points[-1]
        weights = np.linalg.lstsq((turns / scale).T, -steps[0] / scale, rcond=1e-9)[0]
        ahead = points[0] + weights @ steps[:-1]
        self._move(
            {
                (arbiter, flow): (last, min(max(float(new), last / 2.0), self.limits[flow]))
                for (arbiter, flow), last, new in zip(where, points[-1], ahead, strict=True)
            }
        )

    def _move(self, moves: Mapping[tuple[Arbiter, Flow], tuple[float, float]]) -> None:
        for (arbiter, flow), (_, new) in moves.items():
            self.wants[arbiter][flow] = new
        self.stale = dict.fromkeys(arbiter for arbiter, _ in moves)

    def result(self, flow: Flow, most: Allocation) -> Allocation:
        """Say what a flow has got in the end."""
        at = self.ways[flow]
        tightest = min(at, key=lambda arbiter: self.answers[arbiter][flow], default=None)
        if tightest is not None and self.answers[tightest][flow] < most.rate_bytes_per_s:
            return Allocation(self.answers[tightest][flow], tightest.id)
        return most


def unsettled(flows: Collection[Flow]) -> ModelError:
    """Say that rates of flows cannot be found."""
    names = ", ".join(sorted(flow.demand.id for flow in flows)[:4])
    return ModelError(
        f"The rates of {len(flows)} flows ({names}…) do not settle; expected shares that do not "
        "contradict each other where flows cross the same resources in different orders."
    )
