"""Copies between the host and several GPUs at once: the sets that share something, and a sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from topoprobe.machine.view import Machine
from topoprobe.measure.devices.cuda.availability import nvidia_gpus
from topoprobe.measure.flows import FlowSet
from topoprobe.measure.subsets import subsets
from topoprobe.records.machine import Gpu, MachineDocument

from .gpu_sets import Group, GroupsBenchmark, from_gpu, lasting, several_gpus_gap, to_gpu

# Each set of GPUs is run in three ways.
_NUM_SETS = {"quick": 4, "standard": 12}
_NUM_ALL_SETS = 48
_WINDOW_S = {"quick": 0.04, "standard": 0.1}
_LONG_WINDOW_S = 0.5


@dataclass(frozen=True, slots=True)
class CudaSubsetsBenchmark(GroupsBenchmark):
    """What GPUs leave to each other on the way to the host: to them, from them, and both.

    GPUs of one switch, host bridge, NUMA node and socket come first, then a sample of the rest
    (`topoprobe.measure.subsets`).
    """

    name: str = "cuda.subsets"
    summary: str = "Copy between the host and sets of GPUs at once: to them, from them, both ways."
    revision: int = 1
    seconds: float = 10.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return several_gpus_gap(machine)

    def groups(self, machine: MachineDocument, suite: str) -> Iterator[Group]:
        """Yield all chosen sets as one group: each flow is in several of them.

        What they share is the host's memory and what leads to it.
        """
        duration_s = _WINDOW_S.get(suite, _LONG_WINDOW_S)
        yield Group("host", tuple(lasting(one, duration_s) for one in sets_of(machine, suite)))


def sets_of(machine: MachineDocument, suite: str) -> tuple[FlowSet, ...]:
    """Return the three sets of each chosen set of GPUs."""
    gpus = {gpu.id: gpu for gpu in nvidia_gpus(machine)}
    chosen = subsets(Machine(machine), tuple(gpus), _NUM_SETS.get(suite, _NUM_ALL_SETS))
    return tuple(
        one for subset in chosen for one in _directions(machine, [gpus[each] for each in subset])
    )


def _directions(machine: MachineDocument, gpus: Sequence[Gpu]) -> Iterator[FlowSet]:
    down = tuple(to_gpu(machine, gpu) for gpu in gpus)
    up = tuple(from_gpu(machine, gpu) for gpu in gpus)
    yield from (FlowSet(down), FlowSet(up), FlowSet((*down, *up)))
