"""Copies that run at the same time on one GPU: both directions, and two of one direction."""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap, nvidia_gpus
from topoprobe.measure.flows import FlowSet
from topoprobe.records.machine import Gpu, MachineDocument

from .gpu_sets import SM, Group, from_gpu, measure_groups, to_gpu


@dataclass(frozen=True, slots=True)
class CudaContentionBenchmark:
    """What the directions of a GPU's link, and its copy engines, leave to each other.

    Two copies of one direction share an engine or not, as the GPU has them. A copying kernel takes
    a quarter of each multiprocessor, so that two run at once.
    """

    name: str = "cuda.contention"
    summary: str = "Run copies of one GPU together, both ways and one way, and compare with alone."
    revision: int = 2
    seconds: float = 6.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure each usable GPU."""
        gpus = nvidia_gpus(machine)
        return measure_groups(
            machine, context, [Group(gpu.id, sets_of(machine, gpu)) for gpu in gpus]
        )


def sets_of(machine: MachineDocument, gpu: Gpu) -> tuple[FlowSet, ...]:
    """Return the sets of one GPU: duplex by engine and by kernel, and each direction twice."""
    down, up = to_gpu(machine, gpu), from_gpu(machine, gpu)
    return (
        FlowSet((down, up)),
        FlowSet((down, down)),
        FlowSet((up, up)),
        FlowSet((to_gpu(machine, gpu, SM), from_gpu(machine, gpu, SM))),
    )
