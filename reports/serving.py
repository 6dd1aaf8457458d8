"""What a run did: totals, latency distributions, and its requests and steps over time."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from topoprobe.records.run import Distribution, RequestTimes, RunDocument, StepTimes, Summary
from topoprobe.units import format_seconds, format_value

from .drawing.plot import Axis, Curve, Point, draw_plot, frame, name_room
from .drawing.scale import linear
from .drawing.svg import Svg
from .drawing.timeline import Lane, Step, draw_timeline
from .quantity import format_tick
from .section import NEEDS_RUN, Absent, Documents

_MAX_LANES = 64
_MAX_STEPS = 700
_MAX_CURVE_POINTS = 240


@dataclass(frozen=True, slots=True)
class DistributionRow:
    """One latency: its summary as text, measured or predicted."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Serving:
    """The run, ready for its template."""

    headline: str
    policies: str
    rows: tuple[DistributionRow, ...]
    drawings: tuple[tuple[str, Svg], ...]
    timeline: Svg | None
    timeline_note: str
    reasons: tuple[str, ...]


def serving(documents: Documents) -> Serving | Absent:
    """Prepare the run."""
    run = documents.run
    if run is None:
        return NEEDS_RUN
    return Serving(
        headline=_headline(run),
        policies=", ".join(f"{one.axis}: {one.name}" for one in run.policies),
        rows=_distribution_rows(run),
        drawings=_distribution_drawings(run),
        timeline=_timeline(run),
        timeline_note=_timeline_note(run),
        reasons=tuple(f"{one.fact}: {one.reason}" for one in run.missing),
    )


def time_to_first_token(request: RequestTimes) -> float | None:
    """Return seconds from arrival to the first token, or None if there was none."""
    if request.first_token_s is None:
        return None
    return request.first_token_s - request.arrived_s


def time_per_output_token(request: RequestTimes) -> float | None:
    """Return seconds per token after the first, or None with fewer than two tokens."""
    if request.first_token_s is None or request.finished_s is None or request.num_output_tokens < 2:
        return None
    return (request.finished_s - request.first_token_s) / (request.num_output_tokens - 1)


def median_throughput(run: RunDocument) -> float:
    """Return output tokens per second, of the median repeat where there are several."""
    return statistics.median(one.output_throughput_tokens_per_s for one in summaries(run))


def summaries(run: RunDocument) -> tuple[Summary, ...]:
    """Return the summary of every repeat; of the run itself where it was not repeated."""
    return run.repeats or (run.summary,)


def repeats_note(number: int) -> str:
    """Say of how many repeats a number is the median; nothing where there was only one."""
    return f"median of {number} repeats" if number > 1 else ""


def _headline(run: RunDocument) -> str:
    what = "Simulated" if run.kind == "simulated" else "Real"
    rate = median_throughput(run)
    # Counts may differ between repeats; those of the repeat nearest to the median are shown.
    total = min(summaries(run), key=lambda one: abs(one.output_throughput_tokens_per_s - rate))
    note = repeats_note(len(run.repeats))
    return (
        f"{what} run of {run.model.name} on {', '.join(run.devices) or 'unnamed devices'}: "
        f"{total.num_finished} of {total.num_requests} requests ({_load(run)}) in "
        f"{format_seconds(total.duration_s)}, {total.num_steps:,} steps, {total.num_preemptions} "
        f"preemptions, {format_value(rate, 'tokens_per_s')} of output{note and f' ({note})'}."
    )


def _load(run: RunDocument) -> str:
    """Say what was asked of the run."""
    workload = run.workload
    parts = [workload.name]
    if workload.rate_per_s:
        parts.append(f"{workload.rate_per_s:g} requests/s")
    if workload.max_concurrency:
        parts.append(f"at most {workload.max_concurrency} at once")
    if len(run.repeats) > 1:
        parts.append(f"{len(run.repeats)} repeats")
    return ", ".join(parts)


def _distribution_rows(run: RunDocument) -> tuple[DistributionRow, ...]:
    rows = []
    word = "measured" if run.kind == "real" else "simulated"
    note = repeats_note(len(run.repeats))
    for name, pick in _LATENCIES:
        for source, origin in (
            (summaries(run), f"{word}, {note}" if note else word),
            ((run.predicted,) if run.predicted is not None else (), "predicted"),
        ):
            found = [one for summary in source if (one := pick(summary)) is not None]
            if found:
                rows.append(DistributionRow(f"{name}, {origin}", _median_texts(found)))
    return tuple(rows)


def _median_texts(found: Sequence[Distribution]) -> tuple[str, ...]:
    columns = zip(*((one.mean, one.p50, one.p90, one.p99, one.max) for one in found), strict=True)
    return tuple(format_seconds(statistics.median(column)) for column in columns)


def _pick_ttft(summary: Summary) -> Distribution | None:
    return summary.ttft_s


def _pick_tpot(summary: Summary) -> Distribution | None:
    return summary.tpot_s


def _pick_e2e(summary: Summary) -> Distribution | None:
    return summary.e2e_s


_LATENCIES = (("TTFT", _pick_ttft), ("TPOT", _pick_tpot), ("end to end", _pick_e2e))


