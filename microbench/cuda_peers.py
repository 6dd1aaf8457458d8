"""Copies between two GPUs: each pair one way and both ways, by copy engine and by kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from topoprobe.measure.flows import FlowSet
from topoprobe.records.machine import Gpu, MachineDocument

from .gpu_sets import (
    CE,
    SM,
    Group,
    GroupsBenchmark,
    between,
    lasting,
    pairs_by_class,
    several_gpus_gap,
)

# There are many pairs, and at 20 GB/s ten chunks end in this time.
_WINDOW_S = {"quick": 0.03, "standard": 0.03}
_LONG_WINDOW_S = 0.2


@dataclass(frozen=True, slots=True)
class CudaPeersBenchmark(GroupsBenchmark):
    """The matrix of copies between GPUs.

    The GPU that a copy comes from runs it and writes to the other. Flows alone are the one-way
    matrix; both flows of a pair together are the two-way one. The quick suite takes one pair of
    each path class, the others all.
    """

    name: str = "cuda.peers"
    summary: str = "Copy between pairs of GPUs, one way and both, by copy engine and by kernel."
    revision: int = 1
    seconds: float = 4.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return several_gpus_gap(machine)

    def groups(self, machine: MachineDocument, suite: str) -> Iterator[Group]:
        """Yield one group for each pair: one set by copy engine, one by kernel."""
        duration_s = _WINDOW_S.get(suite, _LONG_WINDOW_S)
        for pairs in pairs_by_class(machine).values():
            for one, other in pairs[:1] if suite == "quick" else pairs:
                yield Group(one.id, tuple(lasting(each, duration_s) for each in _sets(one, other)))


def _sets(one: Gpu, other: Gpu) -> tuple[FlowSet, ...]:
    return tuple(
        FlowSet((between(one, other, executor), between(other, one, executor)))
        for executor in (CE, SM)
    )
