"""Fair rates of flows that share arbiters: guess where each is held, and better the guess."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from topoprobe.errors import ModelError
from topoprobe.model.fabric.arbiter import Arbiter, Flow
from topoprobe.model.fabric.bargain import Bargain
from topoprobe.model.fabric.crowd import crowd
from topoprobe.model.fabric.demand import Allocation
from topoprobe.model.fabric.equilibrium import unheld
from topoprobe.model.fabric.levels import Answers, Guess, answers_at

MAX_ROUNDS = 1000
NUM_CROWD = 500  # flows that bargain faster in arrays
NEARER_RATIO = 1e-11  # held elsewhere if that gives less by more than rounding
LATER_RATIO = 1.0 - 1e-9  # runs out earlier by more than rounding


def settle(flows: Sequence[Flow], arbiters: Sequence[Arbiter]) -> dict[Flow, Allocation]:
    """Give each flow its fair rate.

    By policy iteration [howard1960]: if it were known where each flow is held, at one of the
    arbiters or by its limit, rates would follow from linear equations. Such a guess is tried out,
    and each flow is held next where it could have least, until a guess leads to itself: then it is
    right. The first is what arbiters offer if everybody takes it. If a guess comes back, or decides
    nothing, the flows bargain for a round, and the next guess is where that leaves them. Very many
    flows bargain first, in a `crowd`.

    Parameters
    ----------
    flows : sequence of Flow
        With their limits.
    arbiters : sequence of Arbiter
        All that some of them share and that can run out, and no flow but these.

    Returns
    -------
    dict of Flow to Allocation

    Raises
    ------
    ModelError
        If the flows do not come to agree.
    """
    known = {arbiter.id: arbiter for arbiter in arbiters}
    known = {arbiter.id: arbiter for arbiter in arbiters if not _is_implied(arbiter, known)}
    arbiters = list(known.values())
    ways = {flow: [known[name] for name in flow.takes if name in known] for flow in flows}
    return _iterate(ways, arbiters)


def _iterate(
    ways: Mapping[Flow, Sequence[Arbiter]], arbiters: Sequence[Arbiter]
) -> dict[Flow, Allocation]:
    """Better guesses until one is right; say what it leads to."""
    tried: set[tuple[Arbiter | None, ...]] = set()
    for guess in crowd(ways) if len(ways) >= NUM_CROWD else [_offered(ways, arbiters)]:
        found = _bettered(ways, arbiters, guess, tried)
        if found is not None:
            return found
    bargain = Bargain(ways, arbiters)
    for _ in range(MAX_ROUNDS):
        guess = _held(ways, bargain.answers)
        found = _bettered(ways, arbiters, guess, tried)
        if found is not None:
            return found
        if not bargain.go_on():
            found = _allocations(arbiters, guess, bargain.answers)
            if found is not None:
                return found
            break
    raise _unsettled(ways)


def _offered(ways: Mapping[Flow, Sequence[Arbiter]], arbiters: Sequence[Arbiter]) -> Guess:
    return _held(ways, {arbiter: arbiter.offers() for arbiter in arbiters})


def _bettered(
    ways: Mapping[Flow, Sequence[Arbiter]],
    arbiters: Sequence[Arbiter],
    guess: Guess,
    tried: set[tuple[Arbiter | None, ...]],
) -> dict[Flow, Allocation] | None:
    """Better a guess until it leads to itself; None if to one that was tried before."""
    while (key := tuple(guess.values())) not in tried:
        tried.add(key)
        answers = answers_at(arbiters, guess)
        if answers is None:
            return None
        better = _held(ways, answers, guess)
        if better == guess:
            return _allocations(arbiters, guess, answers)
        guess = better
    return None


def _allocations(
    arbiters: Sequence[Arbiter], guess: Guess, answers: Answers
) -> dict[Flow, Allocation] | None:
    """Say what flows get where they are held; None if that is not fair."""
    found = {
        flow: flow.alone if at is None else Allocation(answers[at][flow], at.id)
        for flow, at in guess.items()
    }
    rates = {flow: allocation.rate_bytes_per_s for flow, allocation in found.items()}
    return None if unheld(arbiters, rates) else found


def _held(
    ways: Mapping[Flow, Sequence[Arbiter]], answers: Answers, last: Guess | None = None
) -> dict[Flow, Arbiter | None]:
    """Say where each flow could have least; where it was held last, if that is no more."""
    held: dict[Flow, Arbiter | None] = {}
    for flow, at in ways.items():
        least, here = flow.limit_bytes_per_s, None
        if last is not None and (before := last[flow]) is not None:
            answer = answers[before][flow]
            if answer < least:
                least, here = answer, before
        for arbiter in at:
            if arbiter in answers:
                answer = answers[arbiter][flow]
                if answer < least - NEARER_RATIO * abs(least):
                    least, here = answer, arbiter
        held[flow] = here
    return held


def _is_implied(arbiter: Arbiter, known: Mapping[str, Arbiter]) -> bool:
    """Whether another arbiter has all the flows of this one and runs out no later.

    Of two that run out together the one that flows cross first stays.
    """
    flow = next(iter(arbiter.flows))
    is_later = False
    for name in flow.takes:
        other = known.get(name)
        if other is arbiter:
            is_later = True
        elif other is not None and len(other.flows) >= len(arbiter.flows):
            ratio = arbiter.capacity_per_s / other.capacity_per_s
            if is_later:
                ratio *= LATER_RATIO
            there = other.flows
            for each, takes in arbiter.flows.items():
                if each not in there or takes > ratio * there[each]:
                    break
            else:
                return True
    return False


def _unsettled(flows: Collection[Flow]) -> ModelError:
    """Say that rates of flows cannot be found."""
    names = ", ".join(sorted(flow.demand.id for flow in flows)[:4])
    return ModelError(
        f"The rates of {len(flows)} flows ({names}…) do not settle; expected shares that do not "
        "contradict each other where flows cross the same resources in different orders."
    )
