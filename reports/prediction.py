"""What the model predicted beside what the run measured."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from topoprobe.records.run import Comparison
from topoprobe.serving.comparison import BOUND_RATIO
from topoprobe.units import format_value

from .drawing.strip import Dot, draw_error
from .drawing.svg import Svg
from .quantity import format_percent
from .section import NEEDS_RUN, Absent, Documents
from .serving import repeats_note

_NAMES = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "end-to-end time"}


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """One metric."""

    metric: str
    predicted: str
    measured: str
    repeats: str
    strip: Svg
    error: str
    spread: str
    is_within: bool


@dataclass(frozen=True, slots=True)
class Prediction:
    """The table, and how many of its lines hold."""

    rows: tuple[PredictionRow, ...]
    num_within: int
    reach: str
    bound: str


def prediction(documents: Documents) -> Prediction | Absent:
    """Prepare the comparison of prediction and measurement."""
    if documents.run is None:
        return NEEDS_RUN
    comparisons = documents.run.comparisons
    if not comparisons:
        kind = documents.run.kind
        why = (
            "the run was simulated, and nothing was measured beside it"
            if kind == "simulated"
            else "the run had no calibration to predict from"
        )
        return Absent(f"The run document holds no comparison: {why}.")
    reach = _reach(comparisons)
    return Prediction(
        rows=tuple(_row(comparison, reach) for comparison in comparisons),
        num_within=sum(comparison.is_within for comparison in comparisons),
        reach=format_percent(reach),
        bound=format_percent(BOUND_RATIO),
    )


def metric_name(metric: str) -> str:
    """Write a metric's name as people say it: ``mean_ttft_s`` is ``mean TTFT``."""
    words = (
        metric.removesuffix("_tokens_per_s").removesuffix("_per_s").removesuffix("_s").split("_")
    )
    return " ".join(_NAMES.get(word, word) for word in words)


def error_sentence(comparison: Comparison) -> str:
    """Say how far a prediction was off: ``4.0 % above the measured 312 tokens/s``.

    Of several repeats it is the median, and the sentence says so.
    """
    measured = format_value(statistics.median(comparison.measured), comparison.unit)
    side = "above" if comparison.error_ratio >= 0 else "below"
    note = repeats_note(len(comparison.measured))
    return (
        f"{format_percent(abs(comparison.error_ratio))} {side} the measured {measured}"
        f"{note and f' ({note})'}"
    )


def _reach(comparisons: tuple[Comparison, ...]) -> float:
    """Return how far from the measured median the strips reach, the same for all of them."""
    reach = 0.2
    for one in comparisons:
        center = statistics.median(one.measured)
        far = (
            [abs(value / center - 1) for value in (*one.measured, one.predicted)] if center else []
        )
        reach = max([reach, *far])
    return reach


def _row(one: Comparison, reach: float) -> PredictionRow:
    center = statistics.median(one.measured)
    repeats = ", ".join(format_value(value, one.unit) for value in one.measured)
    dots = (
        [
            Dot(value / center, f"repeat {index + 1}: {format_value(value, one.unit)}")
            for index, value in enumerate(one.measured)
        ]
        if center
        else []
    )
    predicted = format_value(one.predicted, one.unit)
    strip = draw_error(
        f"{metric_name(one.metric)}: predicted {predicted}, measured {repeats}",
        dots,
        Dot(one.error_ratio + 1, f"predicted {predicted}"),
        reach,
        is_within=one.is_within,
    )
    return PredictionRow(
        metric=metric_name(one.metric),
        predicted=predicted,
        measured=format_value(center, one.unit),
        repeats=repeats,
        strip=strip,
        error=f"{one.error_ratio * 100:+.1f} %",
        spread="one repeat" if one.spread_ratio is None else format_percent(one.spread_ratio),
        is_within=one.is_within,
    )
