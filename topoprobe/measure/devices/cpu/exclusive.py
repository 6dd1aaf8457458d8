"""Real-time bursts: all threads of this process before all others, while one sample is taken.

On a busy machine this is the difference between a rate and a guess, and it is dangerous unless it
is short: a real-time thread that does not sleep keeps everything else off its CPU. So a burst ends
with its sample, or when it lasts too long, whichever comes first; then others get as much time.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from topoprobe.errors import EnvironmentMissing

MAX_BURST_S = 1.0
"""A longer sample goes on with usual priority from here on."""

# Working threads; the thread that feeds them, which must not wait for them; and the watchdog.
_WORKER, _FEEDER, _WATCHDOG = 1, 2, 3
# What is started during a burst does not inherit the priority.
_REAL_TIME = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK


class Scheduler(Protocol):
    """Policies and priorities of this process's threads; `set` raises OSError where refused."""

    def threads(self) -> tuple[int, ...]: ...  # noqa: D102

    def get(self, thread: int) -> tuple[int, int]: ...  # noqa: D102

    def set(self, thread: int, policy: int, priority: int) -> None: ...  # noqa: D102


class LinuxScheduler:
    """Linux's scheduler; threads are known by their kernel ids."""

    def threads(self) -> tuple[int, ...]:
        """Return the ids of this process's threads."""
        return tuple(int(task.name) for task in Path("/proc/self/task").iterdir())

    def get(self, thread: int) -> tuple[int, int]:
        """Return policy and priority of a thread."""
        return os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority

    def set(self, thread: int, policy: int, priority: int) -> None:
        """Set policy and priority of a thread."""
        os.sched_setscheduler(thread, policy, os.sched_param(priority))


class ExclusiveBursts:
    """Calling it gives a block in which this process's threads run before all others.

    Parameters
    ----------
    scheduler : Scheduler
        Told who runs first.
    clock, sleep : callable
        Monotonic seconds, and waiting for some.

    Raises
    ------
    EnvironmentMissing
        If this process may not do so.
    """

    def __init__(
        self,
        scheduler: Scheduler | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._scheduler = scheduler or LinuxScheduler()
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._before: Mapping[int, tuple[int, int]] = {}
        try:
            self._raise(watchdog=threading.get_native_id())
        finally:
            self._release()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Run the block before all others; then leave the CPUs to them for as long."""
        watchdog = threading.Timer(MAX_BURST_S, self._release)
        watchdog.daemon = True
        watchdog.start()
        began_s = self._clock()
        try:
            self._raise(watchdog=watchdog.native_id)
            yield
        finally:
            self._release()
            watchdog.cancel()
            self._sleep(min(self._clock() - began_s, MAX_BURST_S))

    def _raise(self, watchdog: int | None) -> None:
        feeder = threading.get_native_id()
        with self._lock:
            before: dict[int, tuple[int, int]] = {}
            self._before = before
            for thread in self._scheduler.threads():
                priority = _FEEDER if thread == feeder else _WORKER
                priority = _WATCHDOG if thread == watchdog else priority
                with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                    policy = self._scheduler.get(thread)
                    try:
                        self._scheduler.set(thread, _REAL_TIME, priority)
                    except PermissionError as error:
                        raise EnvironmentMissing(
                            f"Real-time priority was refused ({error.strerror}), which an "
                            "exclusive measurement needs; run as root, or allow it with "
                            f"ulimit -r {_WATCHDOG}."
                        ) from error
                    before[thread] = policy

    def _release(self) -> None:
        """Give every thread what it had; again is harmless."""
        with self._lock:
            for thread, (policy, priority) in self._before.items():
                with contextlib.suppress(ProcessLookupError):
                    # Without privileges the flag cannot be taken back, and it changes nothing.
                    flagged = policy | os.SCHED_RESET_ON_FORK
                    self._scheduler.set(thread, flagged, priority)
            self._before = {}
