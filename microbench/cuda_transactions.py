"""Two GPUs that share a link by accesses of different sizes: the data of the sharing law."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from topoprobe.measure.flows import Flow, FlowSet
from topoprobe.records.machine import Gpu, MachineDocument

from .gpu_sets import (
    SM,
    Group,
    GroupsBenchmark,
    from_gpu,
    nearest_pair,
    several_gpus_gap,
    shared_node,
    to_gpu,
)

# What leaves a multiprocessor as one request; a longer access is several of 128 bytes.
_ACCESS_BYTES = (32, 64, 128)

Make = Callable[..., Flow]


@dataclass(frozen=True, slots=True)
class CudaTransactionsBenchmark(GroupsBenchmark):
    """How a link is divided between large and small transactions.

    Kernels on the two nearest GPUs read host memory, or write to it, by accesses of fixed sizes:
    all six pairs of two different ones, so that each GPU has the larger in three, and equal ones
    to compare with. `topoprobe.measure.sharing` fits the exponent to the samples.
    """

    name: str = "cuda.transactions"
    summary: str = "Let two GPUs share their way to the host by accesses of different sizes."
    revision: int = 1
    seconds: float = 10.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return several_gpus_gap(machine)

    def groups(self, machine: MachineDocument, suite: str) -> Iterator[Group]:
        """Yield reads, and in the longer suites writes."""
        pair = nearest_pair(machine)
        for make in (to_gpu,) if suite == "quick" else (to_gpu, from_gpu):
            yield Group(shared_node(machine, pair), sets_of(machine, pair, make))


def sets_of(machine: MachineDocument, pair: tuple[Gpu, Gpu], make: Make) -> tuple[FlowSet, ...]:
    """Return one set for each pair of sizes: equal largest ones, then all different ones."""
    sizes = [(_ACCESS_BYTES[-1],) * 2, *itertools.permutations(_ACCESS_BYTES, 2)]
    return tuple(
        FlowSet(
            tuple(
                make(machine, gpu, SM, txn_bytes) for gpu, txn_bytes in zip(pair, both, strict=True)
            )
        )
        for both in sizes
    )
