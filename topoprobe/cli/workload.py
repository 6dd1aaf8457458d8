"""The options that choose a load, alike for every command that takes one."""

from __future__ import annotations

from topoprobe.cli.output import read_input
from topoprobe.errors import UsageError
from topoprobe.serving.workload.load import Load, synthetic_load, trace_load
from topoprobe.serving.workload.synthetic import TokenRange
from topoprobe.serving.workload.trace import read_trace


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
        If not exactly one of the two was asked for, or the options do not go together.
    InputError
        If the trace cannot be read.
    """
    if (trace is None) == (num_requests is None):
        raise UsageError("Give either --trace FILE or --requests N, and not both.")
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit} leaves no request; give at least 1.")
    if trace is None:
        if limit is not None:
            raise UsageError("--limit shortens a trace; with --requests give the number there.")
        return synthetic_load(
            num_requests or 0,
            rate_per_s=rate_per_s,
            seed=seed,
            max_concurrency=max_concurrency,
            prompt=TokenRange.parse(prompt_tokens),
            output=TokenRange.parse(output_tokens),
        )
    return trace_load(
        read_trace(read_input(trace), trace, limit=limit),
        trace,
        rate_per_s=rate_per_s,
        seed=seed,
        max_concurrency=max_concurrency,
    )
