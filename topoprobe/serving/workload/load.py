"""A load: the requests of a run, how they are submitted, and the record that repeats it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from topoprobe.errors import UsageError
from topoprobe.records.run import Workload
from topoprobe.serving.workload.arrivals import poisson_arrivals
from topoprobe.serving.workload.clients import Clients
from topoprobe.serving.workload.request import Lengths, Request, make_requests
from topoprobe.serving.workload.synthetic import (
    DEFAULT_OUTPUT_TOKENS,
    DEFAULT_PROMPT_TOKENS,
    TokenRange,
    uniform_lengths,
)
from topoprobe.serving.workload.trace import Trace


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a run.

    Attributes
    ----------
    requests : tuple of Request
        Ordered by arrival.
    workload : Workload
        What a document says of it.
    """

    requests: tuple[Request, ...]
    workload: Workload

    def clients(self) -> Clients:
        """Return the clients that submit it, once."""
        return Clients(self.requests, self.workload.max_concurrency)


def trace_load(
    trace: Trace,
    name: str,
    *,
    rate_per_s: float | None = None,
    seed: int = 0,
    max_concurrency: int | None = None,
) -> Load:
    """Return the load of a trace, at its own times or as a Poisson process of a given rate.

    Raises
    ------
    UsageError
        If the trace has no times, and neither a rate nor a concurrency stands in for them.
    """
    if rate_per_s is None and trace.arrivals_ps is not None:
        arrivals_ps: Sequence[int] = trace.arrivals_ps
    else:
        arrivals_ps = _arrivals(len(trace.lengths), rate_per_s, seed, max_concurrency)
    return _load(
        trace.lengths,
        arrivals_ps,
        Workload(
            name=f"{trace.format} trace",
            num_requests=len(trace.lengths),
            rate_per_s=rate_per_s,
            seed=None if rate_per_s is None else seed,
            trace=name,
            max_concurrency=max_concurrency,
        ),
    )


def synthetic_load(
    num_requests: int,
    *,
    rate_per_s: float | None = None,
    seed: int = 0,
    max_concurrency: int | None = None,
    prompt: TokenRange = DEFAULT_PROMPT_TOKENS,
    output: TokenRange = DEFAULT_OUTPUT_TOKENS,
) -> Load:
    """Return a load of made-up requests.

    Raises
    ------
    UsageError
        If there are no requests, or neither a rate nor a concurrency says when they come.
    """
    if num_requests < 1:
        raise UsageError(f"A load of {num_requests} requests is none; give at least 1.")
    return _load(
        uniform_lengths(num_requests, seed, prompt, output),
        _arrivals(num_requests, rate_per_s, seed, max_concurrency),
        Workload(
            name=f"synthetic: prompts of {prompt}, outputs of {output} tokens",
            num_requests=num_requests,
            rate_per_s=rate_per_s,
            seed=seed,
            max_concurrency=max_concurrency,
        ),
    )


def _load(lengths: Sequence[Lengths], arrivals_ps: Sequence[int], workload: Workload) -> Load:
    return Load(requests=make_requests(lengths, arrivals_ps), workload=workload)


def _arrivals(
    num_requests: int, rate_per_s: float | None, seed: int, max_concurrency: int | None
) -> tuple[int, ...]:
    if rate_per_s is not None:
        return poisson_arrivals(num_requests, rate_per_s, seed)
    if max_concurrency is None:
        raise UsageError(
            "Nothing says when the requests come; give a rate, or a concurrency for a closed loop."
        )
    return (0,) * num_requests
