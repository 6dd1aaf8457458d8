"""STREAM on each GPU: copy, scale, add and triad over device memory, in two launch shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap
from topoprobe.measure.devices.cuda.bindings import Grid
from topoprobe.measure.devices.cuda.inventory import OpenGpu
from topoprobe.measure.series import Quantity, Trial, collect
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Series

from .gpus import measure_each

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice
    from topoprobe.measure.devices.cuda.memory import CudaBuffer

_SCALAR = 0.4
# What a result must replace: no STREAM kernel computes it from numbers in [1, 2).
_POISON = -1.0
_SAMPLE_S = 10e-3
_MAX_REPEATS = 100
# Each array is at least four times the last-level cache, so that nothing is read from there
# (notes on method: a 16 MB buffer on a GPU with 72 MB of L2 once "measured" 3.9 TB/s).
_CACHE_MULTIPLE = 4
_MIN_ARRAY_BYTES = 512 << 20
_PIECE_BYTES = 64 << 10
_GRIDS: tuple[Grid, ...] = ("strided", "one_pass")

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Kernel:
    """One STREAM kernel: how many arrays it moves, and what it computes from a, b and c."""

    name: str
    num_arrays: int
    target: str
    expected: Callable[[Array, Array, Array], Array]


_KERNELS = (
    _Kernel("copy", 2, "c", lambda a, b, c: a),
    _Kernel("scale", 2, "b", lambda a, b, c: _SCALAR * c),
    _Kernel("add", 3, "c", lambda a, b, c: a + b),
    _Kernel("triad", 3, "a", lambda a, b, c: b + _SCALAR * c),
)


class CudaStreamBenchmark:
    """Bandwidth of GPU memory."""

    name: str = "cuda.stream"
    summary: str = "Stream through each GPU's memory: copy, scale, add and triad."
    revision: int = 1
    seconds: float = 5.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every usable GPU."""
        names = tuple((f"stream.{kernel.name}", "bytes_per_s") for kernel in _KERNELS)
        return measure_each(machine, context, _measure, names)


def _measure(gpu: OpenGpu, context: Context) -> Iterable[Series]:
    device = gpu.device
    array_bytes = _array_bytes(device.l2_bytes, device.free_bytes())
    arrays = {name: device.reserve(array_bytes, "gpu") for name in "abc"}
    for seed, array in enumerate(arrays.values()):
        device.fill_floats(array, seed)
    for kernel in _KERNELS:
        yield from collect(
            context,
            [
                Trial.of(
                    Quantity(
                        name=f"stream.{kernel.name}",
                        unit="bytes_per_s",
                        factors={
                            "device": gpu.node.id,
                            "variant": grid,
                            "array_bytes": array_bytes,
                        },
                    ),
                    _Sampler(device, kernel, grid, arrays),
                )
                for grid in _GRIDS
            ],
        )
        device.fill_floats(arrays[kernel.target], seed=ord(kernel.target))


def _array_bytes(l2_bytes: int, free_bytes: int) -> int:
    """Return the size of each of three arrays: far beyond the cache, a quarter of what is free."""
    wanted = max(_CACHE_MULTIPLE * l2_bytes, _MIN_ARRAY_BYTES)
    return min(wanted, free_bytes // 4) // _PIECE_BYTES * _PIECE_BYTES


class _Sampler:
    """Takes samples of one kernel in one launch shape; the first call finds how often to repeat."""

    def __init__(
        self, device: CudaDevice, kernel: _Kernel, grid: Grid, arrays: dict[str, CudaBuffer]
    ) -> None:
        self._device = device
        self._kernel = kernel
        self._grid = grid
        self._arrays = arrays
        self._repeats = 1

    def __call__(self) -> float:
        """Return bytes per second: every array counts once, as STREAM does."""
        a, b, c = (self._arrays[name] for name in "abc")
        kernels = self._device.kernels
        arguments = {
            "copy": (c, a),
            "scale": (b, c, _SCALAR),
            "add": (c, a, b),
            "triad": (a, b, c, _SCALAR),
        }[self._kernel.name]
        target = self._arrays[self._kernel.target]
        with self._device.open_stream() as stream:
            stream.launch(kernels.write, target, _POISON)
            start = stream.record()
            for _ in range(self._repeats):
                stream.launch(getattr(kernels, self._kernel.name), *arguments, self._grid)
            end = stream.record()
            stream.synchronize()
        elapsed_s = end.seconds_since(start)
        self._check()
        rate = self._kernel.num_arrays * target.num_bytes * self._repeats / elapsed_s
        wanted = math.ceil(_SAMPLE_S * self._repeats / elapsed_s)
        self._repeats = max(1, min(_MAX_REPEATS, wanted))
        return rate

    def _check(self) -> None:
        """Compare pieces at both ends and in the middle with numpy."""
        last = self._arrays["a"].num_bytes - _PIECE_BYTES
        for start in (0, last // 2 // _PIECE_BYTES * _PIECE_BYTES, last):
            a, b, c = (
                self._device.read_back(self._arrays[name], start, _PIECE_BYTES) for name in "abc"
            )
            found = {"a": a, "b": b, "c": c}[self._kernel.target]
            expected = self._kernel.expected(a, b, c)
            # A GPU fuses the multiplication into the addition and rounds once where numpy
            # rounds twice.
            if not np.allclose(found, expected, rtol=1e-15, atol=0.0):
                raise MeasurementFailed(
                    f"{self._kernel.name} computed wrong numbers at offset {start} of its result."
                )
