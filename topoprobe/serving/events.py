"""The scheduler's language: events that go in, actions that come out, plans they speak of.

Times are integer picoseconds, so that sums are associative and a run that is fast-forwarded equals
one that is stepped. All records are frozen and serialise, so that a run's event log can be
replayed into a fresh scheduler.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class RequestSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks for. The true output length is not known here.

    `max_tokens` is the client's limit on output tokens.
    """

    request_id: int
    num_prompt_tokens: int
    max_tokens: int
    prompt_hashes: tuple[int, ...] = ()


# Events ----------------------------------------------------------------------


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that happened at `at_ps`."""

    at_ps: int


class Arrived(Event, frozen=True, kw_only=True):
    """A request came in."""

    request: RequestSpec


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment did for one request: tokens committed, and how it stands."""

    request_id: int
    num_tokens: int
    end: Literal["running", "stop", "length", "paused", "failed"]


class SegmentDone(Event, frozen=True, kw_only=True):
    """A segment ended after `num_steps` steps."""

    segment_id: int
    num_steps: int
    outcomes: tuple[Outcome, ...]
    ok: bool = True


class Cancelled(Event, frozen=True, kw_only=True):
    """The client went away."""

    request_id: int


AnyEvent = Arrived | SegmentDone | Cancelled


# Plans -----------------------------------------------------------------------


class Part(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One request's share of a step: `num_query` new tokens after `num_context` cached ones."""

    request_id: int
    num_query: int
    num_context: int
    is_prefill: bool


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The composition of a step."""

    parts: tuple[Part, ...]


# Actions ---------------------------------------------------------------------


class Action(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something for the driver to do."""


class RunSegment(Action, frozen=True, kw_only=True):
    """Run `plan` for up to `max_steps` steps; in each further step every part decodes one token.

    The driver ends it at the first finish, pause, failure or interrupt. `block_tables` gives, for
    each part in order, the KV blocks it may write by the end of the segment.
    """

    worker_id: int
    segment_id: int
    plan: Plan
    max_steps: int
    block_tables: tuple[tuple[int, ...], ...]


class Interrupt(Action, frozen=True, kw_only=True):
    """End a running segment at its next step boundary."""

    segment_id: int


class Close(Action, frozen=True, kw_only=True):
    """A request is over; every submitted request is closed exactly once."""

    request_id: int
    status: Literal["finished", "rejected", "cancelled", "failed"]
    reason: str = ""


AnyAction = RunSegment | Interrupt | Close
