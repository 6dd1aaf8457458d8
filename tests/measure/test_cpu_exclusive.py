"""Real-time bursts: who runs first, for how long, and that it always ends."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass, field

import pytest

from tests.measure.support import FakeClock
from topoprobe.errors import EnvironmentMissing
from topoprobe.measure.devices.cpu import exclusive
from topoprobe.measure.devices.cpu.exclusive import ExclusiveBursts, LinuxScheduler

OTHER = (os.SCHED_OTHER, 0)
WORKER_ID = 1_000_001
GONE_ID = 1_000_002


@dataclass
class FakeScheduler:
    """Some threads beside the calling one; one of them ends before it can be asked."""

    refuses: bool = False
    state: dict[int, tuple[int, int]] = field(default_factory=dict)
    was_released: threading.Event = field(default_factory=threading.Event)

    def threads(self) -> tuple[int, ...]:
        running = tuple(thread.native_id or 0 for thread in threading.enumerate())
        return (*running, WORKER_ID, GONE_ID)

    def get(self, thread: int) -> tuple[int, int]:
        if thread == GONE_ID:
            raise ProcessLookupError
        return self.state.get(thread, OTHER)

    def set(self, thread: int, policy: int, priority: int) -> None:
        if self.refuses:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        self.state[thread] = (policy & ~os.SCHED_RESET_ON_FORK, priority)
        if thread == WORKER_ID and priority == 0:
            self.was_released.set()

    def is_raised(self) -> bool:
        return any(policy == os.SCHED_FIFO for policy, _ in self.state.values())


@dataclass
class Bursts:
    scheduler: FakeScheduler = field(default_factory=FakeScheduler)
    clock: FakeClock = field(default_factory=FakeClock)
    rests_s: list[float] = field(default_factory=list)

    def open(self) -> ExclusiveBursts:
        return ExclusiveBursts(self.scheduler, self.clock, self.rests_s.append)


def test_burst_raises_all_threads_and_the_feeder_above_them() -> None:
    bursts = Bursts()
    burst = bursts.open()
    assert not bursts.scheduler.is_raised()
    with burst():
        state = dict(bursts.scheduler.state)
    assert state[WORKER_ID] == (os.SCHED_FIFO, 1)
    assert state[threading.get_native_id()] == (os.SCHED_FIFO, 2)
    assert (os.SCHED_FIFO, 3) in state.values()  # the watchdog
    assert not bursts.scheduler.is_raised()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_burst_that_raises_is_released(error: type[BaseException]) -> None:
    bursts = Bursts()
    with pytest.raises(error), bursts.open()():
        raise error
    assert not bursts.scheduler.is_raised()


def test_burst_too_long_is_released_inside_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    bursts = Bursts()
    burst = bursts.open()
    bursts.scheduler.was_released.clear()
    monkeypatch.setattr(exclusive, "MAX_BURST_S", 0.01)
    with burst():
        assert bursts.scheduler.was_released.wait(10.0)
        assert not bursts.scheduler.is_raised()


@pytest.mark.parametrize(("length_s", "rest_s"), [(0.25, 0.25), (7.0, exclusive.MAX_BURST_S)])
def test_burst_is_followed_by_rest_as_long(length_s: float, rest_s: float) -> None:
    bursts = Bursts()
    with bursts.open()():
        bursts.clock.now_s += length_s
    assert bursts.rests_s == [rest_s]


def test_bursts_that_are_not_permitted_say_so() -> None:
    bursts = Bursts(FakeScheduler(refuses=True))
    with pytest.raises(EnvironmentMissing, match=r"not permitted.*ulimit -r 3\."):
        bursts.open()
    assert not bursts.scheduler.is_raised()


def test_linux_runs_the_block_with_real_time_priority() -> None:
    try:
        burst = ExclusiveBursts()
    except EnvironmentMissing as error:
        pytest.skip(str(error))
    with burst():
        policy, priority = LinuxScheduler().get(0)
        assert policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
        assert priority == 2
    assert {
        LinuxScheduler().get(thread)[0] & ~os.SCHED_RESET_ON_FORK
        for thread in LinuxScheduler().threads()
    } == {os.SCHED_OTHER}
