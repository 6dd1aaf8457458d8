"""What copies and kernels of one GPU do to each other, pair by pair."""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap, nvidia_gpus
from topoprobe.measure.flows import Flow, FlowSet, Work
from topoprobe.records.machine import Gpu, MachineDocument

from .gpu_sets import SM, Group, between, from_gpu, gpu_end, measure_groups, to_gpu

_LOADS = (Work.GEMV, Work.GEMM, Work.STREAM)


@dataclass(frozen=True, slots=True)
class CudaInterferenceBenchmark:
    """Pairs of a load and a copy, both rates in their common window and each alone.

    Loads are a decode-like matrix-vector product, a matrix product (through torch) and STREAM's
    triad. Copies go to and from the host by copy engine and by kernel, and within the GPU.
    """

    name: str = "cuda.interference"
    summary: str = "Run a GEMV, a GEMM and a triad beside every kind of copy on each GPU."
    revision: int = 1
    seconds: float = 14.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every usable GPU."""
        gpus = nvidia_gpus(machine)
        return measure_groups(
            machine, context, [Group(gpu.id, sets_of(machine, gpu)) for gpu in gpus]
        )


def sets_of(machine: MachineDocument, gpu: Gpu) -> tuple[FlowSet, ...]:
    """Return every load beside every copy."""
    end = gpu_end(gpu)
    copies = (
        to_gpu(machine, gpu),
        from_gpu(machine, gpu),
        to_gpu(machine, gpu, SM),
        from_gpu(machine, gpu, SM),
        between(gpu, gpu),
    )
    loads = [Flow(end, end, SM, work) for work in _LOADS]
    return tuple(FlowSet((load, copy)) for load in loads for copy in copies)
