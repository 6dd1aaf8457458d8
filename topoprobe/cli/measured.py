"""The summary of a results document: what to know, ceilings, and what flows do to each other.

A document in, lines of text out; nothing here measures or opens files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from topoprobe.cli.figures import handover_lines, other_figures, roofline_lines, step_lines
from topoprobe.cli.summary import ceiling_lines, contention_lines
from topoprobe.measure.statistics import median, spread_ratio, steady_samples, steady_values
from topoprobe.model.calibration.build import calibrate
from topoprobe.model.calibration.verdicts import BUSY_RATIO
from topoprobe.records.base import Estimate, Status
from topoprobe.records.calibration import CalibrationDocument, FlowSetShare, FlowShare
from topoprobe.records.results import Experiment, ResultsDocument, Series
from topoprobe.units import format_flops, format_rate, format_seconds

_MAX_SETS_IN_FULL = 1
_MOST_NAMES = 4
# An interval that reaches further from 1 may hide a change, and does not show that there is none.
_MOST_NOISE_RATIO = 0.2
# What the largest of many chunks decides is never steady.
_OF_SINGLE_CHUNKS = ("contention.jitter", "contention.convergence")


def result_lines(results: ResultsDocument) -> list[str]:
    """Say what was measured, with what should be known first."""
    lines = list(_warnings(results))
    if any(run.series and any(one.samples for one in run.series) for run in results.experiments):
        calibration = calibrate(results, tool=results.tool)
        lines += _device_findings(calibration)
        lines += ceiling_lines(calibration)
        lines += roofline_lines(calibration)
        lines += handover_lines(results)
        lines += _flow_lines(calibration) or _solo_lines(results)
        lines += step_lines(results, calibration)
    alike: dict[str, list[str]] = {}
    for run in results.experiments:
        alike.setdefault(_experiment(run), []).append(run.benchmark)
    return lines + [f"{_names(benchmarks)}: {text}" for text, benchmarks in alike.items()]


def _names(benchmarks: Sequence[str]) -> str:
    if len(benchmarks) < _MOST_NAMES:
        return ", ".join(benchmarks)
    return f"{benchmarks[0]} and {len(benchmarks) - 1} more"


def _warnings(results: ResultsDocument) -> Iterator[str]:
    if results.is_partial:
        yield "These results are partial: measuring was stopped before its end."
    samples = [
        sample
        for run in results.experiments
        for one in run.series
        for sample in steady_samples(one)
    ]
    shares = [
        sample.conditions.other_cpu_ratio
        for sample in samples
        if sample.conditions is not None and sample.conditions.other_cpu_ratio is not None
    ]
    busy = [share for share in shares if share > BUSY_RATIO]
    if shares and len(busy) > 0.1 * len(shares):
        yield (
            f"Other processes used {median(busy):.0%} of the CPUs beside {len(busy)} of "
            f"{len(shares)} samples: stop them and measure again for numbers to trust."
        )


def _device_findings(calibration: CalibrationDocument) -> list[str]:
    """Tell of devices that give less than their peers, or what cannot be."""
    return [
        f"{one.level} {one.subject}: {one.evidence}. {one.fix or ''}".rstrip()
        for one in calibration.verdicts
        if one.check in ("peers", "nominal")
    ]


def _flow_lines(calibration: CalibrationDocument) -> list[str]:
    sets = [flow_set for one in calibration.contention for flow_set in one.sets]
    if len(sets) <= _MAX_SETS_IN_FULL:
        return [line for flow_set in sets for line in _flow_table(flow_set)]
    return contention_lines(calibration)


def _solo_lines(results: ResultsDocument) -> list[str]:
    """Tell of flows whose sets gave no rates what they gave alone."""
    return [
        f"{flow}: {rate_text(flow, median(values))} alone; nothing together, see below"
        for run in results.experiments
        for one in run.series
        if one.name == "contention.solo" and (values := steady_values(one))
        for flow in (str(one.factors["flow"]),)
    ]


def _flow_table(flow_set: FlowSetShare) -> Iterator[str]:
    if len(flow_set.flows) == 1:
        (alone,) = flow_set.flows
        yield f"{alone.flow}: {rate_text(alone.flow, alone.solo_per_s.value)} alone"
        return
    for share in flow_set.flows:
        solo, together = share.solo_per_s.value, share.shared_per_s.value
        yield (
            f"{share.flow}: {rate_text(share.flow, solo)} alone, {rate_text(share.flow, together)} "
            f"together, {_change(share.slowdown_ratio)}{_evenness(share)}"
        )
    yield from _set_lines(flow_set)


def _evenness(share: FlowShare) -> str:
    """Say how evenly a flow runs, and how fast it makes room for one that joins."""
    text = ""
    if share.jitter_ratio is not None:
        text += f"; chunks p99/p50 {share.jitter_ratio.value:.1f}"
    if share.convergence_s is not None:
        seconds = share.convergence_s.value
        text += f"; makes room within {format_seconds(seconds) if seconds else 'one chunk'}"
    return text


def _set_lines(flow_set: FlowSetShare) -> Iterator[str]:
    fairness = (
        f"fairness of what each keeps: Jain {flow_set.jain_ratio.value:.3f}, "
        f"max/min {flow_set.max_min_ratio.value:.2f}"
    )
    if flow_set.wire_jain_ratio is not None:
        fairness += f"; of bytes on the wire: Jain {flow_set.wire_jain_ratio.value:.3f}"
    yield fairness
    if flow_set.bottleneck_ratio is not None:
        yield (
            f"together {flow_set.bottleneck_ratio.value:.0%} of the nominal capacity of "
            f"{flow_set.bottleneck}, which all cross"
        )


def _change(slowdown: Estimate) -> str:
    """Say what a slowdown is, unless its interval includes none."""
    if not slowdown.has_interval:
        return f"x{slowdown.value:.2f} the time it takes alone (one sample, no interval)"
    interval = f"({slowdown.low:.2f}-{slowdown.high:.2f})"
    if slowdown.low > 1.0:
        return f"x{slowdown.value:.2f} slower {interval}"
    if slowdown.high < 1.0:
        return f"x{1 / slowdown.value:.2f} faster ({1 / slowdown.high:.2f}-{1 / slowdown.low:.2f})"
    if max(1.0 - slowdown.low, slowdown.high - 1.0) > _MOST_NOISE_RATIO:
        return f"cannot be told apart from no change {interval}"
    return f"unchanged within the noise {interval}"


def rate_text(flow: str, per_s: float) -> str:
    """Write what a flow does in a second, in the unit of its work."""
    if "work=gemm" in flow:
        return format_flops(per_s)
    if "work=chase" in flow:
        return f"{format_seconds(1 / per_s)} a load"
    return format_rate(per_s)


def _experiment(run: Experiment) -> str:
    counts: dict[Status, list[Series]] = {}
    for one in run.series:
        counts.setdefault(one.status, []).append(one)
    parts = [f"{len(series)} {status}" for status, series in counts.items()]
    text = ", ".join(parts) if parts else str(run.status)
    if figures := other_figures(run):
        text += f"; {figures}"
    reason = run.reason or "; ".join(_reasons(run)) or None
    spreads = [
        spread
        for one in run.series
        if one.name not in _OF_SINGLE_CHUNKS
        and (values := steady_values(one))
        and (spread := spread_ratio(values)) is not None
    ]
    worst = max(spreads, default=None)
    if worst is not None:
        text += f" (largest spread {worst:.1%})"
    return f"{text}; {reason}" if reason is not None else text


def _reasons(run: Experiment) -> Iterator[str]:
    """Yield a reason for each way in which series fared ill, with the name of one."""
    for status in (Status.FAILED, Status.UNSTABLE, Status.SKIPPED):
        reasons = (f"{one.name}: {one.reason}" for one in run.series
                   if one.status is status and one.reason)  # fmt: skip
        yield from islice(reasons, 1)
