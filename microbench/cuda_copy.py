"""Copies between pinned host memory and each GPU, by its copy engines, over a range of sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap
from topoprobe.measure.devices.cuda.inventory import OpenGpu
from topoprobe.measure.series import Quantity, Trial, collect, skipped
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor, Series
from topoprobe.units import format_bytes

from .gpus import measure_each

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice
    from topoprobe.measure.devices.cuda.memory import CudaBuffer

Direction = Literal["h2d", "d2h"]
_DIRECTIONS: tuple[Direction, ...] = ("h2d", "d2h")
# Five sizes, a factor of sixteen apart: enough to fit latency and bandwidth, and to see the knee.
_SIZES = (4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20)
_SAMPLE_S = 5e-3
_MAX_REPEATS = 200
_SOURCE_SEED, _POISON_SEED = 11, 12


class CudaCopyBenchmark:
    """Bandwidth between the host and a GPU."""

    name: str = "cuda.copy"
    summary: str = "Copy between pinned host memory and each GPU, both ways, by copy engine."
    revision: int = 1
    seconds: float = 6.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every usable GPU."""
        names = tuple((f"copy.{direction}", "bytes_per_s") for direction in _DIRECTIONS)
        return measure_each(machine, context, _measure, names)


def _measure(gpu: OpenGpu, context: Context) -> Iterable[Series]:
    room = min(gpu.device.free_bytes() // 4, context.budget.memory_bytes // 2)
    for num_bytes in _SIZES:
        quantities = {direction: _quantity(gpu, direction, num_bytes) for direction in _DIRECTIONS}
        if num_bytes > room:
            reason = (
                f"{format_bytes(num_bytes)} are more than a copy may use ({format_bytes(room)})"
            )
            yield from (skipped(quantity, reason) for quantity in quantities.values())
            continue
        pinned = gpu.device.reserve(num_bytes, gpu.pinned_place)
        local = gpu.device.reserve(num_bytes, "gpu")
        yield from collect(
            context,
            [
                Trial.of(quantities["h2d"], _Sampler(gpu.device, pinned, local)),
                Trial.of(quantities["d2h"], _Sampler(gpu.device, local, pinned)),
            ],
        )


def _quantity(gpu: OpenGpu, direction: Direction, num_bytes: int) -> Quantity:
    factors: dict[str, Factor] = {"device": gpu.node.id, "executor": "ce", "num_bytes": num_bytes}
    return Quantity(f"copy.{direction}", "bytes_per_s", factors)


class _Sampler:
    """Takes samples of one direction and size.

    The first call fills and poisons, checks what arrived, and finds how often to repeat; its sample
    is warm-up.
    """

    def __init__(self, device: CudaDevice, source: CudaBuffer, target: CudaBuffer) -> None:
        self._device = device
        self._source = source
        self._target = target
        self._repeats = 1
        self._is_checked = False

    def __call__(self) -> float:
        """Return bytes per second of copies queued back to back."""
        if not self._is_checked:
            self._device.fill(self._source, _SOURCE_SEED)
            self._device.fill(self._target, _POISON_SEED)
        num_bytes = self._source.num_bytes
        latch = self._device.latch()
        with self._device.open_stream() as stream:
            stream.hold(latch)
            start = stream.record()
            for _ in range(self._repeats):
                stream.copy_async(self._target, self._source, num_bytes)
            end = stream.record()
            # Small copies end sooner than Python asks for the next; queued, they set the pace.
            latch.open()
            stream.synchronize()
        elapsed_s = end.seconds_since(start)
        if not self._is_checked:
            self._check()
            self._is_checked = True
        rate = num_bytes * self._repeats / elapsed_s
        wanted = math.ceil(_SAMPLE_S * self._repeats / elapsed_s)
        self._repeats = max(1, min(_MAX_REPEATS, wanted))
        return rate

    def _check(self) -> None:
        mismatch = self._device.verify(self._target, _SOURCE_SEED, _POISON_SEED)
        if mismatch is not None:
            raise MeasurementFailed(f"A copy arrived wrong: {mismatch}.")
