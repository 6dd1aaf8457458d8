"""The asynchronous device interface: streams of work, events on a common clock, a start latch.

Everything that measures is written against it and is the same for CPU cores and GPUs. A CPU
device runs each stream on one pinned thread; a CUDA device maps onto CUDA streams and events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Buffer(Protocol):
    """Memory with a place: a NUMA node, pinned host memory, or a GPU."""

    num_bytes: int
    place: str


class Event(Protocol):
    """A point in a stream. Its time is known once the stream has passed it."""

    def wait(self) -> None:
        """Block the calling thread until the stream has passed it."""

    def is_done(self) -> bool:
        """Tell whether the stream has passed it, without blocking."""

    def time_s(self) -> float:
        """Return when it was passed, in seconds of the host's monotonic clock.

        Devices convert their own clock, so that events of different devices can be compared.
        """


class Latch(Protocol):
    """Holds every stream that waits on it until it is opened; then all start together."""

    def open(self) -> None:
        """Let the streams go."""


class Stream(Protocol):
    """Work in order, done asynchronously."""

    def hold(self, latch: Latch) -> None:
        """Make the stream wait for the latch (with a timeout, so that it can never hang)."""

    def copy_async(self, destination: Buffer, source: Buffer, num_bytes: int) -> None:
        """Copy the first `num_bytes` of `source`."""

    def launch(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Run a kernel of this device (see its `kernels`) with these arguments."""

    def record(self) -> Event:
        """Return an event that marks the work enqueued so far."""

    def synchronize(self) -> None:
        """Block until all work is done; raise here what the work raised."""

    def close(self) -> None:
        """Finish outstanding work and release the stream's resources."""


class Device(Protocol):
    """A processor that measurements run on."""

    node_id: str

    def open_stream(self, place: str | None = None) -> Stream:
        """Open a stream; `place` pins a CPU stream, as ``core:1``."""

    def latch(self) -> Latch:
        """Return a closed latch for the streams of this device."""

    def allocate(self, num_bytes: int, place: str, seed: int) -> Buffer:
        """Allocate random bytes at a place: ``host:0``, ``pinned:0`` or ``gpu``."""
