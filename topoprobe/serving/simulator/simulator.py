"""The virtual driver: moves the clock from event to event and obeys the scheduler."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from topoprobe.errors import UsageError
from topoprobe.records.run import RequestTimes, StepTimes
from topoprobe.serving.events import (
    AnyAction,
    AnyEvent,
    Arrived,
    Close,
    Interrupt,
    RunSegment,
    SegmentDone,
)
from topoprobe.serving.journal import Journal
from topoprobe.serving.scheduler import Scheduler
from topoprobe.serving.simulator.cost import CostLaw, Segment
from topoprobe.serving.simulator.world import World
from topoprobe.serving.workload.clients import Clients

LogEntry = tuple[AnyEvent, tuple[AnyAction, ...]]


@dataclass(frozen=True, slots=True)
class Flight:
    """A segment under way.

    Attributes
    ----------
    run : RunSegment
        What was asked for.
    costs : Segment
        Durations of its steps.
    started_ps : int
        When its first step began.
    num_steps : int
        After how many steps it ends.
    end_ps : int
        When that is.
    """

    run: RunSegment
    costs: Segment
    started_ps: int
    num_steps: int
    end_ps: int


class Simulator:
    """Run a scheduler against a world of true output lengths and a cost law.

    Time moves only in `step`, from one event to the next; an arrival comes before the end of a
    segment at the same instant. A segment is one event, however many steps it has.

    Parameters
    ----------
    scheduler : Scheduler
        A fresh one.
    costs : CostLaw
        What steps take in this world.
    clients : Clients
        Who submits what, when.
    most_steps : int or None
        End every segment after so many steps at the latest; with 1 the run is stepped. Results do
        not depend on it.
    log : list or None
        Receives every event with the actions it led to.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        costs: CostLaw,
        clients: Clients,
        *,
        most_steps: int | None = None,
        log: list[LogEntry] | None = None,
    ) -> None:
        if most_steps is not None and most_steps < 1:
            raise UsageError(f"Segments of {most_steps} steps do nothing; give 1 or more.")
        self._scheduler = scheduler
        self._costs = costs
        self._clients = clients
        self._most_steps = most_steps
        self._log = log
        self._world = World()
        self._journal = Journal()
        self._flight: Flight | None = None
        self.num_events = 0

    def run(self) -> None:
        """Run to the end."""
        while self.step():
            pass

    def step(self) -> bool:
        """Let the next event happen; return False if nothing is left to happen."""
        event = self._next_event()
        if event is None:
            return False
        self.num_events += 1
        actions = self._scheduler.handle(event)
        self._journal.note(event, actions)
        if self._log is not None:
            self._log.append((event, actions))
        for action in actions:
            if isinstance(action, RunSegment):
                self._take_off(action, event.at_ps)
            elif isinstance(action, Close):
                self._world.close(action.request_id)
                self._clients.close(event.at_ps)
            elif isinstance(action, Interrupt):
                self._interrupt(event.at_ps)
            else:
                self._world.preempt(action.request_id)
        return True

    def request_times(self) -> tuple[RequestTimes, ...]:
        """Return the times of every request that is over."""
        return self._journal.request_times()

    def step_times(self) -> tuple[StepTimes, ...]:
        """Return the times of every segment that ended."""
        return self._journal.step_times()

    def _next_event(self) -> AnyEvent | None:
        submit_ps = self._clients.next_ps()
        flight = self._flight
        if submit_ps is not None and (flight is None or submit_ps <= flight.end_ps):
            request = self._clients.submit()
            self._world.arrive(request)
            return Arrived(at_ps=submit_ps, request=request.spec)
        if flight is None:
            return None
        self._flight = None
        return SegmentDone(
            at_ps=flight.end_ps,
            segment_id=flight.run.segment_id,
            num_steps=flight.num_steps,
            outcomes=self._world.advance(flight.run.plan, flight.num_steps),
        )

    def _take_off(self, run: RunSegment, now_ps: int) -> None:
        costs = self._costs.segment(run.worker_id, run.plan, run.max_steps)
        num_steps = min(run.max_steps, costs.valid_steps)
        if self._most_steps is not None:
            num_steps = min(num_steps, self._most_steps)
        to_end = self._world.steps_to_end()
        if to_end is not None:
            num_steps = min(num_steps, to_end)
        self._flight = Flight(run, costs, now_ps, num_steps, now_ps + costs.end_ps(num_steps))

    def _interrupt(self, now_ps: int) -> None:
        """Shorten the segment under way to the first step that ends now or later."""
        flight = self._flight
        if flight is None:
            return
        elapsed_ps = now_ps - flight.started_ps
        boundaries = range(1, flight.num_steps + 1)
        num_steps = 1 + bisect_left(boundaries, elapsed_ps, key=flight.costs.end_ps)
        if num_steps < flight.num_steps:
            end_ps = flight.started_ps + flight.costs.end_ps(num_steps)
            self._flight = Flight(flight.run, flight.costs, flight.started_ps, num_steps, end_ps)
