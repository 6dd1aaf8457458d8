"""The journal of a run: from events and actions alone, when things happened to each request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from topoprobe.records.run import RequestTimes, StepTimes
from topoprobe.serving.events import (
    AnyAction,
    AnyEvent,
    Arrived,
    Close,
    Preempt,
    RequestSpec,
    RunSegment,
    SegmentDone,
)
from topoprobe.units import PS_PER_S


class Journal:
    """Note what every driver has in common: each event, and the actions that it led to.

    Like the scheduler it keeps the progress of all requests that decode as one step counter, so a
    note costs the same however many steps a segment had.
    """

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._steps: list[StepTimes] = []
        self._segment: RunSegment | None = None
        self._started_ps = 0
        self._num_steps = 0

    def note(self, event: AnyEvent, actions: Sequence[AnyAction]) -> None:
        """Note an event and what the scheduler answered."""
        if isinstance(event, SegmentDone):
            self._note_segment(event)
        elif isinstance(event, Arrived):
            self._entries[event.request.request_id] = _Entry(event.request, event.at_ps)
        for action in actions:
            if isinstance(action, RunSegment):
                self._segment = action
                self._started_ps = event.at_ps
                for chunk in action.plan.chunks:
                    entry = self._entries[chunk.request_id]
                    if entry.scheduled_ps is None:
                        entry.scheduled_ps = event.at_ps
            elif isinstance(action, Close):
                entry = self._entries[action.request_id]
                entry.settle(self._num_steps)
                entry.status = action.status
                entry.reason = action.reason
                entry.closed_ps = event.at_ps
            elif isinstance(action, Preempt):
                entry = self._entries[action.request_id]
                entry.settle(self._num_steps)
                entry.num_preemptions += 1

    def request_times(self) -> tuple[RequestTimes, ...]:
        """Return the times of every request that is over, by id."""
        return tuple(
            entry.times(entry.status)
            for _, entry in sorted(self._entries.items())
            if entry.status is not None
        )

    def step_times(self) -> tuple[StepTimes, ...]:
        """Return the times of every segment that ended, in order."""
        return tuple(self._steps)

    def _note_segment(self, event: SegmentDone) -> None:
        segment = self._segment
        if segment is None:  # the scheduler refuses such an event
            return
        self._segment = None
        plan = segment.plan
        num_decodes = len(plan.decodes)
        self._steps.append(
            StepTimes(
                worker_id=segment.worker_id,
                segment_id=segment.segment_id,
                started_s=self._started_ps / PS_PER_S,
                ended_s=event.at_ps / PS_PER_S,
                num_steps=event.num_steps,
                num_sequences=num_decodes + len(plan.chunks),
                num_tokens=num_decodes + sum([chunk.num_query for chunk in plan.chunks]),
                num_context_tokens=plan.num_decode_context,
            )
        )
        if not event.ok:
            return
        self._num_steps += event.num_steps
        for chunk in plan.chunks:
            if chunk.is_last:
                self._entries[chunk.request_id].begin_decode(event.at_ps, self._num_steps)


class _Entry:
    """What is known of one request."""

    __slots__ = (
        "arrived_ps",
        "closed_ps",
        "decode_since",
        "first_token_ps",
        "num_output",
        "num_preemptions",
        "reason",
        "scheduled_ps",
        "spec",
        "status",
    )

    def __init__(self, spec: RequestSpec, arrived_ps: int) -> None:
        self.spec = spec
        self.arrived_ps = arrived_ps
        self.scheduled_ps: int | None = None
        self.first_token_ps: int | None = None
        self.closed_ps: int | None = None
        self.status: Literal["finished", "rejected", "cancelled", "failed"] | None = None
        self.reason = ""
        self.num_output = 0
        self.num_preemptions = 0
        #: Step counter when it began to decode; None unless it decodes.
        self.decode_since: int | None = None

    def begin_decode(self, at_ps: int, num_steps: int) -> None:
        """Note the token that the last chunk of a prefill yields."""
        self.num_output += 1
        self.decode_since = num_steps
        if self.first_token_ps is None:
            self.first_token_ps = at_ps

    def settle(self, num_steps: int) -> None:
        """Count the tokens that it decoded until now; it decodes no more."""
        if self.decode_since is not None:
            self.num_output += num_steps - self.decode_since
            self.decode_since = None

    def times(self, status: Literal["finished", "rejected", "cancelled", "failed"]) -> RequestTimes:
        is_finished = status == "finished"
        return RequestTimes(
            request_id=self.spec.request_id,
            status=status,
            reason=None if is_finished else self.reason,
            num_prompt_tokens=self.spec.num_prompt_tokens,
            num_output_tokens=self.num_output,
            arrived_s=self.arrived_ps / PS_PER_S,
            first_scheduled_s=_seconds(self.scheduled_ps),
            first_token_s=_seconds(self.first_token_ps),
            finished_s=_seconds(self.closed_ps) if is_finished else None,
            num_preemptions=self.num_preemptions,
        )


def _seconds(ps: int | None) -> float | None:
    return None if ps is None else ps / PS_PER_S
