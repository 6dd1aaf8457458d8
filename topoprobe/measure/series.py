"""Collecting series: repeat until the median is known, rivals in turn, and keep every sample."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Context, Interrupted
from topoprobe.measure.stability import MIN_SAMPLES, TOLERANCE_RATIO, Judgement, judge
from topoprobe.records.base import Status
from topoprobe.records.results import Factor, Sample, Series

# What is not known well enough by this many times the wanted samples is called unstable.
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
    prove : callable
        Called once after the last sample, untimed; raises if what was measured is not right then.
    """

    quantities: tuple[Quantity, ...]
    measure: Callable[[], Sequence[float]]
    prove: Callable[[], None] = lambda: None

    @classmethod
    def of(
        cls,
        quantity: Quantity,
        measure: Callable[[], float],
        prove: Callable[[], None] = lambda: None,
    ) -> Trial:
        """Return a trial of a single quantity."""
        return cls((quantity,), lambda: (measure(),), prove)


def collect(
    context: Context,
    trials: Sequence[Trial],
    *,
    seed: int = 0,
    tolerance_ratio: float = TOLERANCE_RATIO,
    num_samples: int | None = None,
    max_series_s: float | None = None,
) -> tuple[Series, ...]:
    """Measure rival trials in alternation, so that what drifts on the machine hits all alike.

    Every round takes one sample of each trial, in an order shuffled anew. A trial leaves when it
    has the wanted samples after its warm-up and they make it stable (see `stability.judge`), or
    when its own time or twice the wanted samples are used up; what is not stable then is
    ``unstable``, with the reason. Warm-up is kept and marked.
    A trial that raises, also when it proves itself in the end, is ``failed`` with the reason, and
    the others go on.

    Parameters
    ----------
    context : Context
        Budget, clock and conditions; finished series go to `Context.keep` as well.
    trials : sequence of Trial
        The rivals; one is fine.
    seed : int
        Of the order.
    tolerance_ratio : float
        How well the median has to be known, and how little it may drift, relative to itself.
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
    failure: str | None = None
    is_done: bool = False

    def step(self, context: Context, began_s: float) -> None:
        """Take one sample and decide whether more are wanted."""
        try:
            with context.burst():
                started_s = context.clock()
                taken = tuple(float(value) for value in self.trial.measure())
                duration_s = context.clock() - started_s
                conditions = context.conditions()
        except Interrupted:
            raise
        except Exception as error:
            self._fail(error)
            return
        self.spent_s += duration_s
        self.values.append(taken)
        self.samples.append(
            Sample(
                value=taken[0],
                started_s=started_s - began_s,
                duration_s=duration_s,
                conditions=conditions,
            )
        )
        has_tried = len(self.values) >= _MAX_EXCESS * max(self.num_wanted, MIN_SAMPLES)
        self.is_done = has_tried or self.spent_s >= self.max_s or self._has_enough()
        if self.is_done:
            try:
                self.trial.prove()
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        """End with the reason, which goes into the document."""
        self.failure = str(error) or type(error).__name__
        self.is_done = True

    def series(self) -> tuple[Series, ...]:
        """Return one series per quantity, as far as it got; none for a trial not begun."""
        if not self.values:
            return tuple(
                _series(quantity, Status.FAILED, self.failure, ())
                for quantity in self.trial.quantities
                if self.failure is not None
            )
        judgement = self._judgement()
        return tuple(
            self._one_series(part, quantity, judgement)
            for part, quantity in enumerate(self.trial.quantities)
        )

    def _one_series(self, part: int, quantity: Quantity, judgement: Judgement) -> Series:
        status, reason = Status.OK, judgement.reasons[part]
        if self.failure is not None:
            status, reason = Status.FAILED, self.failure
        elif reason is not None:
            status = Status.UNSTABLE
        samples = tuple(
            Sample(
                value=self.values[index][part],
                started_s=sample.started_s,
                duration_s=sample.duration_s,
                is_warmup=index < judgement.num_warmups,
                conditions=sample.conditions,
            )
            for index, sample in enumerate(self.samples)
        )
        return _series(quantity, status, reason, samples, self.tolerance_ratio)

    def _judgement(self) -> Judgement:
        return judge(list(zip(*self.values, strict=True)), self.tolerance_ratio)

    def _has_enough(self) -> bool:
        if len(self.values) <= self.num_wanted:  # the first is warm-up
            return False
        judgement = self._judgement()
        return judgement.is_stable and len(self.values) - judgement.num_warmups >= self.num_wanted


def _series(
    quantity: Quantity,
    status: Status,
    reason: str | None,
    samples: tuple[Sample, ...],
    tolerance_ratio: float | None = None,
) -> Series:
    return Series(
        name=quantity.name,
        unit=quantity.unit,
        factors=dict(quantity.factors),
        is_better_higher=quantity.is_better_higher,
        status=status,
        reason=reason,
        tolerance_ratio=tolerance_ratio,
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
