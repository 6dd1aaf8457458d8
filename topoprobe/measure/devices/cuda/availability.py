"""Whether CUDA can be measured here, and if not, the one thing to change."""

from __future__ import annotations

import importlib.util

from topoprobe.errors import EnvironmentMissing
from topoprobe.machine.cuda import extra_for
from topoprobe.measure.devices.cuda.nvrtc import load_nvrtc
from topoprobe.records.machine import Gpu, MachineDocument

_NVIDIA = "10de"


def nvidia_gpus(machine: MachineDocument) -> tuple[Gpu, ...]:
    """Return the machine's NVIDIA GPUs, in PCI-address order."""
    found = (
        node
        for node in machine.nodes
        if isinstance(node, Gpu) and (node.pci_vendor or "").lower().removeprefix("0x") == _NVIDIA
    )
    return tuple(sorted(found, key=lambda gpu: gpu.pci_address or ""))


def cuda_gap(machine: MachineDocument) -> str | None:
    """Say what keeps CUDA from being measured on this machine, or None.

    Looks at the machine first, then at the driver, then at the Python packages, so that the
    reason names what has to be changed next.
    """
    gpus = nvidia_gpus(machine)
    if not gpus:
        is_other = any(isinstance(node, Gpu) for node in machine.nodes)
        return (
            "the GPUs of this machine are not NVIDIA's, and the kernels are CUDA"
            if is_other
            else "this machine has no NVIDIA GPU"
        )
    drivers = sorted({gpu.driver for gpu in gpus if gpu.driver})
    if drivers and not any(_is_nvidias(driver) for driver in drivers):
        return (
            f"the GPUs are bound to the driver {', '.join(drivers)}; "
            "install NVIDIA's driver and bind them to it"
        )
    if importlib.util.find_spec("cupy") is None:
        return f"cupy is not installed; pip install 'topoprobe[{extra_for(gpus)}]'"
    try:
        load_nvrtc()
    except EnvironmentMissing as gap:
        return str(gap)
    return _runtime_gap()


def _runtime_gap() -> str | None:
    # Not at the top of the file: cupy is an optional package, and this function is what tells.
    import cupy

    try:
        num_devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return (
            f"the CUDA driver does not answer ({error}); load NVIDIA's driver, or install the "
            "extra that an older one can run, topoprobe[cuda12]"
        )
    if num_devices == 0:
        return "CUDA shows no device; CUDA_VISIBLE_DEVICES or the container hides the GPUs"
    return None


def _is_nvidias(driver: str) -> bool:
    """Tell NVIDIA's driver: its kernel module's name, with the version where NVML gave it."""
    return driver.split()[0] == "nvidia"
