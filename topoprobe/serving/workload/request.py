"""A request as the world knows it: when it comes, and how long its answer turns out to be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from topoprobe.errors import InputError
from topoprobe.serving.events import RequestSpec

MOST_TOKENS = 10_000_000
"""Longest prompt or output that is believed; the largest context windows on offer are below."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of a prompt and of the answer that it gets."""

    num_prompt_tokens: int
    num_output_tokens: int


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a workload.

    Attributes
    ----------
    request_id : int
        Its place in the workload.
    arrival_ps : int
        When its client wants to submit it.
    num_output_tokens : int
        True length of the answer; a scheduler never sees it.
    max_tokens : int
        The limit that the client states.
    """

    request_id: int
    arrival_ps: int
    num_prompt_tokens: int
    num_output_tokens: int
    max_tokens: int

    @property
    def spec(self) -> RequestSpec:
        """What the scheduler is told."""
        return RequestSpec(
            request_id=self.request_id,
            num_prompt_tokens=self.num_prompt_tokens,
            max_tokens=self.max_tokens,
        )


def make_requests(lengths: Sequence[Lengths], arrivals_ps: Iterable[int]) -> tuple[Request, ...]:
    """Join lengths and arrival times.

    Every client states the same limit, the longest answer of the workload: traces do not record
    limits, and the true length would tell a scheduler what it cannot know.
    """
    max_tokens = max((each.num_output_tokens for each in lengths), default=1)
    return tuple(
        Request(
            request_id=request_id,
            arrival_ps=arrival_ps,
            num_prompt_tokens=each.num_prompt_tokens,
            num_output_tokens=each.num_output_tokens,
            max_tokens=max_tokens,
        )
        for request_id, (each, arrival_ps) in enumerate(zip(lengths, arrivals_ps, strict=True))
    )


def check_lengths(num_prompt_tokens: int, num_output_tokens: int) -> Lengths:
    """Return lengths that can be believed.

    Raises
    ------
    InputError
        If one of them is below 1 or above `MOST_TOKENS`.
    """
    for what, count in (("prompt", num_prompt_tokens), ("output", num_output_tokens)):
        if not 1 <= count <= MOST_TOKENS:
            raise InputError(f"found {count} {what} tokens; expected 1 to {MOST_TOKENS}")
    return Lengths(num_prompt_tokens, num_output_tokens)


def clip(lengths: Lengths, max_total: int) -> Lengths:
    """Shorten prompt and output in proportion, to at most `max_total` tokens together.

    Both shares of the excess are rounded up, so the total may fall one short; each keeps at least
    one token.
    """
    prompt, output = lengths.num_prompt_tokens, lengths.num_output_tokens
    total = prompt + output
    excess = total - max_total
    if excess <= 0:
        return lengths
    return Lengths(
        max(1, prompt - math.ceil(excess * prompt / total)),
        max(1, output - math.ceil(excess * output / total)),
    )
