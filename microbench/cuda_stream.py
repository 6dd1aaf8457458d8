"""STREAM on each GPU: sustained bandwidth of its memory, by array size and by occupancy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap
from topoprobe.measure.devices.cuda.bindings import Grid
from topoprobe.measure.devices.cuda.inventory import OpenGpu
from topoprobe.measure.devices.cuda.work import StreamKernel, stream_work
from topoprobe.measure.series import Quantity, Trial, collect
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor, Series

from .cuda_timing import MAX_REPEATS, Repeated
from .gpu_sizes import beyond_cache_bytes, cache_level, powers
from .gpus import measure_each

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice
    from topoprobe.measure.devices.cuda.memory import CudaBuffer

_SCALAR = 0.4
# What a result must replace: no STREAM kernel computes it from numbers in [1, 2).
_POISON = -1.0
_PIECE_BYTES = 64 << 10
_GRIDS: tuple[Grid, ...] = ("strided", "one_pass")
_SWEPT: dict[str, tuple[StreamKernel, ...]] = {"quick": ("triad",)}
_ALL_SWEPT: tuple[StreamKernel, ...] = ("read", "write", "triad")
_SMALLEST_BYTES = 1 << 20
_WORD_BYTES = 8

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Kernel:
    """One STREAM kernel.

    `operands` names its arrays in the order of the binding; the first is the one it writes, and
    `expected` is what it writes there (a read leaves only the XOR of all words).
    """

    name: StreamKernel
    operands: tuple[str, ...]
    scalars: tuple[float, ...]
    expected: Callable[[Array, Array, Array], Array]


_READ = _Kernel("read", ("a", "sums"), (), lambda a, b, c: a)
_KERNELS = (
    _READ,
    _Kernel("write", ("a",), (_SCALAR,), lambda a, b, c: np.full_like(a, _SCALAR)),
    _Kernel("copy", ("c", "a"), (), lambda a, b, c: a),
    _Kernel("scale", ("b", "c"), (_SCALAR,), lambda a, b, c: _SCALAR * c),
    _Kernel("add", ("c", "a", "b"), (), lambda a, b, c: a + b),
    _Kernel("triad", ("a", "b", "c"), (_SCALAR,), lambda a, b, c: b + _SCALAR * c),
)


class CudaStreamBenchmark:
    """Bandwidth of GPU memory.

    Bytes are counted as STREAM does, every array once: what the kernel asks for. Arrays are at
    least four times the L2 cache each; those of the size sweep are named by the level that holds
    them, and its ``cold`` series start with that cache full of something else.
    """

    name: str = "cuda.stream"
    summary: str = "Stream through each GPU's memory: six kernels, array sizes, occupancies."
    revision: int = 2
    seconds: float = 8.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every usable GPU."""
        names = tuple((f"stream.{kernel.name}", "bytes_per_s") for kernel in _KERNELS)
        return measure_each(machine, context, _measure, names)


def _measure(gpu: OpenGpu, context: Context) -> Iterator[Series]:
    arrays = _Arrays(gpu.device)
    suite = context.budget.suite
    for kernel in _KERNELS:
        yield from collect(context, [_whole(gpu, arrays, kernel, grid) for grid in _GRIDS])
        arrays.refill()
    for kernel in _named(_SWEPT.get(suite, _ALL_SWEPT)):
        yield from collect(context, list(_sizes(gpu, arrays, kernel, suite)))
        arrays.refill()
    if suite == "full":
        for kernel in _named(_ALL_SWEPT):
            yield from collect(context, list(_occupancies(gpu, arrays, kernel)))
            arrays.refill()


def _named(names: Iterable[StreamKernel]) -> Iterator[_Kernel]:
    return (kernel for kernel in _KERNELS if kernel.name in names)


def _whole(gpu: OpenGpu, arrays: _Arrays, kernel: _Kernel, grid: Grid) -> Trial:
    timed = arrays.timed(kernel, arrays.num_bytes, grid)
    return _trial(
        gpu, f"stream.{kernel.name}", kernel, arrays.num_bytes, timed,
        variant=grid, cache_ratio=round(arrays.num_bytes / gpu.device.l2_bytes, 3),
    )  # fmt: skip


def _sizes(gpu: OpenGpu, arrays: _Arrays, kernel: _Kernel, suite: str) -> Iterator[Trial]:
    """From the cache to memory; what fits the cache also with it cold."""
    l2_bytes = gpu.device.l2_bytes
    for num_bytes in powers(_SMALLEST_BYTES, arrays.num_bytes, 4 if suite == "quick" else 2):
        num_arrays = stream_work(kernel.name, num_bytes).num_bytes // num_bytes
        level = cache_level(num_bytes, num_arrays, l2_bytes)
        timed = {"warm": arrays.timed(kernel, num_bytes)}
        if suite != "quick" and num_bytes <= l2_bytes:
            timed["cold"] = arrays.timed(kernel, num_bytes, before=arrays.flush, max_repeats=1)
        for cache, one in timed.items():
            yield _trial(
                gpu, "stream.sweep", kernel, num_bytes, one,
                kernel=kernel.name, level=level, cache=cache,
            )  # fmt: skip


