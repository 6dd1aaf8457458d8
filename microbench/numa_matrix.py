"""Memory of every NUMA node from the CPUs of every node: latency and bandwidth."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topoprobe.errors import EnvironmentMissing
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cpu.buffer import fill_floats
from topoprobe.measure.devices.cpu.device import CpuDevice
from topoprobe.measure.devices.cpu.libraries import numba_gap
from topoprobe.measure.devices.cpu.placement import buffer_on_node
from topoprobe.measure.devices.cpu.ring import fill_ring
from topoprobe.measure.devices.cpu.stream import ARRAYS_MOVED, SCALAR
from topoprobe.measure.devices.cpu.team import Team
from topoprobe.measure.series import Quantity, Trial, collect, skipped
from topoprobe.records.machine import MachineDocument, Numa
from topoprobe.records.results import Factor, Series

from .latency import Chaser
from .sizes import ArraySize, array_size

_KERNELS = ("read", "triad")


@dataclass(frozen=True, slots=True)
class NumaMatrixBenchmark:
    """A pointer chase, and all CPUs of a node at once, on memory that lies on one node."""

    name: str = "cpu.numa_matrix"
    summary: str = "Measure every NUMA node's memory from every node's CPUs."
    revision: int = 1
    seconds: float = 15.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Ask for a second NUMA node, and for numba."""
        if len(_nodes(machine)) < 2:
            return "one NUMA node: there is no other node's memory to reach"
        return numba_gap()

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure node by node; near and far CPUs take turns on the same memory."""
        cpus_of = {
            node.os_index: tuple(cpu for cpu in context.cpus if cpu in node.cpus)
            for node in _nodes(machine)
        }
        size = array_size(machine, context.budget, num_arrays=4)
        series: list[Series] = []
        for node in _nodes(machine):
            series += _of_memory(node.os_index, cpus_of, size, context)
        return Outcome(tuple(series))


def _nodes(machine: MachineDocument) -> tuple[Numa, ...]:
    """Return the nodes with memory of the host; a GPU's memory is left to the GPU's benchmarks."""
    return tuple(
        node
        for node in machine.nodes
        if isinstance(node, Numa) and node.memory_of is None and node.memory_bytes != 0
    )


def _of_memory(
    memory_node: int, cpus_of: dict[int, tuple[int, ...]], size: ArraySize, context: Context
) -> tuple[Series, ...]:
    """Measure one node's memory from all nodes that have CPUs to use."""
    reached_from = {node: cpus for node, cpus in cpus_of.items() if cpus}
    context.progress(f"placing memory on node {memory_node}")
    try:
        memory = _Memory.on_node(memory_node, size)
    except EnvironmentMissing as error:
        return tuple(
            skipped(quantity, str(error))
            for node, cpus in reached_from.items()
            for quantity in _quantities(node, memory_node, len(cpus), size)
        )
    with ExitStack() as stack:
        trials = []
        for node, cpus in reached_from.items():
            team = stack.enter_context(Team(CpuDevice(cpus), len(cpus)))
            stream = stack.enter_context(CpuDevice(cpus).open_stream(f"core:{cpus[0]}"))
            chaser = Chaser(stream, memory.ring)
            measures = [chaser.time_per_hop_s, *(_rate(team, memory, name) for name in _KERNELS)]
            quantities = _quantities(node, memory_node, len(cpus), size)
            trials += [Trial.of(*pair) for pair in zip(quantities, measures, strict=True)]
        return collect(context, trials)


@dataclass(frozen=True, slots=True)
class _Memory:
    """A ring and three arrays that lie on one node."""

    ring: NDArray[np.uint64]
    arrays: tuple[NDArray[Any], ...]

    @classmethod
    def on_node(cls, node: int, size: ArraySize) -> _Memory:
        def ring(memory: NDArray[np.uint8]) -> None:
            fill_ring(memory.view("uint64"), seed=1)

        def floats(memory: NDArray[np.uint8]) -> None:
            fill_floats(memory.view("float64"), seed=1)

        return cls(
            buffer_on_node(size.num_bytes, node, ring).view("uint64"),
            tuple(buffer_on_node(size.num_bytes, node, floats).view("float64") for _ in range(3)),
        )


def _quantities(
    cpu_node: int, memory_node: int, num_threads: int, size: ArraySize
) -> tuple[Quantity, ...]:
    """Return the quantities of one pair of nodes: the latency, and a rate for each kernel."""
    nodes: dict[str, Factor] = {"device": "host", "cpu_node": cpu_node, "memory_node": memory_node}
    latency = {**nodes, **size.factors("ring_bytes")}
    rate = {**nodes, "threads": num_threads, **size.factors()}
    return (
        Quantity("numa.latency", "s", latency, is_better_higher=False),
        *(
            Quantity("numa.bandwidth", "bytes_per_s", {**rate, "kernel": kernel})
            for kernel in _KERNELS
        ),
    )


def _rate(team: Team, memory: _Memory, kernel: str) -> Callable[[], float]:
    from topoprobe.measure.devices.cpu import vector_loops

    run = getattr(vector_loops, f"{kernel}_32")
    run(*(array[:1024] for array in memory.arrays), SCALAR)  # compiles
    slices = zip(*(team.slices(array) for array in memory.arrays), strict=True)
    parts = [(*arrays, SCALAR) for arrays in slices]
    num_passes = team.passes_for(team.run(run, parts))
    moved = ARRAYS_MOVED[kernel] * memory.arrays[0].nbytes
    return lambda: moved / team.run(run, parts, num_passes)
