"""A copy that joins another and leaves before it: how fast the first makes room, and how much."""

from __future__ import annotations

from dataclasses import dataclass, replace

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.flows import FlowSet
from topoprobe.records.machine import Gpu, MachineDocument

from .gpu_sets import (
    Group,
    from_gpu,
    measure_groups,
    nearest_pair,
    several_gpus_gap,
    shared_node,
    to_gpu,
)

# Of the first copy; the second runs in the middle third.
_DURATION_S = {"quick": 0.15, "standard": 0.6}
_LONG_DURATION_S = 1.5
# Small: the time of a change is not known better than a chunk's.
_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class CudaJoiningBenchmark:
    """Shares while both run, and the time until the first copy has settled."""

    name: str = "cuda.joining"
    summary: str = "Let a copy join another's on a nearby GPU, and time how it makes room."
    revision: int = 1
    seconds: float = 5.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return several_gpus_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure on the two GPUs that have most of their way to the host in common."""
        pair = nearest_pair(machine)
        duration_s = _DURATION_S.get(context.budget.suite, _LONG_DURATION_S)
        sets = sets_of(machine, pair, duration_s)
        return measure_groups(machine, context, [Group(shared_node(machine, pair), sets)])


def sets_of(
    machine: MachineDocument, pair: tuple[Gpu, Gpu], duration_s: float
) -> tuple[FlowSet, ...]:
    """Return a set to the GPUs and one from them."""
    third_s = duration_s / 3
    sets = []
    for make in (to_gpu, from_gpu):
        first, second = (replace(make(machine, gpu), chunk_bytes=_CHUNK_BYTES) for gpu in pair)
        sets.append(
            FlowSet(
                (
                    replace(first, duration_s=duration_s),
                    replace(second, duration_s=third_s, delay_s=third_s),
                )
            )
        )
    return tuple(sets)
