"""What became of every experiment, and every series of samples behind the estimates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from topoprobe.measure.evidence import Outlier, find_outliers
from topoprobe.measure.statistics import median, spread_ratio, steady_values
from topoprobe.records.base import Status
from topoprobe.records.results import Conditions, Experiment, Factor, Sample, Series
from topoprobe.units import format_bytes, format_hz, format_seconds, format_value

from .drawing.strip import Dot, draw_samples
from .drawing.svg import Svg
from .quantity import format_percent
from .section import NEEDS_RESULTS, Absent, Documents

# A page of the full suite stays small: samples beyond these are in the embedded document only.
_MAX_SERIES, _MAX_DOTS = 60, 40


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One series."""

    name: str
    factors: str
    status: str
    reason: str
    median: str
    spread: str
    samples: Svg | None


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """One experiment and its series."""

    name: str
    summary: str
    status: str
    reason: str
    elapsed: str
    counts: str
    series: tuple[SeriesRow, ...]
    num_left_out: int


@dataclass(frozen=True, slots=True)
class Experiments:
    """All experiments of a results document, and what they ran on."""

    suite: str
    is_partial: bool
    rows: tuple[ExperimentRow, ...]
    environment: tuple[tuple[str, str], ...]


def experiments(documents: Documents) -> Experiments | Absent:
    """Prepare the table of experiments."""
    results = documents.results
    if results is None:
        return NEEDS_RESULTS
    return Experiments(
        suite=results.suite,
        is_partial=results.is_partial,
        rows=tuple(_row(experiment) for experiment in results.experiments),
        environment=_environment(documents),
    )


def _row(experiment: Experiment) -> ExperimentRow:
    counts = Counter(series.status.value for series in experiment.series)
    return ExperimentRow(
        name=experiment.benchmark,
        summary=experiment.summary,
        status=experiment.status.value,
        reason=experiment.reason or "",
        elapsed="" if experiment.elapsed_s is None else format_seconds(experiment.elapsed_s),
        counts=", ".join(
            f"{counts[status.value]} {status.value}" for status in Status if counts[status.value]
        ),
        series=tuple(_series_row(series) for series in experiment.series[:_MAX_SERIES]),
        num_left_out=max(len(experiment.series) - _MAX_SERIES, 0),
    )


def _series_row(series: Series) -> SeriesRow:
    values = steady_values(series)
    return SeriesRow(
        name=series.name,
        factors=", ".join(_factor(key, value) for key, value in series.factors.items()),
        status=series.status.value,
        reason=series.reason or "",
        median=format_value(median(values), series.unit) if values else "",
        spread=_spread(values),
        samples=_samples(series) if series.samples else None,
    )


def _spread(values: Sequence[float]) -> str:
    spread = spread_ratio(values) if values else None
    return "" if spread is None else f"± {format_percent(spread)}"


def _factor(key: str, value: Factor) -> str:
    """Write what was held fixed, sizes with a unit: ``threads 2``, ``array 256 MiB``."""
    words = key.removesuffix("_bytes").replace("_", " ")
    if key.endswith("_bytes") and not isinstance(value, str):
        return f"{words} {format_bytes(value)}"
    return f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"


def _samples(series: Series) -> Svg:
    marks = {outlier.index: outlier for outlier in find_outliers(series)}
    dots = [
        Dot(
            sample.value,
            _sample_tip(sample, index, series.unit, marks.get(index)),
            is_faint=sample.is_warmup,
        )
        for index, sample in enumerate(series.samples[:_MAX_DOTS])
    ]
    return draw_samples(f"Samples of {series.name}", dots)


def _sample_tip(sample: Sample, index: int, unit: str, mark: Outlier | None) -> str:
    kind = "warm-up" if sample.is_warmup else "sample"
    lines = [
        f"{kind} {index + 1}: {format_value(sample.value, unit)}",
        f"at {format_seconds(sample.started_s)}, took {format_seconds(sample.duration_s)}",
    ]
    if mark is not None:
        lines.append(str(mark))
    if sample.conditions is not None:
        lines += _condition_lines(sample.conditions)
    return "\n".join(lines)


def _condition_lines(conditions: Conditions) -> list[str]:
    ratios = (("other processes", conditions.other_cpu_ratio), ("stolen", conditions.steal_ratio))
    clocks = (
        ("CPU clock", conditions.cpu_clock_hz),
        ("SM clock", conditions.sm_clock_hz),
        ("memory clock", conditions.memory_clock_hz),
    )
    lines = [f"{name} {format_percent(ratio)}" for name, ratio in ratios if ratio is not None]
    lines += [f"{name} {format_hz(clock)}" for name, clock in clocks if clock is not None]
    if conditions.power_w is not None:
        lines.append(f"power {conditions.power_w:.0f} W")
    if conditions.temperature_c is not None:
        lines.append(f"{conditions.temperature_c:.0f} °C")
    if conditions.pcie_generation is not None and conditions.pcie_num_lanes is not None:
        lines.append(f"link Gen{conditions.pcie_generation} x{conditions.pcie_num_lanes}")
    if conditions.num_pcie_replays:
        lines.append(f"the link sent {conditions.num_pcie_replays} packets again")
    if conditions.num_other_processes:
        lines.append(f"other processes on the GPU: {conditions.num_other_processes}")
    if conditions.throttle_reasons:
        lines.append(f"throttled: {', '.join(conditions.throttle_reasons)}")
    return lines


def _environment(documents: Documents) -> tuple[tuple[str, str], ...]:
    if documents.results is None:
        return ()
    environment = documents.results.environment
    pairs = (
        ("kernel", environment.kernel),
        ("Python", environment.python),
        ("governor", environment.governor),
        ("huge pages", environment.transparent_huge_pages),
        ("NUMA balancing", environment.numa_balancing),
        ("driver", environment.driver),
        ("CUDA", environment.cuda),
        ("CPUs", str(len(environment.affinity_cpus)) if environment.affinity_cpus else None),
        *environment.packages.items(),
    )
    return tuple((name, value) for name, value in pairs if value)
