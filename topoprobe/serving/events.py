"""The scheduler's language: events that go in, actions that come out, plans they speak of.

Times are integer picoseconds, so that sums are associative and a run that is fast-forwarded equals
one that is stepped. All records are frozen and serialise, so that a run's event log can be
replayed into a fresh scheduler.

A *segment* is a run of steps of one composition. Its first step computes the plan; in each further
step every request of the plan decodes one token more. Records speak of what differs from that
rule only, so that their size follows the events of a run and not its tokens.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from topoprobe.errors import TopoprobeError


class ProtocolError(TopoprobeError):
    """A driver told the scheduler something that cannot have happened."""


class RequestSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks for. The true output length is not known here.

    `max_tokens` is the client's limit on output tokens; the driver enforces it.
    """

    request_id: int
    num_prompt_tokens: int
    max_tokens: int


# Events ----------------------------------------------------------------------


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that happened at `at_ps`."""

    at_ps: int


class Arrived(Event, frozen=True, kw_only=True):
    """A request came in."""

    request: RequestSpec


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a request ended, and how many output tokens it has in all."""

    request_id: int
    num_tokens: int
    end: Literal["stop", "length", "failed"]


class SegmentDone(Event, frozen=True, kw_only=True):
    """A segment ended after `num_steps` steps, at least one and at most what was asked for.

    `outcomes` names the requests that ended with its last step. Every other request of the plan
    runs on: a decode committed one token in each step, a last chunk committed one. With `ok`
    false the worker failed, and every request of the plan is lost.
    """

    segment_id: int
    num_steps: int
    outcomes: tuple[Outcome, ...] = ()
    ok: bool = True


class Cancelled(Event, frozen=True, kw_only=True):
    """The client went away. Too late a cancellation is no error."""

    request_id: int


AnyEvent = Arrived | SegmentDone | Cancelled


# Plans -----------------------------------------------------------------------


class Chunk(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A piece of prefill: `num_query` tokens of a request after `num_context` cached ones.

    Attributes
    ----------
    blocks : tuple of int
        The request's whole block table, with room for all tokens it has to prefill.
    is_last : bool
        Whether the chunk completes the prefill, and so yields an output token. After a preemption
        the tokens generated before it are prefilled with the prompt.
    """

    request_id: int
    num_query: int
    num_context: int
    blocks: tuple[int, ...]
    is_last: bool


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The composition of a step.

    Attributes
    ----------
    chunks : tuple of Chunk
        Pieces of prefill. A segment with chunks has one step.
    decodes : tuple of int
        Requests that each feed their newest token and yield the next.
    num_decode_context : int
        Tokens that the decodes have cached before the first step, together.
    growths : tuple of (int, int)
        ``(request, block)`` in the order in which the steps of the segment need them: a decode
        takes its next block when all it holds are full. What an early end leaves over was never
        taken and may be promised to somebody else next.
    """

    chunks: tuple[Chunk, ...]
    decodes: tuple[int, ...]
    num_decode_context: int
    growths: tuple[tuple[int, int], ...]


# Actions ---------------------------------------------------------------------


class Action(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something for the driver to do, in the order given."""


class RunSegment(Action, frozen=True, kw_only=True):
    """Run `plan` for up to `max_steps` steps.

    The driver ends it with the step in which the first request ends, and after an `Interrupt`.
    """

    worker_id: int
    segment_id: int
    plan: Plan
    max_steps: int


class Interrupt(Action, frozen=True, kw_only=True):
    """End a running segment at its next step boundary; it runs at least one step."""

    segment_id: int


class Preempt(Action, frozen=True, kw_only=True):
    """A request gives its blocks back and loses what they hold; it is prefilled again later."""

    request_id: int


class Close(Action, frozen=True, kw_only=True):
    """A request is over and its blocks are free; every request is closed exactly once."""

    request_id: int
    status: Literal["finished", "rejected", "cancelled", "failed"]
    reason: str


AnyAction = RunSegment | Interrupt | Preempt | Close