def _occupancies(gpu: OpenGpu, arrays: _Arrays, kernel: _Kernel) -> Iterator[Trial]:
    """From one block of 256 threads to twice as many as run at once."""
    for num_blocks in powers(1, 2 * gpu.device.kernels.num_filling, 2):
        timed = arrays.timed(kernel, arrays.num_bytes, num_blocks)
        yield _trial(
            gpu, "stream.occupancy", kernel, arrays.num_bytes, timed,
            kernel=kernel.name, num_blocks=num_blocks,
        )  # fmt: skip


def _trial(
    gpu: OpenGpu,
    name: str,
    measured: _Kernel,
    num_bytes: int,
    timed: Repeated,
    **factors: Factor,
) -> Trial:
    quantity = Quantity(
        name, "bytes_per_s", {"device": gpu.node.id, **factors, "array_bytes": num_bytes}
    )
    return Trial.of(quantity, timed.rate_of(stream_work(measured.name, num_bytes).num_bytes))


class _Arrays:
    """The arrays a, b and c on one GPU, and the words in which a pure read leaves its trace."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self.num_bytes = beyond_cache_bytes(device, num_arrays=4)
        self._arrays = {
            name: device.reserve(self.num_bytes, "gpu") for name in ("a", "b", "c", "sums")
        }
        self.refill()

    def refill(self) -> None:
        """Fill with random numbers in [1, 2): neither memory nor arithmetic profits from zeros."""
        for seed, name in enumerate("abc"):
            self._device.fill_floats(self._arrays[name], seed)

    def flush(self) -> None:
        """Fill the L2 cache with something else."""
        self._device.flush_l2(self._arrays["sums"])

    def timed(
        self,
        kernel: _Kernel,
        num_bytes: int,
        grid: Grid = "strided",
        *,
        before: Callable[[], None] = lambda: None,
        max_repeats: int = MAX_REPEATS,
    ) -> Repeated:
        """Return the timing of a kernel on the first bytes of each array, its result checked."""
        parts = {name: self._arrays[name].piece(0, num_bytes) for name in "abc"}
        parts["sums"] = self._arrays["sums"]
        operands = [parts[name] for name in kernel.operands]
        launch = getattr(self._device.kernels, kernel.name)
        if kernel is _READ:
            num_sums = self._device.kernels.num_read_sums(parts["a"], grid)
            result: _Result = _Xor(self._device, parts["a"], parts["sums"], num_sums)
        else:
            result = _Written(self._device, kernel, parts)

        def prepare() -> None:
            result.poison()
            before()

        return Repeated(
            self._device,
            lambda stream: stream.launch(launch, *operands, *kernel.scalars, grid),
            prepare=prepare,
            check=result.check,
            max_repeats=max_repeats,
        )


class _Written:
    """What a kernel wrote, compared with numpy in pieces at both ends and in the middle."""

    def __init__(self, device: CudaDevice, kernel: _Kernel, parts: dict[str, CudaBuffer]) -> None:
        self._device = device
        self._kernel = kernel
        self._parts = parts

    def poison(self) -> None:
        self._device.fill_value(self._parts[self._kernel.operands[0]], _POISON)

    def check(self) -> None:
        last = max(0, self._parts["a"].num_bytes - _PIECE_BYTES)
        size = min(_PIECE_BYTES, self._parts["a"].num_bytes)
        for start in (0, last // 2 // size * size, last):
            a, b, c = (self._device.read_back(self._parts[name], start, size) for name in "abc")
            found = {"a": a, "b": b, "c": c}[self._kernel.operands[0]]
            # A GPU fuses the multiplication into the addition and rounds once where numpy
            # rounds twice.
            if not np.allclose(found, self._kernel.expected(a, b, c), rtol=1e-15, atol=0.0):
                raise MeasurementFailed(
                    f"{self._kernel.name} computed wrong numbers at offset {start} of its result."
                )


class _Xor:
    """The XOR of all words that a kernel read; all of them are read back once to compare."""

    def __init__(
        self, device: CudaDevice, source: CudaBuffer, sums: CudaBuffer, num_sums: int
    ) -> None:
        self._device = device
        self._source = source
        self._sums = sums.piece(0, num_sums * _WORD_BYTES)
        self._expected: int | None = None

    def poison(self) -> None:
        self._device.fill_value(self._sums, _POISON)

    def check(self) -> None:
        if self._expected is None:
            self._expected = self._xor(self._source)
        if self._xor(self._sums) != self._expected:
            raise MeasurementFailed("read did not see every word of its array once.")

    def _xor(self, buffer: CudaBuffer) -> int:
        words = self._device.read_back(buffer, 0, buffer.num_bytes).view(np.uint64)
        return int(np.bitwise_xor.reduce(words))


_Result = _Written | _Xor
