"""Findings about how far the numbers can be trusted: predictions, disturbances, what is missing."""

from __future__ import annotations

from topoprobe.measure.statistics import steady_samples
from topoprobe.records.base import Status, Verdict
from topoprobe.records.results import Conditions
from topoprobe.records.run import Comparison

from .finding import Finding, capital, count, listed, some
from .prediction import error_sentence, metric_name
from .quantity import format_percent
from .section import Documents
from .stepcost import validation_sentence

_VERDICTS = {
    "FAIL": ("bad", "Failed check:"),
    "WARN": ("warn", "Warning:"),
    "OK": ("good", "Passed:"),
}
_STATUSES = (
    (Status.FAILED, "bad", "failed"),
    (Status.UNSTABLE, "warn", "unstable"),
    (Status.SKIPPED, "note", "skipped"),
)
_WORTH_STEAL_RATIO = 0.02


def interruption(documents: Documents) -> list[Finding]:
    """Say that the measurement is only a part."""
    if documents.results is None or not documents.results.is_partial:
        return []
    rest = "What had been measured by then is shown; `topoprobe bench` measures the rest."
    return [Finding("bad", "The measurement was interrupted.", rest)]


def predictions(documents: Documents) -> list[Finding]:
    """Say how well the run was predicted, first where it was not."""
    comparisons = documents.run.comparisons if documents.run is not None else ()
    if not comparisons:
        return []
    worst = max(comparisons, key=lambda one: abs(one.error_ratio))
    outside = [one for one in comparisons if not one.is_within]
    if outside:
        worst = max(outside, key=lambda one: abs(one.error_ratio))
        rest = f"{len(outside)} of {len(comparisons)} predictions are outside their bound."
        return [Finding("bad", _was_off(worst), rest)]
    shown = next((one for one in comparisons if "throughput" in one.metric), worst)
    rest = (
        f"All {len(comparisons)} predictions hold; {metric_name(worst.metric)} is furthest off, "
        f"by {format_percent(abs(worst.error_ratio))}."
    )
    if shown.spread_ratio is not None:
        spread = format_percent(shown.spread_ratio)
        rest = f"The {len(shown.measured)} repeats spread over {spread} themselves. {rest}"
    return [Finding("good", _was_off(shown), rest)]


def verdicts(documents: Documents) -> list[Finding]:
    """Tell of the calibration's verdicts, those of one check together."""
    if documents.calibration is None:
        return []
    by_check: dict[tuple[str, str, str | None], list[Verdict]] = {}
    for verdict in documents.calibration.verdicts:
        key = verdict.level, verdict.check, verdict.fix
        by_check.setdefault(key, []).append(verdict)
    return [_verdict(documents, ones) for ones in by_check.values()]


def _verdict(documents: Documents, ones: list[Verdict]) -> Finding:
    first = ones[0]
    level, label = _VERDICTS[first.level]
    evidence, fix = first.evidence.rstrip("."), first.fix or ""
    if first.level != "OK" and first.check == "quiet machine":
        return Finding(level, "The machine was not quiet.", f"{capital(evidence)}. {fix}".rstrip())
    if first.level != "OK" and first.check == "stability":
        example = f"For example {_series_words(first.subject)}: {evidence}."
        where = "" if documents.results is None else " The table of experiments counts them."
        return Finding(level, _unsettled(documents, len(ones)), f"{example}{where} {fix}".rstrip())
    times = f" ({len(ones)} times)" if len(ones) > 1 else ""
    about = f"{'First ' if len(ones) > 1 else ''}{first.subject}: {evidence}"
    return Finding(level, f"{label} {first.check}{times}.", f"{about}. {fix}".rstrip())


def _unsettled(documents: Documents, number: int) -> str:
    """Count the series that did not settle, of all where the results tell how many there are."""
    if documents.results is None:
        return f"{number} series did not settle."
    total = sum(len(experiment.series) for experiment in documents.results.experiments)
    return f"{number} of {total} series did not settle."


def _series_words(subject: str) -> str:
    """Write a series for people: ``STREAM copy on 2 threads (numba)``.

    The subject is the name of the series and its factors, ``key=value`` between spaces. Factors
    that only a machine asks for are left out.
    """
    name, *rest = subject.split(" ")
    factors = dict(part.split("=", 1) for part in rest if "=" in part)
    text = name.replace(".", " ").replace("_", " ")
    text = text.replace("stream ", "STREAM ", 1) if text.startswith("stream ") else text
    threads = factors.get("threads")
    if threads is not None:
        text += f" on {threads} thread{'' if threads == '1' else 's'}"
    told = [factors[key] for key in ("dtype", "variant") if key in factors]
    return f"{text} ({', '.join(told)})" if told else text


