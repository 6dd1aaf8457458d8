"""Common-window accounting: what every flow moved while all of them were running.

Flows that start together do not end together: dividing each flow's bytes by its own time lets the
slow ones run their tail alone and overstates them. Here only the window between the last start and
the first end counts, and a chunk that crosses its border counts by the share of its time inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from topoprobe.errors import MeasurementFailed, UsageError
from topoprobe.measure.flows import FlowSet
from topoprobe.units import format_seconds


@dataclass(frozen=True, slots=True)
class Trace:
    """When one lane of work started, and when each of its chunks ended.

    Attributes
    ----------
    start_s : float
        Start of the first chunk.
    ends_s : tuple of float
        Ends of the chunks, ascending; a chunk begins where the one before it ended.
    work : float
        Work of each chunk: bytes, flop or hops.
    """

    start_s: float
    ends_s: tuple[float, ...]
    work: float


@dataclass(frozen=True, slots=True)
class Window:
    """The time during which all flows were running."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length of the window."""
        return self.end_s - self.start_s


def common_window(traces: Sequence[Trace]) -> Window:
    """Return the window from the last start to the first end.

    Raises
    ------
    MeasurementFailed
        If a trace has no chunk, or one ended before another began.
    """
    if not traces or any(not trace.ends_s for trace in traces):
        raise MeasurementFailed(
            "A flow finished no chunk in its time; use a longer duration or smaller chunks."
        )
    window = Window(
        max(trace.start_s for trace in traces), min(trace.ends_s[-1] for trace in traces)
    )
    if window.duration_s <= 0.0:
        raise MeasurementFailed("The flows never ran at the same time; use a longer duration.")
    return window


def require_meeting(flow_set: FlowSet) -> None:
    """Refuse a set in which a flow ends before another begins, by what their text says.

    Raises
    ------
    UsageError
        If one does.
    """
    ends = [
        (flow.delay_s or 0.0) + flow.duration_s
        for flow in flow_set.flows
        if flow.duration_s is not None
    ]
    starts = [flow.delay_s or 0.0 for flow in flow_set.flows]
    if ends and max(starts) >= min(ends):
        raise UsageError(
            f"A flow of the set ends after {format_seconds(min(ends))} and another begins after "
            f"{format_seconds(max(starts))}: they never run at the same time; give a longer "
            "duration or a shorter delay."
        )


def work_in(trace: Trace, window: Window) -> float:
    """Return the work done inside the window, chunks across its border in proportion."""
    done, begin_s = 0.0, trace.start_s
    for end_s in trace.ends_s:
        inside_s = min(end_s, window.end_s) - max(begin_s, window.start_s)
        if inside_s > 0.0:
            done += trace.work * inside_s / (end_s - begin_s)
        begin_s = end_s
    return done


def rates_per_s(flows: Sequence[Sequence[Trace]]) -> tuple[float, ...]:
    """Return the rate of every flow in the window common to all, the lanes of a flow added up.

    Raises
    ------
    MeasurementFailed
        As `common_window`.
    """
    window = common_window([trace for lanes in flows for trace in lanes])
    return tuple(
        sum(work_in(trace, window) for trace in lanes) / window.duration_s for lanes in flows
    )
