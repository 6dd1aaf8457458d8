"""Collecting series: repeat, warm up until steady, alternate between rivals, keep every sample."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Context, Interrupted
from topoprobe.measure.statistics import is_steady, spread_ratio
from topoprobe.records.base import Status
from topoprobe.records.results import Factor, Sample, Series

STEADY_RATIO = 0.02
"""Warm-up ends when three consecutive samples lie within this range of each other."""

_MIN_SAMPLES = 3
# A machine that has not become steady in this many times the wanted samples will not.
_MAX_EXCESS = 2


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a series will hold: its name, unit and factors.

    Attributes
    ----------
    name, unit : str
        As in `Series`.
    factors : mapping
        What is held fixed.
    is_better_higher : bool
        Whether larger values are better.
    """

    name: str
    unit: str
    factors: Mapping[str, Factor]
    is_better_higher: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing to repeat, and the quantities that each repetition gives.

    Attributes
    ----------
    quantities : tuple of Quantity
        One series each.
    measure : callable
        Takes one sample; returns one value per quantity, in its unit.
    """

    quantities: tuple[Quantity, ...]
    measure: Callable[[], Sequence[float]]

    @classmethod
    def of(cls, quantity: Quantity, measure: Callable[[], float]) -> Trial:
        """Return a trial of a single quantity."""
        return cls((quantity,), lambda: (measure(),))


def collect(
    context: Context,
    trials: Sequence[Trial],
    *,
    seed: int = 0,
    tolerance_ratio: float = STEADY_RATIO,
    num_samples: int | None = None,
    max_series_s: float | None = None,
) -> tuple[Series, ...]:
    """Measure rival trials in alternation, so that what drifts on the machine hits all alike.

    Every round takes one sample of each trial, in an order shuffled anew. The first sample of a
    trial is warm-up, and so is everything before three consecutive samples agree. A trial leaves
    when it has its steady samples, or when its own time or twice the wanted samples are
    used up; then, if it never became steady, its series is ``unstable``, with the reason, and
    counts all samples but the first as steady ones.
    A trial that raises is ``failed`` with the reason, and the others go on.

    Parameters
    ----------
    context : Context
        Budget, clock and conditions; finished series go to `Context.keep` as well.
    trials : sequence of Trial
        The rivals; one is fine.
    seed : int
        Of the order.
    tolerance_ratio : float
        How closely three samples have to agree, relative to their median.
    num_samples, max_series_s : optional
        Replace the budget's.

    Returns
    -------
    tuple of Series
        Of all quantities, in the order of the trials.

    Raises
    ------
    Interrupted
        If the person asked to stop. Series with at least one sample have been kept.
    """
    order = random.Random(seed)
    runs = [
        _Run(
            trial,
            tolerance_ratio,
            num_samples or context.budget.num_samples,
            max_series_s or context.budget.max_series_s,
        )
        for trial in trials
    ]
    began_s = context.clock()
    if trials:
        context.progress(_label(trials[0]))
    try:
        active = list(runs)
        while active:
            order.shuffle(active)
            for run in active:
                if context.should_stop():
                    raise Interrupted
                run.step(context, began_s)
            active = [run for run in active if not run.is_done]
    finally:
        series = tuple(one for run in runs for one in run.series())
        for one in series:
            context.keep(one)
    return series


def skipped(quantity: Quantity, reason: str) -> Series:
    """Return the series of something that cannot be measured here, with the reason."""
    return _series(quantity, Status.SKIPPED, reason, ())


@dataclass(slots=True)
class _Run:
    """How far one trial is. `values` and the rest are indexed by repetition."""

    trial: Trial
    tolerance_ratio: float
    num_wanted: int
    max_s: float
    values: list[tuple[float, ...]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    spent_s: float = 0.0
    first_steady: int | None = None
    failure: str | None = None
    is_done: bool = False

    def step(self, context: Context, began_s: float) -> None:
        """Take one sample and decide whether more are wanted."""
        started_s = context.clock()
        try:
            taken = tuple(float(value) for value in self.trial.measure())
        except Interrupted:
            raise
        except Exception as error:  # the reason goes into the document
            self.failure = str(error) or type(error).__name__
            self.is_done = True
            return
        duration_s = context.clock() - started_s
        self.spent_s += duration_s
        self.values.append(taken)
        self.samples.append(
            Sample(
                value=taken[0],
                started_s=started_s - began_s,
                duration_s=duration_s,
                conditions=context.conditions(),
            )
        )
        if self.first_steady is None and self._is_steady():
            self.first_steady = len(self.values) - _MIN_SAMPLES
        has_all = self.first_steady is not None and self._num_steady() >= self.num_wanted
        has_tried = len(self.values) >= _MAX_EXCESS * max(self.num_wanted, _MIN_SAMPLES)
        self.is_done = has_all or has_tried or self.spent_s >= self.max_s

    def series(self) -> tuple[Series, ...]:
        """Return one series per quantity, as far as it got; none for a trial not begun."""
        if not self.values and self.failure is None:
            return ()
        status, reason = self._status()
        num_warmups = self._num_warmups()
        return tuple(
            _series(
                quantity,
                status,
                reason,
                tuple(
                    Sample(
                        value=self.values[index][part],
                        started_s=sample.started_s,
                        duration_s=sample.duration_s,
                        is_warmup=index < num_warmups,
                        conditions=sample.conditions,
                    )
                    for index, sample in enumerate(self.samples)
                ),
            )
            for part, quantity in enumerate(self.trial.quantities)
        )

    def _is_steady(self) -> bool:
        columns = list(zip(*self.values[1:], strict=True))
        return bool(columns) and all(is_steady(one, self.tolerance_ratio) for one in columns)

    def _num_steady(self) -> int:
        return len(self.values) - self._num_warmups()

    def _num_warmups(self) -> int:
        if self.first_steady is not None:
            return self.first_steady
        return min(1, len(self.values) - 1) if self.values else 0

    def _status(self) -> tuple[Status, str | None]:
        if self.failure is not None:
            return Status.FAILED, self.failure
        if self.first_steady is None and not self.is_done:
            return (
                Status.UNSTABLE,
                f"stopped after {len(self.values)} samples, before it was steady",
            )
        if self.first_steady is None:
            counted = self.values[1:] or self.values
            spread = max(spread_ratio(column) for column in zip(*counted, strict=True))
            return Status.UNSTABLE, (
                f"no {_MIN_SAMPLES} consecutive samples within {self.tolerance_ratio:.0%} in "
                f"{self.spent_s:.1f} s ({len(self.values)} taken, spread {spread:.1%})"
            )
        return Status.OK, None


def _series(
    quantity: Quantity, status: Status, reason: str | None, samples: tuple[Sample, ...]
) -> Series:
    return Series(
        name=quantity.name,
        unit=quantity.unit,
        factors=dict(quantity.factors),
        is_better_higher=quantity.is_better_higher,
        status=status,
        reason=reason,
        samples=samples,
    )


def _label(trial: Trial) -> str:
    quantity = trial.quantities[0]
    shown = (f"{key}={value}" for key, value in quantity.factors.items() if key != "device")
    return " ".join((quantity.name, *shown))


def require_any(series: Sequence[Series]) -> tuple[Series, ...]:
    """Return the series if at least one has samples.

    Raises
    ------
    MeasurementFailed
        If none has; the message is the first reason.
    """
    if any(one.samples for one in series):
        return tuple(series)
    reasons = [one.reason for one in series if one.reason]
    raise MeasurementFailed(reasons[0] if reasons else "Nothing was measured.")
