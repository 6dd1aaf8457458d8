"""Recorded samples, pushed through the real collecting and judging on a fake clock."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Budget, Context
from topoprobe.measure.series import Quantity, Trial, collect
from topoprobe.measure.stability import TOLERANCE_RATIO
from topoprobe.records.base import Status
from topoprobe.records.results import Conditions, Series


def replay(recorded: Sequence[Series]) -> list[Series]:
    """Collect again what was recorded; what was skipped is returned as it is."""
    replayed: list[Series] = []
    for moments, members in itertools.groupby(recorded, _moments):
        together = list(members)
        for group in [together] if moments else [[one] for one in together]:
            replayed += _replay_one(group)
    return replayed


def _moments(series: Series) -> tuple[float, ...]:
    """Quantities that were measured together have their samples at the same moments."""
    return tuple(sample.started_s for sample in series.samples)


def _replay_one(together: Sequence[Series]) -> list[Series]:
    first = together[0]
    if first.status is Status.SKIPPED:
        return list(together)
    tape = _Tape(together)
    quantities = tuple(
        Quantity(one.name, one.unit, one.factors, one.is_better_higher) for one in together
    )
    trial = Trial(quantities, tape.measure)
    tolerance_ratio = first.tolerance_ratio or TOLERANCE_RATIO
    return list(collect(tape.context(), [trial], tolerance_ratio=tolerance_ratio))


class _Tape:
    """What is measured, when, and under which conditions, as it was recorded."""

    def __init__(self, together: Sequence[Series]) -> None:
        self._first = together[0]
        self._rows = list(zip(*(series.samples for series in together), strict=True))
        self._position = 0
        self._now_s = 0.0

    def context(self) -> Context:
        """Let it run until the last recorded sample has used up the time, or has failed."""
        samples = self._first.samples
        spent_s = sum(sample.duration_s for sample in samples)
        is_failed = self._first.status is Status.FAILED
        limit_s = math.inf if is_failed else spent_s - samples[-1].duration_s / 2
        return Context(
            budget=Budget("replay", len(samples) + 1, limit_s, 0),
            clock=lambda: self._now_s,
            conditions=self._conditions,
            cpus=(),
            scratch="/nonexistent",
            should_stop=self._begin,
        )

    def _begin(self) -> bool:
        """Set the clock to when the next sample was begun."""
        if self._position < len(self._rows):
            self._now_s = self._first.samples[self._position].started_s
        return False

    def measure(self) -> tuple[float, ...]:
        if self._position == len(self._rows):
            raise MeasurementFailed(self._first.reason or "nothing more was recorded")
        row = self._rows[self._position]
        self._now_s = row[0].started_s + row[0].duration_s
        return tuple(sample.value for sample in row)

    def _conditions(self) -> Conditions | None:
        recorded = self._first.samples[self._position].conditions
        self._position += 1
        return recorded
