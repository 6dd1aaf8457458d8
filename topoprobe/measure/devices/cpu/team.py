"""Several CPUs that run one kernel together, each on its own slice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from topoprobe.measure.devices.cpu.buffer import CpuBuffer, fill_floats
from topoprobe.measure.devices.cpu.device import CpuDevice

# Threads start one after the other, 50 us apart (measured); a sample that takes so long for each
# thread, and at least so long at all, sees less than 2 % of that.
_MIN_SAMPLE_S = 0.025
_MIN_SAMPLE_S_PER_THREAD = 0.003

# Slices begin on a page, so that each page is touched first by the thread that works on it.
_PAGE_BYTES = 4096


class Team:
    """Streams on the first CPUs of a device, one each.

    Parameters
    ----------
    device : CpuDevice
        Where they run.
    num_threads : int
        How many; at most the device's CPUs.
    """

    def __init__(self, device: CpuDevice, num_threads: int) -> None:
        self._device = device
        self._streams = [device.open_stream(f"core:{cpu}") for cpu in device.cpus[:num_threads]]

    @property
    def num_threads(self) -> int:
        """How many CPUs take part."""
        return len(self._streams)

    def slices(self, array: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Split an array into one contiguous part per thread, at page borders."""
        per_page = _PAGE_BYTES // array.itemsize
        num_pages = array.size // per_page
        cuts = [
            number * num_pages // self.num_threads * per_page for number in range(self.num_threads)
        ]
        ends = [*cuts[1:], array.size]
        return tuple(array[start:end] for start, end in zip(cuts, ends, strict=True))

    def allocate_floats(self, num_bytes: int, dtype: str, seed: int) -> NDArray[Any]:
        """Return an array of random values in [1, 2), each part touched first by its thread."""
        array = CpuBuffer(num_bytes, "host").view(dtype)
        self.run(fill_floats, [(part, seed + i) for i, part in enumerate(self.slices(array))])
        return array

    def run(
        self,
        kernel: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        num_passes: int = 1,
    ) -> float:
        """Run a kernel on every thread, all starting together.

        Parameters
        ----------
        kernel : callable
            Releases the GIL in its loop.
        arguments : sequence of tuple
            For each thread.
        num_passes : int
            How often each thread runs it, without waiting for the others between.

        Returns
        -------
        float
            Seconds of one pass: from the first start to the last end, over the passes.
        """
        latch = self._device.latch()
        marks = []
        for stream, values in zip(self._streams, arguments, strict=True):
            stream.hold(latch)
            start = stream.record()
            for _ in range(num_passes):
                stream.launch(kernel, *values)
            marks.append((start, stream.record()))
        latch.open()
        for stream in self._streams:
            stream.synchronize()
        first_s = min(start.time_s() for start, _ in marks)
        last_s = max(end.time_s() for _, end in marks)
        return (last_s - first_s) / num_passes

    def passes_for(self, pass_s: float) -> int:
        """Return how many passes of this duration make a sample that outweighs the starting."""
        sample_s = max(_MIN_SAMPLE_S, _MIN_SAMPLE_S_PER_THREAD * self.num_threads)
        return max(1, math.ceil(sample_s / pass_s))

    def close(self) -> None:
        """End the threads."""
        for stream in self._streams:
            stream.close()

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
