"""Variants that compete: the full suite measures each, the others not those far behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from topoprobe.measure.benchmark import Context
from topoprobe.measure.devices.cpu.team import Team
from topoprobe.measure.series import Quantity, Trial, collect, skipped
from topoprobe.records.results import Series

# Less than this share of the best rate at first sight is more than any noise explains.
_FAR_BEHIND_RATIO = 0.75
_NUM_LOOKS = 2


@dataclass(frozen=True, slots=True)
class Rival:
    """One variant on a team of threads.

    Attributes
    ----------
    quantity : Quantity
        A rate.
    run : callable
        Does so many passes and returns the seconds of one.
    work : float
        Done in a pass: bytes or operations.
    """

    quantity: Quantity
    run: Callable[[int], float]
    work: float


def compete(context: Context, team: Team, rivals: Sequence[Rival]) -> tuple[Series, ...]:
    """Measure rivals in alternation, with passes enough for a sample.

    Returns
    -------
    tuple of Series
        In the order of the rivals; except in the full suite, those far behind at a first sight
        are skipped, with their share of the best.
    """
    looks = [[rival.run(1) for rival in rivals] for _ in range(_NUM_LOOKS)]
    seconds = [min(times) for times in zip(*looks, strict=True)]
    rates = [rival.work / time_s for rival, time_s in zip(rivals, seconds, strict=True)]
    least = 0.0 if context.budget.suite == "full" else _FAR_BEHIND_RATIO * max(rates, default=0.0)
    chosen = [index for index, rate in enumerate(rates) if rate >= least]
    measured = collect(
        context,
        [
            Trial.of(rivals[index].quantity, _rate(rivals[index], team.passes_for(seconds[index])))
            for index in chosen
        ],
    )
    series = dict(zip(chosen, measured, strict=True))
    return tuple(
        series.get(index)
        or skipped(
            rival.quantity,
            f"{rates[index] / max(rates):.0%} of the best at first sight; "
            "the full suite measures it",
        )
        for index, rival in enumerate(rivals)
    )


def _rate(rival: Rival, num_passes: int) -> Callable[[], float]:
    return lambda: rival.work / rival.run(num_passes)
