"""Copies among all GPUs at once: all to one, one to all, a ring, and across the middle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from topoprobe.measure.devices.cuda.availability import nvidia_gpus
from topoprobe.measure.flows import Executor, FlowSet
from topoprobe.records.machine import Gpu, MachineDocument

from .gpu_sets import CE, SM, Group, GroupsBenchmark, between, lasting, several_gpus_gap

_WINDOW_S = {"quick": 0.03, "standard": 0.1}
_LONG_WINDOW_S = 0.5


@dataclass(frozen=True, slots=True)
class CudaPatternsBenchmark(GroupsBenchmark):
    """What each copy keeps when many GPUs exchange at the same time.

    Two GPUs are a pair, which ``cuda.peers`` measures.
    """

    name: str = "cuda.patterns"
    summary: str = "Copy among all GPUs at once: all to one, one to all, ring, bisection."
    revision: int = 1
    seconds: float = 8.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return several_gpus_gap(machine, at_least=3)

    def groups(self, machine: MachineDocument, suite: str) -> Iterator[Group]:
        """Yield pattern after pattern; by kernel as well in the longer suites."""
        duration_s = _WINDOW_S.get(suite, _LONG_WINDOW_S)
        gpus = nvidia_gpus(machine)
        sets = [*converging(gpus), *exchanging(gpus, CE)]
        if suite != "quick":
            sets += exchanging(gpus, SM)
        for one in sets:
            yield Group("host", (lasting(one, duration_s),))


def converging(gpus: Sequence[Gpu]) -> list[FlowSet]:
    """Return all to the first, and the first to all.

    By copy engines only: a GPU does not hold the kernels of seven copies at once.
    """
    first, *others = gpus
    return [
        FlowSet(tuple(between(one, first) for one in others)),
        FlowSet(tuple(between(first, one) for one in others)),
    ]


def exchanging(gpus: Sequence[Gpu], executor: Executor) -> list[FlowSet]:
    """Return a ring in the order of addresses, and both ways between the halves of that order."""
    ring = FlowSet(
        tuple(
            between(one, gpus[(index + 1) % len(gpus)], executor) for index, one in enumerate(gpus)
        )
    )
    half = len(gpus) // 2
    across = FlowSet(
        tuple(
            between(source, target, executor)
            for one, other in zip(gpus[:half], gpus[half : 2 * half], strict=True)
            for source, target in ((one, other), (other, one))
        )
    )
    return [ring, across]
