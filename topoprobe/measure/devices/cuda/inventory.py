"""The GPUs that may be measured: opened once per process, those in use by others left alone."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topoprobe.errors import EnvironmentMissing
from topoprobe.machine.sources.telemetry import gpu_telemetry
from topoprobe.measure.benchmark import GpuChoice
from topoprobe.measure.devices.cuda.availability import nvidia_gpus
from topoprobe.measure.ends import absent
from topoprobe.records.machine import Gpu, MachineDocument, Numa

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice

ALL_IDLE = GpuChoice()


@dataclass(frozen=True, slots=True)
class OpenGpu:
    """A GPU ready to be measured."""

    node: Gpu
    device: CudaDevice

    @property
    def pinned_place(self) -> str:
        """The pinned memory nearest to it."""
        return f"pinned:{self.node.numa_index or 0}"


@dataclass(frozen=True, slots=True)
class ClosedGpu:
    """A GPU that is left alone, and why."""

    node: Gpu
    reason: str


def check_choice(machine: MachineDocument, choice: GpuChoice) -> None:
    """Check that the machine has the chosen GPUs, whether or not they can be measured.

    Raises
    ------
    UsageError
        If it has others.
    EnvironmentMissing
        If it has none.
    """
    gpus = nvidia_gpus(machine)
    for index in choice.indices or ():
        if index >= len(gpus):
            raise absent(f"gpu:{index}", "NVIDIA GPU", [gpu.id for gpu in gpus])


def open_gpus(
    machine: MachineDocument, choice: GpuChoice = ALL_IDLE
) -> tuple[OpenGpu | ClosedGpu, ...]:
    """Open the chosen NVIDIA GPUs of the machine, in PCI-address order.

    A GPU is looked at and opened once per process: afterwards its driver would list this very
    process as a user, under a number that a container may not know as its own.

    Raises
    ------
    UsageError
        If a GPU was chosen that there is not.
    """
    cpus = tuple((node.os_index, node.cpus) for node in machine.nodes if isinstance(node, Numa))
    check_choice(machine, choice)
    gpus = nvidia_gpus(machine)
    indices = range(len(gpus)) if choice.indices is None else sorted(set(choice.indices))
    return tuple(_opened(gpus[index], cpus, choice.allows_busy) for index in indices)


@functools.cache
def _opened(
    gpu: Gpu, numa_cpus: tuple[tuple[int, tuple[int, ...]], ...], allows_busy: bool
) -> OpenGpu | ClosedGpu:
    if gpu.pci_address is None:
        return ClosedGpu(gpu, "its PCI address is unknown")
    if gpu.is_mig_enabled:
        return ClosedGpu(gpu, "MIG is enabled, and its partitions are not measured one by one")
    telemetry = gpu_telemetry(gpu.pci_address)
    use = telemetry.use_by_others(os.getpid()) if telemetry is not None else None
    if use is not None and not allows_busy:
        return ClosedGpu(gpu, f"in use {use}; left alone (--allow-busy measures it all the same)")
    # cupy is optional: this line is reached only where `cuda_gap` found it.
    from topoprobe.measure.devices.cuda.device import CudaDevice

    try:
        return OpenGpu(gpu, CudaDevice(gpu.id, gpu.pci_address, dict(numa_cpus)))
    except EnvironmentMissing as gap:
        return ClosedGpu(gpu, str(gap))
