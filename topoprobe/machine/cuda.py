"""Which CUDA the drivers and GPUs of a machine can run, and the extra of topoprobe that fits."""

from __future__ import annotations

from collections.abc import Sequence

from topoprobe.records.machine import Gpu

# The first driver that runs CUDA 13, and the first GPU generation that CUDA 13 compiles for.
_CUDA13_DRIVER = 580
_CUDA13_CAPABILITY = 7.5


def newest_cuda(gpus: Sequence[Gpu]) -> int:
    """Return the newest major version that suits the oldest driver and the oldest GPU.

    A driver also runs what was made for the versions before.
    """
    for gpu in gpus:
        driver = driver_branch(gpu)
        if driver is not None and driver < _CUDA13_DRIVER:
            return 12
        if gpu.compute_capability and float(gpu.compute_capability) < _CUDA13_CAPABILITY:
            return 12
    return 13


def extra_for(gpus: Sequence[Gpu]) -> str:
    """Return the extra that brings CuPy for these GPUs."""
    return f"cuda{newest_cuda(gpus)}"


def driver_branch(gpu: Gpu) -> int | None:
    """Return the branch of NVIDIA's driver, as 580; None for others and where it is not told."""
    major = (gpu.driver or "").removeprefix("nvidia ").partition(".")[0]
    return int(major) if major.isdecimal() else None
