"""What a simulated run says, on one screen, and what to do about it."""

from __future__ import annotations

from topoprobe.model.deployment import Deployment
from topoprobe.records.base import Source
from topoprobe.records.run import Distribution, RequestTimes, RunDocument
from topoprobe.serving.summary import ttft_s
from topoprobe.units import format_seconds

_QUEUEING_RATIO = 0.5
"""Share of the time to first token spent waiting, above which it is worth a word."""


def summary_lines(document: RunDocument, deployment: Deployment) -> list[str]:
    """Say on one screen what came of a simulated run, and what to do about it."""
    summary = document.summary
    where = ", ".join(deployment.devices)
    peak_kv_blocks = summary.peak_kv_blocks or 0
    lines = [
        f"{_advice(document)}",
        "",
        f"model       {document.model.name} ({document.model.dtype}) on {where}",
        f"step law    {deployment.source.value}: {deployment.evidence}",
        f"load        {document.workload.name}; {summary.num_finished} of {summary.num_requests} "
        f"requests finished in {format_seconds(summary.duration_s)}",
        f"throughput  {summary.output_throughput_tokens_per_s:.0f} output tokens/s, "
        f"{summary.total_throughput_tokens_per_s:.0f} with prompts, "
        f"{summary.request_throughput_per_s:.2f} requests/s",
        f"TTFT        {_percentiles(summary.ttft_s)}",
        f"TPOT        {_percentiles(summary.tpot_s)}",
        f"KV cache    at most {peak_kv_blocks} of {document.num_blocks} blocks of "
        f"{document.block_size} tokens ({peak_kv_blocks / document.num_blocks:.0%}), "
        f"{summary.num_preemptions} preemptions",
    ]
    if deployment.source is Source.NOMINAL:
        lines.append("Nominal figures are an upper bound: calibrate the machine to know better.")
    return lines


def _advice(document: RunDocument) -> str:
    """Return the most useful sentence about a run."""
    summary = document.summary
    rejected = [each for each in document.requests if each.status == "rejected"]
    if rejected:
        return (
            f"{len(rejected)} of {summary.num_requests} requests can never run here; request "
            f"{rejected[0].request_id}: {rejected[0].reason}."
        )
    if summary.num_preemptions:
        return (
            f"KV blocks ran out {summary.num_preemptions} times and work was done again: give "
            "more memory, lower the rate, or admit fewer requests (--policy batching=chunked:"
            "seats=N)."
        )
    waiting = _waiting_ratio(document.requests)
    if waiting > _QUEUEING_RATIO and _is_backlogged(document):
        return (
            f"Requests wait for {waiting:.0%} of their time to first token, and the queue "
            "outlasts the arrivals: this load is more than the worker sustains; lower the rate or "
            "add a worker."
        )
    if waiting > _QUEUEING_RATIO:
        return (
            f"The worker keeps up, but requests wait for {waiting:.0%} of their time to first "
            "token: a larger budget (--policy batching=chunked:budget=N) lowers it at the price "
            "of slower output tokens."
        )
    return "The worker sustains this load: raise --rate to find out where it ends."


def _waiting_ratio(requests: tuple[RequestTimes, ...]) -> float:
    """Return the share of all times to first token that passed before the first step."""
    waited = sum(
        each.first_scheduled_s - each.arrived_s
        for each in requests
        if each.first_scheduled_s is not None and each.first_token_s is not None
    )
    total = sum(ttft for each in requests if (ttft := ttft_s(each)) is not None)
    return waited / total if total > 0 else 0.0


def _is_backlogged(document: RunDocument) -> bool:
    """Tell whether work was left, after the last arrival, that cannot have come with it."""
    last_arrival_s = max(each.arrived_s for each in document.requests)
    longest_service_s = max(
        each.finished_s - each.first_scheduled_s
        for each in document.requests
        if each.finished_s is not None and each.first_scheduled_s is not None
    )
    return document.steps[-1].ended_s - last_arrival_s > longest_service_s


def _percentiles(times: Distribution | None) -> str:
    if times is None:
        return "no request had one"
    return (
        f"{format_seconds(times.p50)} p50, {format_seconds(times.p99)} p99, "
        f"{format_seconds(times.mean)} mean"
    )
