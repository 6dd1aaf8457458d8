"""Timing what repeats on one stream of a GPU: queued before it starts, until it fills a sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice, CudaStream

SAMPLE_S = 10e-3
"""Long beside the resolution of events, half a microsecond; short beside changes of the clocks."""

MAX_REPEATS = 200
"""Few enough for the driver's queue to take all of them behind a closed latch."""


class Repeated:
    """Takes samples; the first one finds how often to repeat, and is warm-up.

    All repeats are queued behind a latch, so that the GPU sets the pace and not the Python that
    asks for them.

    Parameters
    ----------
    device : CudaDevice
        Where.
    enqueue : callable
        Puts one repeat on a stream.
    prepare, check : callable
        Called before and after every sample, untimed.
    max_repeats : int
        1 where every sample has to find the caches as `prepare` left them.
    """

    def __init__(
        self,
        device: CudaDevice,
        enqueue: Callable[[CudaStream], None],
        *,
        prepare: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
        max_repeats: int = MAX_REPEATS,
    ) -> None:
        self._device = device
        self._stream = device.open_stream()
        self._enqueue = enqueue
        self._prepare = prepare
        self._check = check
        self._max_repeats = max_repeats
        self._repeats = 1

    def warm_up(self) -> None:
        """Do one repeat now: a library may allocate for a new stream, and not behind a latch."""
        self._enqueue(self._stream)
        self._stream.synchronize()

    def seconds(self) -> float:
        """Return the seconds of one repeat, by the GPU's own clock."""
        self._prepare()
        elapsed_s = self._elapsed_s()
        self._check()
        each_s = elapsed_s / self._repeats
        self._repeats = max(1, min(self._max_repeats, math.ceil(SAMPLE_S / each_s)))
        return each_s

    def rate_of(self, work: float) -> Callable[[], float]:
        """Return a measurement of work per second, where one repeat does so much."""
        return lambda: work / self.seconds()

    def proof_of(self, renew: Callable[[], None]) -> Callable[[], None]:
        """Return what takes one more sample that is not kept, its check renewed."""

        def prove() -> None:
            renew()
            self.seconds()

        return prove

    def _elapsed_s(self) -> float:
        latch = self._device.latch()
        try:
            self._stream.hold(latch)
            start = self._stream.record()
            for _ in range(self._repeats):
                self._enqueue(self._stream)
            end = self._stream.record()
        finally:  # a stream that waits could not be closed
            latch.open()
        self._stream.synchronize()
        return end.seconds_since(start)


class Unheld(Repeated):
    """The same without a latch, for copies that the driver makes in the calling thread."""

    def _elapsed_s(self) -> float:
        start = self._stream.record()
        for _ in range(self._repeats):
            self._enqueue(self._stream)
        end = self._stream.record()
        self._stream.synchronize()
        return end.seconds_since(start)
