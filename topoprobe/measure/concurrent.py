"""Running flows side by side: one start, chunks for a duration, rates in the common window.

The runner knows streams, events and latches only (`topoprobe.measure.device`), so that CPU cores
and GPUs run under the same orchestration. The caller's `pause` is the only way it waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from topoprobe.measure.benchmark import Clock
from topoprobe.measure.device import Device, Event, Stream
from topoprobe.measure.window import Trace, rates_per_s

MAX_QUEUED = 256
"""Most chunks queued on a stream: a GPU's work queue blocks the caller at about 300 copies."""

_POLL_S = 1e-3


@dataclass(frozen=True, slots=True)
class Lane:
    """One stream of a flow and what it repeats.

    Attributes
    ----------
    device : Device
        Whose latch holds the stream.
    stream : Stream
        Empty when the run begins; left empty by it.
    enqueue : callable
        Puts one chunk on the stream.
    work : float
        Of one chunk, in the flow's unit (bytes, flop, hops).
    num_queued : int
        Chunks kept waiting; the more, the longer the tail after the duration.
    cap_per_s : float or None
        Chunks are held back to stay under this rate.
    delay_s : float
        Starts that much after the others.
    duration_s : float or None
        Ends that much after its own start; None for the end of the run.
    report : callable or None
        Tells what was moved when, for work that another program does and its chunks do not show.
    """

    device: Device
    stream: Stream
    enqueue: Callable[[Stream], None]
    work: float
    num_queued: int = 8
    cap_per_s: float | None = None
    delay_s: float = 0.0
    duration_s: float | None = None
    report: Callable[[], Trace] | None = None

    def is_on(self, elapsed_s: float) -> bool:
        """Tell whether chunks are handed to it at a time after the start."""
        running_s = elapsed_s - self.delay_s
        return running_s >= 0.0 and (self.duration_s is None or running_s < self.duration_s)


def run_together(
    flows: Sequence[Sequence[Lane]],
    duration_s: float,
    *,
    clock: Clock,
    pause: Callable[[float], None],
) -> tuple[float, ...]:
    """Run flows together and return each one's rate in the window common to all.

    Parameters
    ----------
    flows : sequence of sequence of Lane
        Each flow with its lanes (a flow of several threads has several).
    duration_s : float
        How long chunks are handed out after the start.
    clock, pause : callable
        Monotonic seconds, and a sleep.

    Returns
    -------
    tuple of float
        Work per second of each flow.

    Raises
    ------
    MeasurementFailed
        If a flow finished no chunk, or its work raised.
    """
    return rates_per_s(trace_flows(flows, duration_s, clock=clock, pause=pause))


def trace_flows(
    flows: Sequence[Sequence[Lane]],
    duration_s: float,
    *,
    clock: Clock,
    pause: Callable[[float], None],
) -> tuple[tuple[Trace, ...], ...]:
    """Run flows together and return when the chunks of each one's lanes ended."""
    lanes = [lane for one in flows for lane in one]
    remaining = iter(trace_together(lanes, duration_s, clock=clock, pause=pause))
    return tuple(tuple(next(remaining) for _ in one) for one in flows)


def trace_together(
    lanes: Sequence[Lane], duration_s: float, *, clock: Clock, pause: Callable[[float], None]
) -> tuple[Trace, ...]:
    """Run lanes together and return when each of their chunks ended.

    Raises
    ------
    Exception
        What the work of a lane or `pause` raised, once all lanes are over.
    """
    latches = {id(lane.device): lane.device.latch() for lane in lanes}
    feeds = [_Feed(lane) for lane in lanes]
    try:
        for feed in feeds:
            if feed.lane.delay_s == 0.0:
                feed.lane.stream.hold(latches[id(feed.lane.device)])
                feed.refill(0.0)
    finally:  # streams that wait could not be closed
        opened_s = clock()
        for latch in latches.values():
            latch.open()
    try:
        while (elapsed_s := clock() - opened_s) < duration_s:
            for feed in feeds:
                if feed.lane.is_on(elapsed_s):
                    feed.refill(elapsed_s)
            pause(_POLL_S)
    finally:  # also where `pause` ended it: nothing is left running
        failure = _synchronized(feeds)
    if failure is not None:
        raise failure
    return tuple(feed.trace() for feed in feeds)


def _synchronized(feeds: Sequence[_Feed]) -> Exception | None:
    """Wait for all lanes, also after one has failed; return the first failure."""
    failures: list[Exception] = []
    for feed in feeds:
        try:
            feed.lane.stream.synchronize()
        except Exception as failure:  # told once the others are over
            failures.append(failure)
    return failures[0] if failures else None


@dataclass(slots=True)
class _Feed:
    """What was handed to a lane: `events` end its chunks, `queued` are those not done yet."""

    lane: Lane
    start: Event | None = None
    events: list[Event] = field(default_factory=list)
    queued: deque[Event] = field(default_factory=deque)

    def refill(self, elapsed_s: float) -> None:
        """Hand out chunks until enough wait, or the cap is reached."""
        if self.start is None:
            self.start = self.lane.stream.record()
        while self.queued and self.queued[0].is_done():
            self.queued.popleft()
        while len(self.queued) < min(self.lane.num_queued, MAX_QUEUED) and self._may(elapsed_s):
            self.lane.enqueue(self.lane.stream)
            event = self.lane.stream.record()
            self.events.append(event)
            self.queued.append(event)

    def trace(self) -> Trace:
        """Return the times, once the stream is synchronised."""
        if self.lane.report is not None:
            return self.lane.report()
        if self.start is None:
            return Trace(0.0, (), self.lane.work)
        return Trace(
            self.start.time_s(), tuple(event.time_s() for event in self.events), self.lane.work
        )

    def _may(self, elapsed_s: float) -> bool:
        if self.lane.cap_per_s is None:
            return True
        # A chunk is due when all of it may have been moved: else the first would come for nothing.
        running_s = elapsed_s - self.lane.delay_s
        return (len(self.events) + 1) * self.lane.work <= self.lane.cap_per_s * running_s
