"""The roofline of each GPU's vector units: attained arithmetic against arithmetic intensity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap
from topoprobe.measure.devices.cuda.floats import FLOAT_TYPES, FloatType
from topoprobe.measure.devices.cuda.inventory import OpenGpu
from topoprobe.measure.devices.cuda.work import intensity_work
from topoprobe.measure.series import Quantity, Trial, collect
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor, Series

from .cuda_timing import Repeated
from .gpu_sizes import beyond_cache_bytes
from .gpus import measure_each

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.memory import CudaBuffer

# Multiply-adds per number: 2 flop each, on a number that is read once and written once. An even
# count leaves the numbers as they were.
_ROUNDS = {"quick": (2, 8, 32, 128)}
_ALL_ROUNDS = (2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
# Far to the right of the ridge of every GPU: memory is idle nearly always.
_CEILING_ROUNDS = 1024
_CHECKED_BYTES = 64 << 10
_VARIANT = "8_chains"


class CudaRooflineBenchmark:
    """An array in memory, updated in place with more and more multiply-adds per number.

    fp16 and bf16 are computed in pairs, two numbers to an instruction. Every sample carries the
    clocks it was taken at: under a power limit they fall as the intensity rises.
    """

    name: str = "cuda.roofline"
    summary: str = "Sweep arithmetic intensity on each GPU: fp32, fp64, and pairs of fp16 and bf16."
    revision: int = 1
    seconds: float = 6.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every usable GPU."""
        names = (("roofline", "flop_per_s"), ("compute.fma", "flop_per_s"))
        return measure_each(machine, context, _measure, names)


def _measure(gpu: OpenGpu, context: Context) -> Iterator[Series]:
    data = gpu.device.reserve(beyond_cache_bytes(gpu.device, num_arrays=1), "gpu")
    for float_type in gpu.device.kernels.intensity_types:
        gpu.device.fill_floats(data, 1, float_type)
        rounds = _ROUNDS.get(context.budget.suite, _ALL_ROUNDS)
        measured = collect(
            context,
            [
                *(_point(gpu, data, float_type, num_rounds) for num_rounds in rounds),
                _ceiling(gpu, data, float_type),
            ],
        )
        yield from _verified(measured, gpu, data, float_type)


def _point(gpu: OpenGpu, data: CudaBuffer, float_type: FloatType, num_rounds: int) -> Trial:
    intensity = intensity_work(float_type, data.num_bytes, num_rounds).flop_per_byte
    factors: dict[str, Factor] = {"intensity": intensity, "array_bytes": data.num_bytes}
    return _trial("roofline", gpu, data, float_type, num_rounds, factors)


def _ceiling(gpu: OpenGpu, data: CudaBuffer, float_type: FloatType) -> Trial:
    return _trial("compute.fma", gpu, data, float_type, _CEILING_ROUNDS, {})


def _trial(
    name: str,
    gpu: OpenGpu,
    data: CudaBuffer,
    float_type: FloatType,
    num_rounds: int,
    factors: dict[str, Factor],
) -> Trial:
    kernels = gpu.device.kernels
    timed = Repeated(
        gpu.device, lambda stream: stream.launch(kernels.intensity, data, float_type, num_rounds)
    )
    quantity = Quantity(
        name,
        "flop_per_s",
        {"device": gpu.node.id, "dtype": float_type, "variant": _VARIANT, **factors},
    )
    work = intensity_work(float_type, data.num_bytes, num_rounds)
    return Trial.of(quantity, timed.rate_of(work.num_flop))


def _verified(
    series: tuple[Series, ...], gpu: OpenGpu, data: CudaBuffer, float_type: FloatType
) -> tuple[Series, ...]:
    """Do three more rounds and compare both ends with ``3 - x``, which is exact in every type."""
    device, layout = gpu.device, FLOAT_TYPES[float_type]
    size = min(_CHECKED_BYTES, data.num_bytes)
    starts = (0, data.num_bytes - size)
    before = [device.read_back(data, start, size).view(np.uint64) for start in starts]
    with device.open_stream() as stream:
        stream.launch(device.kernels.intensity, data, float_type, 3)
    for start, words in zip(starts, before, strict=True):
        found = layout.decode(device.read_back(data, start, size).view(np.uint64))
        is_wrong = found != 3.0 - layout.decode(words)
        if is_wrong.any():
            offset = start + layout.num_bytes * int(np.argmax(is_wrong))
            reason = f"the number at offset {offset} is wrong after three rounds"
            return tuple(
                msgspec.structs.replace(one, status=Status.FAILED, reason=reason) for one in series
            )
    return series
