"""CPU cores behind the asynchronous device interface: one pinned worker thread per stream.

Kernels are Python callables that release the GIL in their inner loop (numba ``nogil``, numpy,
torch, ctypes), so streams on different CPUs really run side by side.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.measure.device import Buffer, Latch
from topoprobe.measure.devices.cpu.buffer import CpuBuffer, fill_bytes
from topoprobe.measure.devices.cpu.placement import buffer_on_node
from topoprobe.measure.ends import absent
from topoprobe.records.machine import MachineDocument, Numa

LATCH_TIMEOUT_S = 20.0
"""A stream that waits longer than this for its latch fails instead of hanging."""

Task = Callable[[], None]


def available_cpus(root: Path = Path("/")) -> tuple[int, ...]:
    """Return the CPUs this process may run on, one thread of every core before the second ones.

    Cgroup and affinity limits are respected. `root` is where ``sys`` is; another folder in tests.
    """
    seen: dict[str, int] = {}
    rank: dict[int, int] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        core = core_of(cpu, root)
        rank[cpu] = seen.get(core, 0)
        seen[core] = rank[cpu] + 1
    return tuple(sorted(rank, key=lambda cpu: (rank[cpu], cpu)))


def core_of(cpu: int, root: Path = Path("/")) -> str:
    """Return a text that CPUs of the same core share (the CPU itself where nothing is told)."""
    path = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return str(cpu)


class CpuEvent:
    """A point in a CPU stream; its time is that of the worker thread passing it."""

    __slots__ = ("_passed", "_time_s")

    def __init__(self) -> None:
        self._passed = threading.Event()
        self._time_s: float | None = None

    def mark(self) -> None:
        """Note the time; called by the stream's worker."""
        self._time_s = time.monotonic()
        self._passed.set()

    def wait(self) -> None:
        """Block the calling thread until the stream has passed it."""
        self._passed.wait()

    def is_done(self) -> bool:
        """Tell whether the stream has passed it."""
        return self._time_s is not None

    def time_s(self) -> float:
        """Return when it was passed, in seconds of the monotonic clock.

        Raises
        ------
        MeasurementFailed
            If the stream has not passed it yet.
        """
        if self._time_s is None:
            raise MeasurementFailed("The event has not happened yet; synchronize its stream first.")
        return self._time_s


class CpuLatch:
    """Holds CPU streams until it is opened."""

    __slots__ = ("_opened",)

    def __init__(self) -> None:
        self._opened = threading.Event()

    def open(self) -> None:
        """Let the streams go."""
        self._opened.set()

    def pass_through(self) -> None:
        """Wait for the opening; called by the streams' workers.

        Raises
        ------
        MeasurementFailed
            If it was not opened within `LATCH_TIMEOUT_S`.
        """
        if not self._opened.wait(LATCH_TIMEOUT_S):
            raise MeasurementFailed(
                f"A stream waited {LATCH_TIMEOUT_S:.0f} s for a latch that nobody opened."
            )


