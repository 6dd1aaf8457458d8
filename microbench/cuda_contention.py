"""Copies that run at the same time on one GPU: both directions, and several of one direction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from topoprobe.measure.devices.cuda.availability import cuda_gap, nvidia_gpus
from topoprobe.measure.flows import FlowSet
from topoprobe.records.machine import Gpu, MachineDocument

from .gpu_sets import SM, Group, GroupsBenchmark, from_gpu, to_gpu


@dataclass(frozen=True, slots=True)
class CudaContentionBenchmark(GroupsBenchmark):
    """What the directions of a GPU's link, and its copy engines, leave to each other.

    Copies of one direction, two or four, share an engine or not, as the GPU has them. A copying
    kernel takes a quarter of each multiprocessor, so that two run at once.
    """

    name: str = "cuda.contention"
    summary: str = "Run copies of one GPU together, both ways and one way, and compare with alone."
    revision: int = 2
    seconds: float = 6.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def groups(self, machine: MachineDocument, suite: str) -> Iterator[Group]:
        """Yield one group for each GPU."""
        for gpu in nvidia_gpus(machine):
            yield Group(gpu.id, sets_of(machine, gpu))


def sets_of(machine: MachineDocument, gpu: Gpu) -> tuple[FlowSet, ...]:
    """Return the sets of one GPU: duplex by engine and by kernel, and several of one direction."""
    down, up = to_gpu(machine, gpu), from_gpu(machine, gpu)
    return (
        FlowSet((down, up)),
        FlowSet((down, down)),
        FlowSet((up, up)),
        FlowSet((down,) * 4),
        FlowSet((to_gpu(machine, gpu, SM), from_gpu(machine, gpu, SM))),
    )
