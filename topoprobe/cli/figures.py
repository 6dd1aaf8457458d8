"""The figures of results that are no ceilings: handovers, rooflines, steps, and the rest.

Documents in, lines of text out; nothing here measures or opens files.
"""

from __future__ import annotations

import itertools

from topoprobe.cli.summary import labelled
from topoprobe.measure.statistics import median, steady_values
from topoprobe.records.calibration import CalibrationDocument, DeviceCalibration, RooflinePoint
from topoprobe.records.results import Experiment, ResultsDocument, Series
from topoprobe.units import format_flops, format_interval, format_seconds, format_value

# Series that the lines of `topoprobe.cli.summary`, or those below, tell of.
_TOLD = (
    "stream.", "latency.idle", "compute.", "swap.in", "swap.out", "disk.", "contention.",
    "roofline", "core_to_core", "model.step",
)  # fmt: skip


def roofline_lines(calibration: CalibrationDocument) -> list[str]:
    """Say what each device attains at the least and the most arithmetic per byte."""
    return labelled("roofline", [_roofline(device) for device in calibration.devices])


def handover_lines(results: ResultsDocument) -> list[str]:
    """Say how long a cache line takes between CPUs, by what they share."""
    kinds: dict[str, list[float]] = {}
    for one in _all_series(results):
        if one.name == "core_to_core" and (values := steady_values(one)):
            kinds.setdefault(str(one.factors["shared"]), []).append(median(values))
    return labelled(
        "handover", [f"of a cache line, {_between(kind, seen)}" for kind, seen in kinds.items()]
    )


def step_lines(results: ResultsDocument, calibration: CalibrationDocument) -> list[str]:
    """Say how long steps of a model take, and how well the law that was fitted meets others."""
    timed = [
        (median(values), one)
        for one in _all_series(results)
        if one.name == "model.step" and (values := steady_values(one))
    ]
    lines = []
    for model in dict.fromkeys(str(one.factors["model"]) for _, one in timed):
        own = sorted((pair for pair in timed if pair[1].factors["model"] == model), key=_seconds)
        text = f"{model}: {_step(*own[0])} to {_step(*own[-1])}"
        for cost in calibration.models:
            if cost.model.name == model and cost.mean_error_ratio is not None:
                text += (
                    f"; the law misses other steps by {cost.mean_error_ratio:.1%} on average, "
                    f"{cost.max_error_ratio or 0.0:.1%} at most"
                )
        lines.append(text)
    return labelled("steps", lines)


def other_figures(experiment: Experiment) -> str:
    """Return the figures of an experiment that no other line tells: the range of each quantity."""
    ranges: dict[tuple[str, str], list[float]] = {}
    for one in experiment.series:
        if not one.name.startswith(_TOLD) and (values := steady_values(one)):
            ranges.setdefault((one.name, one.unit), []).append(median(values))
    return ", ".join(f"{name} {_range(seen, unit)}" for (name, unit), seen in ranges.items())


def _roofline(device: DeviceCalibration) -> str:
    parts = []
    for dtype, points in itertools.groupby(device.roofline, key=lambda point: point.dtype):
        of_dtype = list(points)
        most = max(point.num_threads or 0 for point in of_dtype)
        widest = [point for point in of_dtype if (point.num_threads or 0) == most]
        parts.append(f"{dtype} {_attained(widest[0])} to {_attained(widest[-1])}")
    return ", ".join(parts)


def _attained(point: RooflinePoint) -> str:
    rate = format_flops(point.rate_flop_per_s.value)
    return f"{rate} at {point.intensity_flop_per_byte:g} flop/B"


def _between(kind: str, seen: list[float]) -> str:
    pairs = f"{len(seen)} pair{'s' * (len(seen) > 1)}"
    return f"{_range(seen, 's')} between CPUs of one {kind} ({pairs})"


def _range(seen: list[float], unit: str) -> str:
    if len(seen) == 1:
        return format_value(seen[0], unit)
    return format_interval(min(seen), max(seen), unit)


def _step(seconds: float, one: Series) -> str:
    num_tokens = int(one.factors["num_tokens"])
    return f"{format_seconds(seconds)} for {num_tokens} token{'s' * (num_tokens > 1)}"


def _seconds(pair: tuple[float, Series]) -> float:
    return pair[0]


def _all_series(results: ResultsDocument) -> list[Series]:
    return [one for experiment in results.experiments for one in experiment.series]
