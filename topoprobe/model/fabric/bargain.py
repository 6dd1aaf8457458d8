"""Fair rates of flows whose arbiters wait for each other: offers and wants until they agree."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from topoprobe.errors import ModelError
from topoprobe.model.fabric.arbiter import Arbiter, Flow
from topoprobe.model.fabric.demand import Allocation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

AGREED_RATIO = 1e-13
MAX_ROUNDS = 1000
LEAP_ROUNDS = 3
MAX_LEAP = 200  # unknowns
SINGULAR = 1e-9
LARGER, SMALLER, SMALLEST = 1.1, 0.5, 1 / 128

Key: TypeAlias = tuple[Arbiter, Flow]


def bargain(
    ways: Mapping[Flow, Sequence[Arbiter]],
    most: Mapping[Flow, Allocation],
    start: Mapping[Flow, Allocation],
) -> dict[Flow, Allocation]:
    """Give each flow its fair rate by bargaining.

    Each arbiter divides what it has among what its flows want, and each flow wants of an arbiter
    the least that it could have elsewhere. When nobody changes, the rates are fair. All move at
    once, so that the order of flows plays no role. One that is told to go back makes smaller steps
    from then on, and now and then all leap to where nobody would move if nothing but rates changed.

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
        wants = talks.answer()
        if not wants:
            return {flow: talks.result(flow, most[flow]) for flow in ways}
        leap = talks.leap(wants) if num_rounds % LEAP_ROUNDS == 0 else {}
        talks.tell(leap or talks.towards(wants))
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
        self.steps: dict[Key, tuple[float, bool]] = {}
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

    def answer(self) -> dict[Key, float]:
        """Let the arbiters answer that were told anything new.

        Returns
        -------
        dict of (Arbiter, Flow) to float
            What flows want now, where that is not what they have told.
        """
        for arbiter in self.stale:
            self.answers[arbiter], self.content[arbiter] = arbiter.answers(
                self.wants[arbiter], self.content[arbiter]
            )
        moved = dict.fromkeys(flow for arbiter in self.stale for flow in arbiter.flows)
        return {
            (arbiter, flow): want
            for flow in moved
            for arbiter, want, _ in self._choices(flow)
            if abs(want - self.wants[arbiter][flow]) > AGREED_RATIO * want
        }

    def tell(self, wants: Mapping[Key, float]) -> None:
        """Tell arbiters what flows want from now on."""
        for (arbiter, flow), want in wants.items():
            self.wants[arbiter][flow] = want
        self.stale = dict.fromkeys(arbiter for arbiter, _ in wants)

    def towards(self, wants: Mapping[Key, float]) -> dict[Key, float]:
        """Go from what flows told towards what they want, the less the more often they turned."""
        found = {}
        for key, want in wants.items():
            arbiter, flow = key
            last = self.wants[arbiter][flow]
            found[key] = last + self._step(key, want > last) * (want - last)
        return found

    def _step(self, key: Key, is_up: bool) -> float:
        step, was_up = self.steps.get(key, (1.0, is_up))
        step = min(1.0, step * LARGER) if is_up == was_up else max(step * SMALLER, SMALLEST)
        self.steps[key] = step, is_up
        return step

    def _choices(self, flow: Flow) -> list[tuple[Arbiter, float, Arbiter | None]]:
        """Say what a flow wants of each arbiter, the least it could have elsewhere, and where."""
        at = self.ways.get(flow, ())
        least, next_least = self.limits.get(flow, 0.0), float("inf")
        least_at: Arbiter | None = None
        next_at: Arbiter | None = None
        for arbiter in at:
            answer = self.answers[arbiter][flow]
            if answer < least:
                least, least_at, next_least, next_at = answer, arbiter, least, least_at
            elif answer < next_least:
                next_least, next_at = answer, arbiter
        return [
            (arbiter, next_least, next_at) if arbiter is least_at else (arbiter, least, least_at)
            for arbiter in at
        ]

    def leap(self, wants: Mapping[Key, float]) -> dict[Key, float]:
        """Go to where nobody would move if everybody went on to depend on others as now.

        That is a step of Newton's method: what an arbiter answers is linear in what its content
        flows want, until somebody becomes content or stops to be.

        Returns
        -------
        dict of (Arbiter, Flow) to float
            What to tell; empty if too many are involved, or no such place is found.
        """
        import numpy as np

        depend: dict[Key, list[Key]] = {}  # on an arbiter's answer to a flow
        for flow in self.ways:
            for arbiter, _, teller in self._choices(flow):
                if teller is not None:
                    depend.setdefault((teller, flow), []).append((arbiter, flow))
        moves = {
            (arbiter, flow): want - self.wants[arbiter][flow]
            for (arbiter, flow), want in wants.items()
        }
        # Only content flows change answers: what they want is the unknown, and all else follows.
        slopes: dict[Key, dict[Key, float]] = {}
        unknown: dict[Key, int] = {}
        queue = list(moves)
        while queue:
            key = queue.pop()
            arbiter, flow = key
            if key in unknown or flow not in self.content[arbiter]:
                continue
            unknown[key] = len(unknown)
            if len(unknown) > MAX_LEAP:
                return {}
            found_slopes = arbiter.slopes(self.answers[arbiter], self.content[arbiter], flow)
            for other, slope in found_slopes.items():
                for dependent in depend.get((arbiter, other), ()):
                    slopes.setdefault(dependent, {})[key] = slope
                    queue.append(dependent)
        matrix = np.eye(len(unknown))
        right = np.array([moves.get(key, 0.0) for key in unknown])
        for key, row in unknown.items():
            for cause, slope in slopes.get(key, {}).items():
                matrix[row, unknown[cause]] -= slope
        solved = _solve(matrix, right)
        if solved is None:
            return {}
        found = {}
        for key in {**moves, **slopes}:
            arbiter, flow = key
            last = self.wants[arbiter][flow]
            row_slopes = slopes.get(key, {}).items()
            step = moves.get(key, 0.0) + sum(
                each * solved[unknown[cause]] for cause, each in row_slopes
            )
            found[key] = min(max(last + step, last / 2.0), self.limits[flow])
        return found

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


def _solve(matrix: Floats, right: Floats) -> list[float] | None:
    """Solve linear equations by elimination; None if they have no one solution.

    There are a few dozen unknowns, for which a library's threads would take longer to wake up.
    """
    import numpy as np

    rows = np.column_stack((matrix, right))
    num = len(right)
    for column in range(num):
        pivot = column + int(np.argmax(np.abs(rows[column:, column])))
        if not abs(rows[pivot, column]) > SINGULAR:
            return None
        rows[[column, pivot]] = rows[[pivot, column]]
        rows[column] /= rows[column, column]
        below = rows[column + 1 :, column]
        touched = column + 1 + np.flatnonzero(below)
        rows[touched] -= rows[touched, column, None] * rows[column]
    solved = rows[:, num]
    for column in range(num - 1, 0, -1):
        solved[:column] -= rows[:column, column] * solved[column]
    return [float(each) for each in solved]
