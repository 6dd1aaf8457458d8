"""The scheduler: one deterministic object with one way in, `handle(event) -> actions`.

It never waits, reads a clock or touches a tensor. Whoever obeys its actions and tells it what came
of them is a driver: the simulator on a virtual clock, the runner on real kernels.
"""

from __future__ import annotations

from typing import Literal

from topoprobe.serving.batch import Batch
from topoprobe.serving.events import (
    AnyAction,
    AnyEvent,
    Arrived,
    Cancelled,
    Chunk,
    Close,
    Interrupt,
    Plan,
    Preempt,
    ProtocolError,
    RequestSpec,
    RunSegment,
    SegmentDone,
)
from topoprobe.serving.policies.policy import Order, Policy
from topoprobe.serving.policies.registry import Policies
from topoprobe.serving.progress import Progress

_CLIENT_LEFT = "the client went away"


class Scheduler:
    """Schedule requests on one worker.

    Parameters
    ----------
    num_blocks, block_size : int
        KV blocks of the worker, and tokens in each.
    policies : Policies
        One per axis, built for this scheduler alone.
    worker_id : int
        The worker that runs its segments.

    Attributes
    ----------
    batch : Batch
        The requests that run; to be looked at, not changed.
    """

    def __init__(
        self, *, num_blocks: int, block_size: int, policies: Policies, worker_id: int = 0
    ) -> None:
        self.batch = Batch(num_blocks=num_blocks, block_size=block_size)
        self._policies = policies
        self._axes: tuple[Policy, ...] = (
            policies.batching, policies.order, policies.victim, policies.eviction,
        )  # fmt: skip
        self._worker_id = worker_id
        self._now_ps = 0
        #: Requests that arrived and are not closed.
        self._open: set[int] = set()
        #: The segment in flight; whenever requests run there is one.
        self._segment: RunSegment | None = None
        self._is_interrupted = False
        #: Running requests to be closed at the next boundary.
        self._cancelled: set[int] = set()
        self._num_segments = 0
        self._actions: list[AnyAction] = []

    def handle(self, event: AnyEvent) -> tuple[AnyAction, ...]:
        """Take note of an event, and return what is to be done now, in order.

        Raises
        ------
        ProtocolError
            If the event goes back in time, or tells of something that cannot have happened.
        """
        if event.at_ps < self._now_ps:
            raise ProtocolError(
                f"An event of {event.at_ps} ps came after one of {self._now_ps} ps; tell events in "
                "the order of time."
            )
        self._now_ps = event.at_ps
        self._actions = []
        if isinstance(event, SegmentDone):
            self._segment_done(event)
        elif isinstance(event, Arrived):
            self._arrived(event.request)
        else:
            self._cancel(event)
        if self._segment is None:
            self._start_segment()
        return tuple(self._actions)

    # Events ------------------------------------------------------------------

    def _arrived(self, spec: RequestSpec) -> None:
        if spec.request_id in self._open:
            raise ProtocolError(f"Request {spec.request_id} arrived twice; give each its own id.")
        self._open.add(spec.request_id)
        reason = self._why_impossible(spec)
        if reason is not None:
            self._close(spec.request_id, "rejected", reason)
            return
        order = self._policies.order
        is_alone = order.peek() is None
        order.push(Progress(spec))
        # While a segment runs blocks only get scarcer, so a request that finds no room now, or
        # others before it, finds none at any of its boundaries.
        num_blocks = self.batch.num_blocks_for(spec.num_prompt_tokens)
        if is_alone and self._policies.batching.could_admit(self.batch, num_blocks):
            self._interrupt()

    def _cancel(self, event: Cancelled) -> None:
        if event.request_id in self.batch.running:
            self._cancelled.add(event.request_id)
            self._interrupt()
        elif event.request_id in self._open:
            self._policies.order.remove(event.request_id)
            self._close(event.request_id, "cancelled", _CLIENT_LEFT)

    def _segment_done(self, event: SegmentDone) -> None:
        segment = self._take_segment(event)
        if event.ok:
            self.batch.advance(segment.plan, event.num_steps)
            for outcome in event.outcomes:
                status: _Status = "failed" if outcome.end == "failed" else "finished"
                self._end(outcome.request_id, status, outcome.end)
        else:
            for request_id in _members(segment.plan):
                self._end(request_id, "failed", "the worker failed")
        for request_id in sorted(self._cancelled & self._open):
            self._end(request_id, "cancelled", _CLIENT_LEFT)
        self._cancelled.clear()

    def _take_segment(self, event: SegmentDone) -> RunSegment:
        """Return the segment that ended, after checking that it can have ended so."""
        segment = self._segment
        if segment is None or segment.segment_id != event.segment_id:
            flying = "none" if segment is None else f"segment {segment.segment_id}"
            raise ProtocolError(
                f"Segment {event.segment_id} ended and {flying} is in flight; end each one once."
            )
        if event.ok and not 1 <= event.num_steps <= segment.max_steps:
            raise ProtocolError(
                f"Segment {event.segment_id} ended after {event.num_steps} steps; it was to take "
                f"1 to {segment.max_steps}."
            )
        if event.outcomes:
            ended = [outcome.request_id for outcome in event.outcomes]
            if len(set(ended)) < len(ended) or not set(ended).issubset(_members(segment.plan)):
                raise ProtocolError(
                    f"Segment {event.segment_id} ended requests {ended}; name each once, and only "
                    "those of its plan."
                )
        self._segment = None
        self._is_interrupted = False
        return segment

    # The next segment --------------------------------------------------------

    def _start_segment(self) -> None:
        step = _Step(self.batch, self._policies.order)
        while self.batch.num_spare_blocks < 0:
            self._preempt()
        self._policies.batching.compose(step)
        if not step.chunks and not self.batch.decodes:
            return
        max_steps, growths = self.batch.promise(
            1 if step.chunks else min([policy.horizon(self.batch) for policy in self._axes])
        )
        plan = Plan(
            chunks=tuple(step.chunks),
            decodes=tuple(self.batch.decodes),
            num_decode_context=self.batch.num_context,
            growths=growths,
        )
        self._segment = RunSegment(
            worker_id=self._worker_id,
            segment_id=self._num_segments,
            plan=plan,
            max_steps=max_steps,
        )
        self._num_segments += 1
        self._actions.append(self._segment)

    def _preempt(self) -> None:
        if len(self.batch.running) == 1:
            raise ProtocolError("A request outgrew its max_tokens; end it when it gets there.")
        victim = self._policies.victim.choose(self.batch)
        was_decoding = victim.anchor is not None
        num_cached = self.batch.remove(victim)
        # A request that decodes knows one token more than it has cached: its newest.
        num_known = num_cached + 1 if was_decoding else victim.num_to_prefill
        self._policies.eviction.evict(victim, num_known)
        self._policies.order.push_back(victim)
        self._actions.append(Preempt(request_id=victim.spec.request_id))

    def _interrupt(self) -> None:
        """End the segment in flight at its next boundary, unless it ends there anyway."""
        segment = self._segment
        if segment is not None and segment.max_steps > 1 and not self._is_interrupted:
            self._is_interrupted = True
            self._actions.append(Interrupt(segment_id=segment.segment_id))

    # Closing -----------------------------------------------------------------

    def _why_impossible(self, spec: RequestSpec) -> str | None:
        """Tell why a request can never run to its end here, None if it can."""
        if spec.num_prompt_tokens < 1 or spec.max_tokens < 1:
            return (
                f"it has {spec.num_prompt_tokens} prompt tokens and may output {spec.max_tokens}; "
                "both must be at least 1"
            )
        num_tokens = spec.num_prompt_tokens + spec.max_tokens - 1  # the last output is not cached
        if self.batch.num_blocks_for(num_tokens) > self.batch.num_blocks:
            return (
                f"it may have to cache {num_tokens} tokens and the KV pool holds "
                f"{self.batch.num_blocks * self.batch.block_size}; give the pool more blocks or "
                "the request fewer tokens"
            )
        return None

    def _end(self, request_id: int, status: _Status, reason: str) -> None:
        self.batch.remove(self.batch.running[request_id])
        self._close(request_id, status, reason)

    def _close(self, request_id: int, status: _Status, reason: str) -> None:
        self._open.remove(request_id)
        self._actions.append(Close(request_id=request_id, status=status, reason=reason))


_Status = Literal["finished", "rejected", "cancelled", "failed"]


def _members(plan: Plan) -> tuple[int, ...]:
    return plan.decodes + tuple(chunk.request_id for chunk in plan.chunks)


class _Step:
    """The step that the batching policy is composing (`policies.policy.Step`)."""

    __slots__ = ("_order", "batch", "chunks")

    def __init__(self, batch: Batch, order: Order) -> None:
        self.batch = batch
        self.chunks: list[Chunk] = []
        self._order = order

    def num_blocks_for_next(self) -> int | None:
        request = self._order.peek()
        return None if request is None else self.batch.num_blocks_for(request.num_to_prefill)

    def admit_next(self) -> Progress:
        request = self._order.pop()
        self.batch.admit(request)
        return request

    def prefill(self, request: Progress, max_tokens: int) -> int:
        num_left = request.num_to_prefill - request.num_cached
        num_query = min(num_left, max_tokens)
        self.chunks.append(
            Chunk(
                request_id=request.spec.request_id,
                num_query=num_query,
                num_context=request.num_cached,
                blocks=request.prefill_blocks,
                is_last=num_query == num_left,
            )
        )
        return num_query
