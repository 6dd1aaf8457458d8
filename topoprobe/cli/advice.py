"""What a simulated run says, on one screen, and what to do about it."""

from __future__ import annotations

from topoprobe.model.deployment import Deployment, taken_bytes
from topoprobe.records.base import Source
from topoprobe.records.run import Distribution, RequestTimes, RunDocument, Workload
from topoprobe.serving.summary import ttft_s
from topoprobe.units import format_bytes, format_seconds

_TAIL_RATIO = 0.1
"""Share of a run after the last arrival, above which its throughput tells little of the load's."""
_QUEUEING_RATIO = 0.5
"""Share of the time to first token spent waiting, above which it is worth a word."""


def summary_lines(document: RunDocument, deployment: Deployment) -> list[str]:
    """Say on one screen what came of a simulated run, and what to do about it."""
    summary = document.summary
    where = ", ".join(deployment.devices)
    if deployment.num_alike > 1:
        where += f", one of {deployment.num_alike} alike"
    peak_kv_blocks = summary.peak_kv_blocks or 0
    offered_per_s = _offered_per_s(document)
    came = "" if offered_per_s is None else f"; they came at {offered_per_s:.2f} requests/s"
    wrong = (rejection(document), _beyond_memory(document, deployment), _beyond_context(document))
    lines = [sentence for sentence in wrong if sentence]
    if summary.num_finished:
        # What is wrong with some requests hides nothing that is wrong with the others.
        lines.append(_verdict(document))
    lines += [
        "",
        f"model       {document.model.name} ({document.model.dtype}) on {where}",
        f"step law    {deployment.source.value}: {deployment.evidence}",
        f"load        {document.workload.name}; {summary.num_finished} of {summary.num_requests} "
        f"requests finished in {format_seconds(summary.duration_s)}",
        f"throughput  {summary.output_throughput_tokens_per_s:.0f} output tokens/s, "
        f"{summary.total_throughput_tokens_per_s:.0f} with prompts, "
        f"{summary.request_throughput_per_s:.2f} requests/s{came}",
        f"TTFT        {_percentiles(summary.ttft_s)}",
        f"TPOT        {_percentiles(summary.tpot_s)}",
        f"KV cache    at most {peak_kv_blocks} of {document.num_blocks} blocks of "
        f"{document.block_size} tokens ({peak_kv_blocks / document.num_blocks:.0%}), "
        f"{summary.num_preemptions} preemptions",
    ]
    if deployment.source is Source.NOMINAL:
        lines.append(
            "Nominal: rates are at most these and times at least these; calibrate the machine to "
            "know better."
        )
    return lines


def rejection(document: RunDocument) -> str | None:
    """Say how many requests can never run, and why; None if all can."""
    rejected = [each for each in document.requests if each.status == "rejected"]
    if not rejected:
        return None
    return (
        f"{len(rejected)} of {document.workload.num_requests} requests can never run here; request "
        f"{rejected[0].request_id}: {rejected[0].reason}."
    )


def _verdict(document: RunDocument) -> str:
    """Return the most useful sentence about the requests that ran."""
    summary = document.summary
    if summary.num_preemptions:
        return (
            f"KV blocks ran out {summary.num_preemptions} times and work was done again: give "
            f"more memory, {_less(document)}, or admit fewer requests (--policy batching=chunked:"
            "seats=N)."
        )
    waiting = _waiting_ratio(document.requests)
    if waiting > _QUEUEING_RATIO and _is_backlogged(document):
        return (
            f"Requests wait for {waiting:.0%} of their time to first token, and the queue "
            f"outlasts the arrivals: this load is more than the worker sustains; {_less(document)} "
            "or add a worker."
        )
    if waiting > _QUEUEING_RATIO:
        return (
            f"The worker keeps up, but requests wait for {waiting:.0%} of their time to first "
            "token: a larger budget (--policy batching=chunked:budget=N) lowers it at the price "
            "of slower output tokens."
        )
    if summary.num_finished < summary.num_requests:
        return (
            f"The other {summary.num_finished} hardly wait, which says nothing of the whole load."
        )
    if _ends_long(document):
        return (
            "The worker keeps up, but this run is too short to tell whether it sustains the load: "
            f"{_tail_s(document) / summary.duration_s:.0%} of it is after the last arrival; give "
            "more requests."
        )
    return _no_worry(document.workload)


def _no_worry(workload: Workload) -> str:
    if workload.rate_per_s is not None:
        return "The worker sustains this load: raise --rate to find out where it ends."
    if workload.max_concurrency is not None:
        return (
            f"Requests hardly wait with at most {workload.max_concurrency} open at once: raise "
            "--max-concurrency to find out how far throughput grows."
        )
    return (
        "The worker sustains this trace at its own times: give a higher --rate to find out where "
        "it ends."
    )


def _ends_long(document: RunDocument) -> bool:
    """Tell whether much of a run that has a pace came after the last arrival."""
    has_pace = document.workload.max_concurrency is None
    return has_pace and _tail_s(document) > _TAIL_RATIO * document.summary.duration_s


def _tail_s(document: RunDocument) -> float:
    if not document.steps:
        return 0.0
    return document.steps[-1].ended_s - max(each.arrived_s for each in document.requests)


def _less(document: RunDocument) -> str:
    """Say how to ask less of the worker."""
    workload = document.workload
    if workload.rate_per_s is not None:
        return "lower --rate"
    if workload.max_concurrency is not None:
        return "lower --max-concurrency"
    offered = _offered_per_s(document)
    return "give a lower --rate" if offered is None else f"give a --rate below {offered:.2f}"


def _offered_per_s(document: RunDocument) -> float | None:
    """Return the rate at which requests came, None where they came when there was room.

    That of a Poisson process is not quite the rate that was asked for.
    """
    if document.workload.max_concurrency is not None:
        return None
    arrivals = [each.arrived_s for each in document.requests]
    span_s = max(arrivals) - min(arrivals)
    return (len(arrivals) - 1) / span_s if span_s > 0 else None


def _beyond_memory(document: RunDocument, deployment: Deployment) -> str | None:
    """Say that weights and KV cache are larger than the device's memory."""
    taken = taken_bytes(deployment, document.num_blocks, document.block_size)
    if deployment.memory_bytes is None or taken <= deployment.memory_bytes:
        return None
    return (
        f"Weights and KV cache take {format_bytes(taken)}, and {', '.join(deployment.devices)} has "
        f"{format_bytes(deployment.memory_bytes)}: this is what a larger memory would give."
    )


def _beyond_context(document: RunDocument) -> str | None:
    """Say how many requests are longer than the model was trained for."""
    most = document.model.max_context_tokens
    if most is None:
        return None
    num_beyond = sum(
        each.num_prompt_tokens + each.num_output_tokens > most for each in document.requests
    )
    if num_beyond == 0:
        return None
    return (
        f"{num_beyond} of {document.workload.num_requests} requests exceed {document.model.name}'s "
        f"context of {most} tokens: their times are right, a real answer would not be."
    )


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
    longest_service_s = max(
        each.finished_s - each.first_scheduled_s
        for each in document.requests
        if each.finished_s is not None and each.first_scheduled_s is not None
    )
    return _tail_s(document) > longest_service_s


def _percentiles(times: Distribution | None) -> str:
    if times is None:
        return "no request had one"
    return (
        f"{format_seconds(times.p50)} p50, {format_seconds(times.p99)} p99, "
        f"{format_seconds(times.mean)} mean"
    )
