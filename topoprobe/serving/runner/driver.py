"""The real driver: obeys the scheduler with real kernels, on a clock that it is given."""

from __future__ import annotations

from collections.abc import Callable

from topoprobe.records.run import RequestTimes, StepTimes
from topoprobe.serving.events import (
    AnyAction,
    AnyEvent,
    Arrived,
    Cancelled,
    Close,
    Interrupt,
    RunSegment,
    SegmentDone,
)
from topoprobe.serving.journal import Journal
from topoprobe.serving.runner.clock import RunClock
from topoprobe.serving.runner.executor import Executor, Generation, Segment
from topoprobe.serving.scheduler import Scheduler
from topoprobe.serving.workload.clients import Clients
from topoprobe.serving.workload.request import Request

LogEntry = tuple[AnyEvent, tuple[AnyAction, ...]]


class Driver:
    """Run a scheduler on an executor.

    Events are told in the order of their times; what happened within a step is told at its end,
    with the time at which it happened, and acts from there on. An arrival comes before the end of
    a segment at the same instant.

    Parameters
    ----------
    scheduler : Scheduler
        A fresh one.
    executor : Executor
        With no request in it.
    clients : Clients
        Who submits what, when.
    clock : RunClock
        Which time it is.
    generation_of : callable
        Makes the runner's side of a request: its prompt, and when its answer ends.
    should_stop : callable
        True once the run is to end early: then every open request is cancelled.
    log : list or None
        Receives every event with the actions it led to.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        executor: Executor,
        clients: Clients,
        clock: RunClock,
        *,
        generation_of: Callable[[Request], Generation],
        should_stop: Callable[[], bool] = lambda: False,
        log: list[LogEntry] | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._executor = executor
        self._clients = clients
        self._clock = clock
        self._generation_of = generation_of
        self._should_stop = should_stop
        self._log = log
        self._journal = Journal()
        self._segment: Segment | None = None
        self._is_interrupted = False
        self._open: set[int] = set()
        self._is_stopping = False

    @property
    def is_stopped(self) -> bool:
        """Whether the run was ended early."""
        return self._is_stopping

    def run(self) -> None:
        """Run to the end."""
        while self.advance():
            pass

    def advance(self) -> bool:
        """Run one step, or wait for the next request; return False if nothing is left to do."""
        if self._segment is not None:
            self._step(self._segment)
        elif self._is_stopping or (next_ps := self._clients.next_ps()) is None:
            return False
        else:
            self._clock.wait_until(next_ps)
            self._submit_until(self._clock.now_ps())
        if not self._is_stopping and self._should_stop():
            self._stop()
        return True

    def request_times(self) -> tuple[RequestTimes, ...]:
        """Return the times of every request that is over."""
        return self._journal.request_times()

    def step_times(self) -> tuple[StepTimes, ...]:
        """Return the times of every segment that ended."""
        return self._journal.step_times()

    def _step(self, segment: Segment) -> None:
        features = segment.features
        outcomes = segment.step()
        now_ps = self._clock.end_step(features)
        self._submit_until(now_ps)
        if outcomes or self._is_interrupted or segment.num_steps == segment.action.max_steps:
            self._segment = None
            self._tell(
                SegmentDone(
                    at_ps=now_ps,
                    segment_id=segment.action.segment_id,
                    num_steps=segment.num_steps,
                    outcomes=outcomes,
                )
            )

    def _submit_until(self, now_ps: int) -> None:
        """Submit the requests that are due."""
        while not self._is_stopping:
            at_ps = self._clients.next_ps()
            if at_ps is None or at_ps > now_ps:
                return
            request = self._clients.submit()
            self._open.add(request.request_id)
            self._executor.submit(request.request_id, self._generation_of(request))
            self._tell(Arrived(at_ps=at_ps, request=request.spec))

    def _stop(self) -> None:
        """Cancel what is open; a segment under way ends after its next step."""
        self._is_stopping = True
        now_ps = self._clock.now_ps()
        for request_id in sorted(self._open):
            self._tell(Cancelled(at_ps=now_ps, request_id=request_id))

    def _tell(self, event: AnyEvent) -> None:
        actions = self._scheduler.handle(event)
        self._journal.note(event, actions)
        if self._log is not None:
            self._log.append((event, actions))
        for action in actions:
            if isinstance(action, RunSegment):
                self._segment = self._executor.start(action)
                self._is_interrupted = False
            elif isinstance(action, Interrupt):
                self._is_interrupted = True
            elif isinstance(action, Close):
                self._open.remove(action.request_id)
                self._executor.release(action.request_id)
                self._clients.close(event.at_ps)
            else:
                self._executor.preempt(action.request_id)
