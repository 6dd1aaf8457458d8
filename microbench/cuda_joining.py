"""A copy that joins another and leaves before it: how fast the first makes room, and how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from topoprobe.measure.flows import FlowSet
from topoprobe.records.machine import Gpu, MachineDocument

from .gpu_sets import (
    Group,
    GroupsBenchmark,
    from_gpu,
    nearest_pair,
    several_gpus_gap,
    shared_node,
    to_gpu,
)

# Of the second copy, and of the first before and after it.
_THIRD_S = {"quick": 0.05, "standard": 0.2}
_LONG_THIRD_S = 0.5
# Small: the time of a change is not known better than a chunk's.
_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class CudaJoiningBenchmark(GroupsBenchmark):
    """Shares while both run, and the time until the first copy has settled."""

    name: str = "cuda.joining"
    summary: str = "Let a copy join another's on a nearby GPU, and time how it makes room."
    revision: int = 1
    seconds: float = 5.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return several_gpus_gap(machine)

    def groups(self, machine: MachineDocument, suite: str) -> Iterator[Group]:
        """Yield sets on the two GPUs that have most of their way to the host in common."""
        pair = nearest_pair(machine)
        third_s = _THIRD_S.get(suite, _LONG_THIRD_S)
        yield Group(shared_node(machine, pair), sets_of(machine, pair, third_s))


def sets_of(machine: MachineDocument, pair: tuple[Gpu, Gpu], third_s: float) -> tuple[FlowSet, ...]:
    """Return a set to the GPUs and one from them."""
    sets = []
    for make in (to_gpu, from_gpu):
        first, second = (replace(make(machine, gpu), chunk_bytes=_CHUNK_BYTES) for gpu in pair)
        sets.append(
            FlowSet(
                (
                    replace(first, duration_s=round(3 * third_s, 3)),
                    replace(second, duration_s=third_s, delay_s=third_s),
                )
            )
        )
    return tuple(sets)
