"""The options that choose a load, alike for every command that takes one."""

from __future__ import annotations

from topoprobe.cli.output import read_input
from topoprobe.errors import UsageError
from topoprobe.serving.workload.load import Load, synthetic_load, trace_load
from topoprobe.serving.workload.synthetic import TokenRange
from topoprobe.serving.workload.trace import read_trace

_GIVE_PACE = "give --rate, or --max-concurrency for a closed loop."


def choose_load(
    *,
    trace: str | None,
    num_requests: int | None,
    rate_per_s: float | None,
    seed: int,
    limit: int | None,
    max_concurrency: int | None,
    prompt_tokens: str,
    output_tokens: str,
) -> Load:
    """Read a trace, or make requests up.

    Raises
    ------
    UsageError
        If not exactly one of the two was asked for, the options do not go together, or nothing
        says when the requests come.
    InputError
        If the trace cannot be read.
    """
    if (trace is None) == (num_requests is None):
        raise UsageError("Give either --trace FILE or --requests N, and not both.")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit} leaves no request; give at least 1.")
    has_pace = rate_per_s is not None or max_concurrency is not None
    if trace is None:
        if limit is not None:
            raise UsageError("--limit shortens a trace; with --requests give the number there.")
        if not has_pace:
            raise UsageError(f"Nothing says when the requests come; {_GIVE_PACE}")
        return synthetic_load(
            num_requests or 0,
            rate_per_s=rate_per_s,
            seed=seed,
            max_concurrency=max_concurrency,
            prompt=TokenRange.parse(prompt_tokens),
            output=TokenRange.parse(output_tokens),
        )
    name = "stdin" if trace == "-" else trace
    read = read_trace(read_input(trace), name, limit=limit)
    if read.arrivals_ps is None and not has_pace:
        raise UsageError(
            f"Nothing says when the requests of {name} come, which has no times; {_GIVE_PACE}"
        )
    return trace_load(
        read,
        name,
        rate_per_s=rate_per_s,
        seed=seed,
        max_concurrency=max_concurrency,
    )