def disturbances(documents: Documents) -> list[Finding]:
    """Tell of throttling and stolen time during the samples that count."""
    conditions = _conditions(documents)
    found = []
    throttled = [one for one in conditions if one.throttle_reasons]
    if throttled:
        reasons = sorted({reason for one in throttled for reason in one.throttle_reasons})
        lead = f"{len(throttled)} of {len(conditions)} samples were taken while throttled."
        found.append(Finding("warn", lead, f"Reasons: {', '.join(reasons)}."))
    stolen = [one.steal_ratio for one in conditions if one.steal_ratio is not None]
    if stolen and max(stolen) > _WORTH_STEAL_RATIO:
        lead = f"The hypervisor took up to {format_percent(max(stolen))} of the CPUs' time."
        mean = format_percent(sum(stolen) / len(stolen))
        rest = f"{mean} on average over {len(stolen)} samples; rates may be low by that much."
        found.append(Finding("warn", lead, rest))
    return found


def step_costs(documents: Documents) -> list[Finding]:
    """Say how the step-cost laws did on shapes that they were not fitted on."""
    if documents.calibration is None:
        return []
    return [
        Finding(
            "note",
            f"The step-cost law of {cost.model.name} is off by "
            f"{format_percent(cost.mean_error_ratio)} on unseen shapes.",
            validation_sentence(cost),
        )
        for cost in documents.calibration.models
        if cost.mean_error_ratio is not None
    ]


def experiments(documents: Documents) -> list[Finding]:
    """Say which experiments did not end well, and why."""
    if documents.results is None:
        return []
    found = []
    for status, level, ended in _STATUSES:
        reasons = [
            (one.benchmark, one.reason)
            for one in documents.results.experiments
            if one.status is status
        ]
        if reasons:
            lead = f"{capital(count(len(reasons), 'experiment'))} {ended}."
            found.append(Finding(level, lead, _by_reason(reasons)))
    return found


def series_failures(documents: Documents) -> list[Finding]:
    """Count the series that failed inside experiments that went well otherwise."""
    if documents.results is None:
        return []
    reasons = [
        (f"{one.name} in {experiment.benchmark}", one.reason)
        for experiment in documents.results.experiments
        if experiment.status is not Status.FAILED
        for one in experiment.series
        if one.status is Status.FAILED
    ]
    if not reasons:
        return []
    lead = f"{capital(count(len(reasons), 'measurement'))} failed."
    return [Finding("warn", lead, _by_reason(reasons))]


def missing_numbers(documents: Documents) -> list[Finding]:
    """Name numbers that the calibration lacks, other than those of experiments told of already."""
    if documents.calibration is None:
        return []
    results = documents.results
    told = {one.benchmark for one in results.experiments} if results is not None else set()
    missing = [
        f"{one.fact.replace('_', ' ')} of {one.subject} ({one.reason.rstrip('.')})"
        for one in documents.calibration.missing
        if one.subject not in told
    ]
    if not missing:
        return []
    verb = "is" if len(missing) == 1 else "are"
    lead = f"{capital(count(len(missing), 'number'))} {verb} missing from the calibration."
    return [Finding("note", lead, f"{capital(some(missing))}.")]


def _was_off(one: Comparison) -> str:
    return f"The predicted {metric_name(one.metric)} was {error_sentence(one)}."


def _conditions(documents: Documents) -> list[Conditions]:
    if documents.results is None:
        return []
    return [
        sample.conditions
        for experiment in documents.results.experiments
        for series in experiment.series
        for sample in steady_samples(series)
        if sample.conditions is not None
    ]


def _by_reason(pairs: list[tuple[str, str | None]]) -> str:
    """Write names with their reasons, each reason once."""
    names: dict[str, list[str]] = {}
    for name, reason in pairs:
        names.setdefault(reason or "no reason given", []).append(name)
    clauses = [f"{listed(ones)}: {reason}" for reason, ones in names.items()]
    return f"{some(clauses, [len(ones) for ones in names.values()])}."
