"""A GPU directly at a switch beside several behind a second switch: who gets how much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from topoprobe.machine.view import Machine
from topoprobe.measure.devices.cuda.availability import cuda_gap, nvidia_gpus
from topoprobe.measure.flows import FlowSet
from topoprobe.records.machine import Gpu, MachineDocument, PcieSwitch

from .gpu_sets import Group, GroupsBenchmark, from_gpu, to_gpu


@dataclass(frozen=True, slots=True)
class CudaCascadeBenchmark(GroupsBenchmark):
    """Whether a switch serves its ports in turn, whoever is behind them.

    Then the GPU that has a port for itself gets as much as all those together that share one.
    """

    name: str = "cuda.cascade"
    summary: str = "Copy to a GPU at a switch beside GPUs behind a second switch of it."
    revision: int = 1
    seconds: float = 5.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        gap = cuda_gap(machine)
        if gap is None and not cascades(machine):
            return (
                "no PCIe switch of this machine has a GPU of its own and a second switch with "
                "several below it"
            )
        return gap

    def groups(self, machine: MachineDocument, suite: str) -> Iterator[Group]:
        """Yield one group for each cascade."""
        for cascade in cascades(machine):
            yield Group(cascade.switch, cascade_sets(machine, cascade))


@dataclass(frozen=True, slots=True)
class Cascade:
    """A switch with a GPU of its own, and GPUs behind one of its ports.

    Attributes
    ----------
    switch : str
        Id of the upper switch.
    direct : Gpu
        At one of its ports.
    behind : tuple of Gpu
        Below the second switch; two or more.
    """

    switch: str
    direct: Gpu
    behind: tuple[Gpu, ...]


def cascades(machine: MachineDocument) -> tuple[Cascade, ...]:
    """Return one cascade for each pair of a switch and one below it that make one."""
    return tuple(_cascades(Machine(machine), nvidia_gpus(machine)))


def _cascades(machine: Machine, gpus: Sequence[Gpu]) -> Iterator[Cascade]:
    for switch in machine.all(PcieSwitch):
        direct = [gpu for gpu in gpus if gpu.parent == switch.id]
        for lower in machine.children(switch.id):
            behind = tuple(gpu for gpu in gpus if lower in machine.bridges_above(gpu.id))
            if direct and len(behind) > 1:
                yield Cascade(switch.id, direct[0], behind)


def cascade_sets(machine: MachineDocument, cascade: Cascade) -> tuple[FlowSet, ...]:
    """Return the sets of both directions, the direct GPU first."""
    gpus = (cascade.direct, *cascade.behind)
    return tuple(FlowSet(tuple(make(machine, gpu) for gpu in gpus)) for make in (to_gpu, from_gpu))
