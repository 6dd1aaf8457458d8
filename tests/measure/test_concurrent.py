"""The common-window runner: on a simulated device with known rates, and on real cores."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.measure.support import FakeClock
from topoprobe.errors import MeasurementFailed
from topoprobe.measure.concurrent import Lane, run_together, trace_together
from topoprobe.measure.devices.cpu.device import CpuDevice, available_cpus
from topoprobe.measure.window import Trace


@dataclass
class FakeEvent:
    clock: FakeClock
    at_s: float

    def wait(self) -> None:
        self.clock.now_s = max(self.clock.now_s, self.at_s)

    def is_done(self) -> bool:
        return self.clock.now_s >= self.at_s

    def time_s(self) -> float:
        return self.at_s


@dataclass
class FakeStream:
    """Chunks of a fixed duration on a virtual clock; counts what waits."""

    clock: FakeClock
    chunk_s: float
    free_s: float = 0.0
    most_queued: int = 0
    events: list[FakeEvent] = field(default_factory=list)

    def hold(self, latch: Any) -> None:
        pass

    def launch(self, kernel: Callable[..., None], *arguments: Any) -> None:
        self.free_s = max(self.free_s, self.clock.now_s) + self.chunk_s

    def record(self) -> FakeEvent:
        event = FakeEvent(self.clock, max(self.free_s, self.clock.now_s))
        self.events.append(event)
        waiting = sum(not one.is_done() for one in self.events)
        self.most_queued = max(self.most_queued, waiting)
        return event

    def synchronize(self) -> None:
        self.clock.now_s = max(self.clock.now_s, self.free_s)


class FakeDevice:
    def latch(self) -> Any:
        return self

    def open(self) -> None:
        pass


def run(lanes: list[Lane], clock: FakeClock, duration_s: float = 1.0) -> tuple[float, ...]:
    return run_together([[lane] for lane in lanes], duration_s, clock=clock, pause=clock.pass_time)


def lane(clock: FakeClock, chunk_s: float, **options: Any) -> Lane:
    stream = FakeStream(clock, chunk_s)
    return Lane(FakeDevice(), stream, lambda one: one.launch(print), 100.0, **options)


def test_run_together_known_rates_are_reported() -> None:
    clock = FakeClock()
    rates = run([lane(clock, 0.010), lane(clock, 0.025)], clock)
    assert rates == pytest.approx((10_000.0, 4_000.0), rel=0.01)


def test_run_together_never_queues_more_than_allowed() -> None:
    clock = FakeClock()
    one = lane(clock, 0.0005, num_queued=1000)
    run([one], clock)
    assert one.stream.most_queued <= 257  # 256 chunks and the start


def test_run_together_cap_holds_a_flow_back() -> None:
    clock = FakeClock()
    capped, free = run([lane(clock, 0.010, cap_per_s=3_000.0), lane(clock, 0.010)], clock, 2.0)
    assert 2_950.0 < capped <= 3_000.0
    assert free == pytest.approx(10_000.0, rel=0.01)


def test_run_together_cap_that_no_chunk_can_keep_is_told() -> None:
    clock = FakeClock()
    with pytest.raises(MeasurementFailed, match="finished no chunk in its time"):
        run([lane(clock, 0.010, cap_per_s=10.0)], clock, 2.0)


def test_trace_together_delay_starts_a_flow_later() -> None:
    clock = FakeClock()

    early, late = trace_together(
        [lane(clock, 0.010), lane(clock, 0.010, delay_s=0.4)],
        1.0,
        clock=clock,
        pause=clock.pass_time,
    )
    assert early.start_s == 0.0
    assert late.start_s == pytest.approx(0.4, abs=0.002)


def test_trace_together_duration_ends_a_flow_earlier() -> None:
    clock = FakeClock()

    short, late, long = trace_together(
        [
            lane(clock, 0.010, num_queued=1, duration_s=0.3),
            lane(clock, 0.010, num_queued=1, delay_s=0.2, duration_s=0.3),
            lane(clock, 0.010, num_queued=1),
        ],
        1.0,
        clock=clock,
        pause=clock.pass_time,
    )
    assert short.ends_s[-1] == pytest.approx(0.3, abs=0.02)
    assert (late.start_s, late.ends_s[-1]) == pytest.approx((0.2, 0.5), abs=0.02)
    assert long.ends_s[-1] == pytest.approx(1.0, abs=0.02)


def test_trace_together_lane_with_its_own_report_is_believed() -> None:
    clock = FakeClock()
    told = Trace(0.1, (0.9,), 7.0)
    assert trace_together(
        [lane(clock, 0.010, report=lambda: told)], 1.0, clock=clock, pause=clock.pass_time
    ) == (told,)


def test_trace_together_failed_enqueue_releases_the_streams() -> None:
    device = CpuDevice(available_cpus())

    def refuse(stream: object) -> None:
        raise MeasurementFailed("no more memory")

    with device.open_stream() as held, device.open_stream() as refusing:
        lanes = [
            Lane(device, held, lambda one: one.launch(time.sleep, 0), 1.0),
            Lane(device, refusing, refuse, 1.0),
        ]
        with pytest.raises(MeasurementFailed, match="no more memory"):
            trace_together(lanes, 0.02, clock=time.monotonic, pause=time.sleep)
        held.synchronize()  # waits for the latch's time-out if nobody opened it


def test_trace_together_failure_of_one_lane_lets_the_others_end() -> None:
    device = CpuDevice(available_cpus())
    ended = []
    with device.open_stream() as first, device.open_stream() as second:
        lanes = [
            Lane(device, first, lambda one: one.launch(lambda: 1 // 0), 1.0),
            Lane(device, second, lambda one: one.launch(lambda: ended.append(1)), 1.0),
        ]
        with pytest.raises(ZeroDivisionError):
            trace_together(lanes, 0.02, clock=time.monotonic, pause=time.sleep)
        num_ended = len(ended)
        time.sleep(0.01)
    assert num_ended == len(ended) > 0


def test_run_together_delay_beyond_the_duration_fails() -> None:
    clock = FakeClock()
    with pytest.raises(MeasurementFailed, match="no chunk"):
        run([lane(clock, 0.010, delay_s=5.0)], clock)


def test_run_together_on_cores_counts_what_sleeping_chunks_do() -> None:
    device = CpuDevice(available_cpus())
    with device.open_stream() as first, device.open_stream() as second:
        lanes = [
            Lane(device, first, lambda one: one.launch(time.sleep, 0.01), 1.0),
            Lane(device, second, lambda one: one.launch(time.sleep, 0.02), 1.0),
        ]
        fast, slow = run_together(
            [[one] for one in lanes], 0.3, clock=time.monotonic, pause=time.sleep
        )
    # Sleeps can only be late, and the ratio tells whether both were counted over the same window.
    assert 0.0 < slow <= 50.0
    assert slow < fast <= 100.0


def test_run_together_error_of_a_chunk_is_raised() -> None:
    device = CpuDevice(available_cpus())
    with device.open_stream() as stream:
        broken = Lane(device, stream, lambda one: one.launch(lambda: 1 // 0), 1.0)
        with pytest.raises(ZeroDivisionError):
            run_together([[broken]], 0.02, clock=time.monotonic, pause=time.sleep)
