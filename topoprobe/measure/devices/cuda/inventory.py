"""The GPUs that may be measured: opened once per process, those in use by others left alone."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topoprobe.errors import EnvironmentMissing
from topoprobe.machine.sources.telemetry import gpu_telemetry
from topoprobe.measure.devices.cuda.availability import nvidia_gpus
from topoprobe.records.machine import Gpu, MachineDocument, Numa

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice


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


def open_gpus(machine: MachineDocument) -> tuple[OpenGpu | ClosedGpu, ...]:
    """Open every NVIDIA GPU of the machine, in PCI-address order.

    A GPU is looked at and opened once per process: afterwards its driver would list this very
    process as a user, under a number that a container may not know as its own.
    """
    cpus = tuple((node.os_index, node.cpus) for node in machine.nodes if isinstance(node, Numa))
    return tuple(_opened(gpu, cpus) for gpu in nvidia_gpus(machine))


@functools.cache
def _opened(gpu: Gpu, numa_cpus: tuple[tuple[int, tuple[int, ...]], ...]) -> OpenGpu | ClosedGpu:
    if gpu.pci_address is None:
        return ClosedGpu(gpu, "its PCI address is unknown")
    if gpu.is_mig_enabled:
        return ClosedGpu(gpu, "MIG is enabled, and its partitions are not measured one by one")
    telemetry = gpu_telemetry(gpu.pci_address)
    use = telemetry.use_by_others(os.getpid()) if telemetry is not None else None
    if use is not None:
        return ClosedGpu(gpu, f"in use {use}; left alone")
    # cupy is optional: this line is reached only where `cuda_gap` found it.
    from topoprobe.measure.devices.cuda.device import CudaDevice

    try:
        return OpenGpu(gpu, CudaDevice(gpu.id, gpu.pci_address, dict(numa_cpus)))
    except EnvironmentMissing as gap:
        return ClosedGpu(gpu, str(gap))