class CpuStream:
    """Work in order on one thread, bound to one CPU (or to none where `cpu` is None).

    After a task has raised, later tasks are dropped (events are still passed) until `synchronize`
    raises the error.
    """

    def __init__(self, cpu: int | None) -> None:
        self.cpu = cpu
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=f"stream-cpu{cpu}", daemon=True)
        self._thread.start()

    def hold(self, latch: Latch) -> None:
        """Make the stream wait for the latch.

        Raises
        ------
        UsageError
            If the latch belongs to another kind of device.
        """
        if not isinstance(latch, CpuLatch):
            raise UsageError(f"A CPU stream cannot wait for a {type(latch).__name__}.")
        self._tasks.put(latch.pass_through)

    def copy_async(self, destination: Buffer, source: Buffer, num_bytes: int) -> None:
        """Copy the first `num_bytes` of `source`.

        Raises
        ------
        UsageError
            If a buffer is not in host memory or is shorter than that.
        """
        if not isinstance(destination, CpuBuffer) or not isinstance(source, CpuBuffer):
            raise UsageError("A CPU stream copies between host buffers only.")
        if num_bytes > min(destination.num_bytes, source.num_bytes):
            raise UsageError(f"{num_bytes} bytes do not fit: {source!r} to {destination!r}.")
        target, origin = destination.array[:num_bytes], source.array[:num_bytes]
        self.launch(target.__setitem__, slice(None), origin)

    def launch(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Run a callable on the stream's thread."""

        def run() -> None:
            kernel(*arguments)

        self._tasks.put(run)

    def record(self) -> CpuEvent:
        """Return an event that marks the work enqueued so far."""
        event = CpuEvent()
        self._tasks.put(event.mark)
        return event

    def synchronize(self) -> None:
        """Block until all work is done; raise here what the work raised."""
        self.record().wait()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Finish outstanding work and end the thread."""
        self._tasks.put(None)
        self._thread.join()

    def __enter__(self) -> CpuStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _work(self) -> None:
        if self.cpu is not None:
            # A CPU may be taken away meanwhile (hot-unplug, cgroup change): run unpinned then.
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, {self.cpu})
        while (task := self._tasks.get()) is not None:
            if self._error is not None and not _is_mark(task):
                continue
            try:
                task()
            except BaseException as error:  # raised again by synchronize
                self._error = error


def _is_mark(task: Task) -> bool:
    return isinstance(getattr(task, "__self__", None), CpuEvent)


class CpuDevice:
    """The CPUs of this host as one device.

    Parameters
    ----------
    cpus : tuple of int
        CPUs to use, nearest first; streams without a place take them in turn.
    numa_cpus : mapping
        CPUs of each NUMA node by its index; memory ``host:N`` is touched first on one of them.

    Raises
    ------
    EnvironmentMissing
        If there is no CPU to run on.
    """

    node_id = "host"

    def __init__(
        self, cpus: tuple[int, ...], numa_cpus: Mapping[int, tuple[int, ...]] | None = None
    ) -> None:
        if not cpus:
            raise EnvironmentMissing("No CPU was given to measure on; expected at least one.")
        self.cpus = cpus
        self._numa_cpus = dict(numa_cpus or {})
        self._next = 0

    @classmethod
    def of(cls, machine: MachineDocument, cpus: tuple[int, ...]) -> CpuDevice:
        """Return the device for a machine's NUMA nodes, using these CPUs."""
        numa_cpus = {node.os_index: node.cpus for node in machine.nodes if isinstance(node, Numa)}
        return cls(cpus, numa_cpus)

    def open_stream(self, place: str | None = None) -> CpuStream:
        """Open a stream; `place` such as ``core:1`` pins it, None takes the next CPU in turn.

        Raises
        ------
        UsageError
            If the place names no CPU that this process may use.
        """
        if place is not None:
            return CpuStream(self._cpu_at(place))
        cpu = self.cpus[self._next % len(self.cpus)]
        self._next += 1
        return CpuStream(cpu)

    def latch(self) -> Latch:
        """Return a closed latch."""
        return CpuLatch()

    def reserve(self, num_bytes: int, place: str = "host:0") -> CpuBuffer:
        """Return memory that nobody has touched: the first thread to write a page places it."""
        return CpuBuffer(num_bytes, place)

    def allocate(self, num_bytes: int, place: str, seed: int) -> CpuBuffer:
        """Return memory at a place, filled with random bytes.

        Memory at ``host:N`` lies on that NUMA node for certain (see `buffer_on_node`), memory at
        ``core:N`` where that CPU touches it first.

        Raises
        ------
        UsageError
            If the place names no NUMA node with memory, or no CPU that this process may use.
        EnvironmentMissing
            If memory cannot be placed on the node.
        """
        kind, _, number = place.partition(":")
        if kind == "host" and number.isdecimal():
            return buffer_on_node(num_bytes, int(number), lambda array: fill_bytes(array, seed))
        buffer = CpuBuffer(num_bytes, place)
        with CpuStream(self._cpu_at(place)) as stream:
            stream.launch(fill_bytes, buffer.array, seed)
            stream.synchronize()
        return buffer

    def check_place(self, place: str) -> None:
        """Check that there is a NUMA node ``host:N``, or that ``core:N`` may be used.

        A node without CPUs is one too: other nodes' CPUs reach its memory.

        Raises
        ------
        UsageError
            If there is none, naming those that there are.
        """
        kind, _, number = place.partition(":")
        nodes = sorted(self._numa_cpus) or [0]
        if kind != "host" or not number.isdecimal():
            self._cpu_at(place)
        elif int(number) not in nodes:
            raise absent(place, "NUMA node", [f"host:{index}" for index in nodes])

    def cpus_near(self, index: int) -> tuple[int, ...]:
        """Return the usable CPUs of a NUMA node; all where it has none."""
        return tuple(cpu for cpu in self._cpus_of_numa(index) if cpu in self.cpus) or self.cpus

    def _cpu_at(self, place: str) -> int:
        kind, _, number = place.partition(":")
        if not number.isdecimal() or kind not in ("core", "host"):
            raise UsageError(f"{place!r} is not a place of the CPU; expected core:N or host:N.")
        near = (int(number),) if kind == "core" else self._cpus_of_numa(int(number))
        usable = [cpu for cpu in near if cpu in self.cpus]
        if not usable:
            raise absent(place, "usable CPU", [f"core:{cpu}" for cpu in sorted(self.cpus)])
        return usable[0]

    def _cpus_of_numa(self, index: int) -> tuple[int, ...]:
        # A machine without NUMA facts has one memory, which every CPU is near to.
        if not self._numa_cpus and index == 0:
            return self.cpus
        return self._numa_cpus.get(index, ())
