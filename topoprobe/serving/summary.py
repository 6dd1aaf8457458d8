"""The summary of a run, from the times of its requests and segments."""

from __future__ import annotations

import math
from collections.abc import Sequence

from topoprobe.errors import ModelError
from topoprobe.records.run import Distribution, RequestTimes, StepTimes, Summary


def summarise(
    requests: Sequence[RequestTimes],
    steps: Sequence[StepTimes],
    *,
    peak_kv_blocks: int | None = None,
) -> Summary:
    """Summarise a run.

    Throughputs are over the time from the first arrival to the end of the last step, and count
    the requests that finished and every token, whatever became of its request. Latencies are those
    of the requests that finished.

    Parameters
    ----------
    requests : sequence of RequestTimes
        Every request of the run.
    steps : sequence of StepTimes
        Every segment of the run.
    peak_kv_blocks : int or None
        Most KV blocks that were in use at once, where it is known.
    """
    finished = [request for request in requests if request.status == "finished"]
    started_s = min((request.arrived_s for request in requests), default=0.0)
    duration_s = max((step.ended_s for step in steps), default=started_s) - started_s
    num_prompt = sum(request.num_prompt_tokens for request in finished)
    num_output = sum(request.num_output_tokens for request in requests)
    return Summary(
        duration_s=duration_s,
        num_requests=len(requests),
        num_finished=len(finished),
        num_prompt_tokens=num_prompt,
        num_output_tokens=num_output,
        num_steps=sum(step.num_steps for step in steps),
        num_preemptions=sum(request.num_preemptions for request in requests),
        request_throughput_per_s=_rate(len(finished), duration_s),
        output_throughput_tokens_per_s=_rate(num_output, duration_s),
        total_throughput_tokens_per_s=_rate(num_prompt + num_output, duration_s),
        ttft_s=distribution([ttft for each in finished if (ttft := ttft_s(each)) is not None]),
        tpot_s=distribution([tpot for each in finished if (tpot := tpot_s(each)) is not None]),
        e2e_s=distribution([e2e for each in finished if (e2e := e2e_s(each)) is not None]),
        peak_kv_blocks=peak_kv_blocks,
    )


def ttft_s(request: RequestTimes) -> float | None:
    """Return the time to first token, None if there was no token."""
    return None if request.first_token_s is None else request.first_token_s - request.arrived_s


def tpot_s(request: RequestTimes) -> float | None:
    """Return the time per output token after the first, None with fewer than two tokens."""
    if request.finished_s is None or request.first_token_s is None or request.num_output_tokens < 2:
        return None
    return (request.finished_s - request.first_token_s) / (request.num_output_tokens - 1)


def e2e_s(request: RequestTimes) -> float | None:
    """Return the time from arrival to finish, None if it did not finish."""
    return None if request.finished_s is None else request.finished_s - request.arrived_s


def distribution(values: Sequence[float]) -> Distribution | None:
    """Return mean, percentiles and maximum, None of no values."""
    if not values:
        return None
    ordered = sorted(values)
    return Distribution(
        mean=math.fsum(ordered) / len(ordered),
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p99=percentile(ordered, 99),
        max=ordered[-1],
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return a percentile of sorted values, linear between the two nearest.

    Raises
    ------
    ModelError
        If there are no values, or the percentile is not within 0 to 100.
    """
    if not ordered or not 0 <= percent <= 100:
        raise ModelError(
            f"The percentile {percent} of {len(ordered)} values does not exist; expected 0 to 100 "
            "and at least one value."
        )
    rank = (len(ordered) - 1) * percent / 100
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def _rate(count: int, duration_s: float) -> float:
    return count / duration_s if duration_s > 0 else 0.0
