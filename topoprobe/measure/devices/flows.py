"""What can run a flow of the grammar: one opener for each family of executors.

The CPU, drives, network adapters and GPUs each have one. Whoever runs a concurrent set asks the
opener of each flow's executor (`topoprobe.measure.devices.openers`) and knows nothing else of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from topoprobe.measure.benchmark import GpuChoice
from topoprobe.measure.concurrent import Lane
from topoprobe.measure.flows import Flow
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor


@dataclass(frozen=True, slots=True)
class Place:
    """Where flows run: what an opener is made with.

    Attributes
    ----------
    machine : MachineDocument
        As scanned.
    cpus : tuple of int
        CPUs that may be used, nearest first.
    scratch : Path
        A folder for temporary files.
    gpus : GpuChoice
        Which GPUs may be used.
    """

    machine: MachineDocument
    cpus: tuple[int, ...]
    scratch: Path
    gpus: GpuChoice = field(default_factory=GpuChoice)


@dataclass(frozen=True, slots=True)
class OpenFlow:
    """A flow ready to run.

    Attributes
    ----------
    lanes : tuple of Lane
        Its streams. Their rate limits and times are the runner's to set.
    cpus : tuple of int
        CPUs that its threads are bound to; none for a copy engine or an adapter.
    factors : mapping
        What else to say in the series of this flow.
    least_s : float
        Shortest run that tells anything.
    check : callable
        Called after the runs; raises `MeasurementFailed` if what they moved has not arrived.
    """

    lanes: tuple[Lane, ...]
    cpus: tuple[int, ...] = ()
    factors: Mapping[str, Factor] = field(default_factory=dict)
    least_s: float = 0.0
    check: Callable[[], None] = field(default=lambda: None)


class FlowOpener(Protocol):
    """Opens the flows of some executors. Cheap to make: memory and threads come with `open`."""

    def missing(self, flow: Flow) -> str | None:
        """Say why a flow cannot run here, or None.

        Raises
        ------
        UsageError
            If it could run nowhere, or not on this machine: a device that is absent among others,
            a key that its executor has no use for.
        EnvironmentMissing
            If the machine has no device of a kind that it names.
        """

    def unit(self, flow: Flow) -> str:
        """Return the unit of its rate: ``bytes_per_s``, ``flop_per_s``, or ``per_s`` (loads)."""

    def memory_bytes(self, flow: Flow, size_bytes: int) -> int:
        """Return the host memory that it takes; `size_bytes` is for a flow that names no size."""

    def scratch_folder(self, flow: Flow) -> Path | None:
        """Return where it writes files, gone afterwards; None for a flow that writes none."""

    def open(self, flow: Flow, index: int, size_bytes: int) -> OpenFlow:
        """Make a flow ready to run: memory allocated and touched, kernels loaded.

        Parameters
        ----------
        flow : Flow
            One that is not `missing`.
        index : int
            Its position in the set, to spread flows that name no core over the CPUs.
        size_bytes : int
            Of each buffer of a flow that names no size.

        Raises
        ------
        EnvironmentMissing
            If the machine refuses what it needs, such as memory on its NUMA node.
        MeasurementFailed
            If what it moves does not arrive.
        """

    def close(self) -> None:
        """End the threads and give back the memory of all flows."""
