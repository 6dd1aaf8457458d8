"""Ceilings of each GPU's tensor cores: matrix products of growing size, through torch."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap
from topoprobe.measure.devices.cuda.gemm import DTYPES, Gemm, num_bytes, num_flop, torch_gap
from topoprobe.measure.devices.cuda.inventory import OpenGpu
from topoprobe.measure.series import Quantity, Trial, collect, skipped
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor, Series

from .cuda_timing import Repeated
from .gpus import measure_each

_SIZES = {"quick": (4096,), "standard": (2048, 4096, 8192)}
_ALL_SIZES = (1024, 2048, 3072, 4096, 6144, 8192, 12288, 16384)


class CudaGemmBenchmark:
    """Products of square matrices, the best size of which is the ceiling of a number type.

    Flop are counted as 2 n^3. Operands are random: a product of zeros draws less power and runs
    at higher clocks.
    """

    name: str = "cuda.gemm"
    summary: str = "Multiply matrices on each GPU through torch, for the ceilings of tensor cores."
    revision: int = 1
    seconds: float = 4.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Ask for CUDA first, then for a torch that has it."""
        return cuda_gap(machine) or torch_gap()

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every usable GPU."""
        return measure_each(machine, context, _measure, (("compute.gemm", "flop_per_s"),))


def _measure(gpu: OpenGpu, context: Context) -> Iterator[Series]:
    for size in _SIZES.get(context.budget.suite, _ALL_SIZES):
        for dtype in DTYPES:
            quantity = _quantity(gpu, dtype, size)
            if num_bytes(dtype, size) > gpu.device.free_bytes() // 2:
                yield skipped(quantity, "the matrices need more than half of the free memory")
                continue
            try:
                gemm = Gemm.of(gpu.device, dtype, size)
            except MeasurementFailed as failure:
                yield _failed(quantity, str(failure))
                continue
            timed = Repeated(gpu.device, gemm.enqueue, check=gemm.check)
            timed.warm_up()
            yield from collect(context, [Trial.of(quantity, timed.rate_of(num_flop(size)))])


def _quantity(gpu: OpenGpu, dtype: str, size: int) -> Quantity:
    factors: dict[str, Factor] = {
        "device": gpu.node.id,
        "dtype": dtype,
        "variant": "torch",
        "size": size,
    }
    return Quantity("compute.gemm", "flop_per_s", factors)


def _failed(quantity: Quantity, reason: str) -> Series:
    return Series(
        name=quantity.name,
        unit=quantity.unit,
        factors=dict(quantity.factors),
        is_better_higher=quantity.is_better_higher,
        status=Status.FAILED,
        reason=reason,
    )