def _distribution_drawings(run: RunDocument) -> tuple[tuple[str, Svg], ...]:
    drawings = []
    for title, of_request, pick in (
        ("Time to first token (TTFT)", time_to_first_token, _pick_ttft),
        ("Time per output token (TPOT)", time_per_output_token, _pick_tpot),
    ):
        values = sorted(value for one in run.requests if (value := of_request(one)) is not None)
        if values:
            predicted = pick(run.predicted) if run.predicted is not None else None
            which = f"{title}, first of {len(run.repeats)} repeats" if run.repeats[1:] else title
            drawings.append((which, _cumulative(which, values, predicted, run.kind)))
    return tuple(drawings)


def _cumulative(
    title: str, values: Sequence[float], predicted: Distribution | None, kind: str
) -> Svg:
    word = "measured" if kind == "real" else "simulated"
    curves = [Curve(word, _quantile_points(values), color=1)]
    if predicted is not None:
        marks = ((0.5, predicted.p50), (0.9, predicted.p90), (0.99, predicted.p99))
        points = tuple(
            Point(value, share, f"predicted p{share * 100:.0f}: {format_seconds(value)}")
            for share, value in marks
        )
        curves.append(Curve("predicted", points, color=2, is_dashed=True, label_y=0.75))
    right = name_room([curve.name for curve in curves])
    x_ends, y_ends = frame(height=260.0, right=right)
    widest = max([*values, *([predicted.p99] if predicted else [])])
    return draw_plot(
        f"{title}: share of requests below a time",
        curves,
        linear(widest, *x_ends),
        linear(1.0, *y_ends),
        x_axis=Axis("", lambda value: format_tick(value, "s")),
        y_axis=Axis("share of requests", lambda value: f"{value:g}"),
        height=260.0,
        right=right,
    )


def _quantile_points(values: Sequence[float]) -> tuple[Point, ...]:
    """Thin out sorted values evenly; the first and the last always stay."""
    count = len(values)
    step = max(1, count // _MAX_CURVE_POINTS)
    indices = sorted({*range(0, count, step), count - 1})
    return tuple(
        Point(
            values[index],
            (index + 1) / count,
            f"{(index + 1) / count:.0%} of requests within {format_seconds(values[index])}",
        )
        for index in indices
    )


def _timeline(run: RunDocument) -> Svg | None:
    if not run.requests and not run.steps:
        return None
    ordered = sorted(run.requests, key=lambda request: (request.arrived_s, request.request_id))
    lanes = [_lane(request) for request in ordered[:_MAX_LANES]]
    until = max((span[1] for lane in lanes for span in lane.spans), default=None)
    is_cut = len(ordered) > _MAX_LANES
    steps = [step for step in run.steps if not is_cut or until is None or step.started_s < until]
    return draw_timeline(
        "Requests and batch over time", lanes, _thinned(steps), format_time=_clock_text
    )


def _timeline_note(run: RunDocument) -> str:
    notes = []
    if len(run.requests) > _MAX_LANES:
        notes.append(f"The first {_MAX_LANES} of {len(run.requests)} requests are drawn.")
    if len(run.repeats) > 1:
        notes.append(f"Requests and steps are those of the first of {len(run.repeats)} repeats.")
    return " ".join(notes)


def _lane(request: RequestTimes) -> Lane:
    begin = request.arrived_s
    first = request.first_scheduled_s
    token, end = request.first_token_s, request.finished_s
    marks = [
        (begin, first, "lane waiting"),
        (first, token, "lane prefill"),
        (token, end, "lane decode"),
    ]
    spans = tuple((a, b, kind) for a, b, kind in marks if a is not None and b is not None)
    ttft, tpot = time_to_first_token(request), time_per_output_token(request)
    lines = [
        f"request {request.request_id}: {request.status}"
        + (f", {request.reason}" if request.reason else ""),
        f"{request.num_prompt_tokens} prompt tokens, {request.num_output_tokens} output tokens",
        f"TTFT {format_seconds(ttft)}" if ttft is not None else "no first token",
    ]
    lines += [f"TPOT {format_seconds(tpot)}"] if tpot is not None else []
    lines += [f"{request.num_preemptions} preemptions"] if request.num_preemptions else []
    return Lane(spans, "\n".join(lines))


def _thinned(steps: Sequence[StepTimes]) -> list[Step]:
    """Join neighbouring segments until few enough are left to draw; sizes are weighted by time."""
    size = -(-len(steps) // _MAX_STEPS) or 1
    return [_joined(steps[at : at + size]) for at in range(0, len(steps), size)]


def _joined(steps: Sequence[StepTimes]) -> Step:
    start, end = steps[0].started_s, max(step.ended_s for step in steps)
    busy = sum(step.ended_s - step.started_s for step in steps)
    weighted = sum(step.num_sequences * (step.ended_s - step.started_s) for step in steps)
    size = weighted / busy if busy else float(steps[0].num_sequences)
    tokens = sum(step.num_tokens for step in steps)
    has_prefill = any(step.num_tokens > step.num_sequences for step in steps)
    count = sum(step.num_steps for step in steps)
    text = (
        f"{format_seconds(start)} to {format_seconds(end)}: "
        f"{count} step{'' if count == 1 else 's'}, batch of {size:.3g}\n"
        f"{'with prefill, ' if has_prefill else ''}{tokens} tokens at its start"
    )
    return Step(start, end, size, has_prefill, text)


def _clock_text(value: float) -> str:
    return f"{value:g} s"
