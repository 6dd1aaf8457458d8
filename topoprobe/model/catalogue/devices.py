"""What vendors say of their devices: dense arithmetic, memory, nothing measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NominalDevice:
    """A device as its data sheet describes it.

    Attributes
    ----------
    name : str
        How it is called on the command line.
    title : str
        How people call it.
    memory_bytes : float
        Size of the device memory.
    memory_bytes_per_s : float
        Its bandwidth.
    compute_flop_per_s : mapping of str to float
        Dense peak by data type: matrix units with fp32 accumulation, vector units for fp32, fp64.
    source : str
        Where the figures are printed.
    driver_name : str or None
        How its driver calls it, where that is known.
    """

    name: str
    title: str
    memory_bytes: float
    memory_bytes_per_s: float
    compute_flop_per_s: Mapping[str, float]
    source: str
    driver_name: str | None = None


NOMINAL_DEVICES = (
    NominalDevice(
        name="a100-80gb-sxm",
        title="NVIDIA A100 SXM 80 GB",
        driver_name="NVIDIA A100-SXM4-80GB",
        memory_bytes=80e9,
        memory_bytes_per_s=2039e9,
        compute_flop_per_s={"bf16": 312e12, "fp16": 312e12, "fp32": 19.5e12, "fp64": 9.7e12},
        source="NVIDIA A100 data sheet",
    ),
    NominalDevice(
        name="h100-80gb-sxm",
        title="NVIDIA H100 SXM 80 GB",
        driver_name="NVIDIA H100 80GB HBM3",
        memory_bytes=80e9,
        memory_bytes_per_s=3350e9,
        compute_flop_per_s={
            "fp8": 1979e12, "bf16": 989e12, "fp16": 989e12, "fp32": 67e12, "fp64": 34e12,
        },
        source="NVIDIA H100 data sheet and product brief PB-11133",
    ),
    NominalDevice(
        name="h200-141gb-sxm",
        title="NVIDIA H200 SXM 141 GB",
        driver_name="NVIDIA H200",
        memory_bytes=141e9,
        memory_bytes_per_s=4800e9,
        compute_flop_per_s={
            "fp8": 1979e12, "bf16": 989e12, "fp16": 989e12, "fp32": 67e12, "fp64": 34e12,
        },
        source="NVIDIA H200 product page",
    ),
    NominalDevice(
        name="l40s-48gb",
        title="NVIDIA L40S 48 GB",
        driver_name="NVIDIA L40S",
        memory_bytes=48e9,
        memory_bytes_per_s=864e9,
        compute_flop_per_s={
            "fp8": 733e12, "bf16": 362e12, "fp16": 362e12, "fp32": 91.6e12, "fp64": 1.43e12,
        },
        source="NVIDIA L40S data sheet",
    ),
)  # fmt: skip


def find_nominal_device(name: str) -> NominalDevice | None:
    """Return the device of that name, None if there is none."""
    return next((device for device in NOMINAL_DEVICES if device.name == name), None)


def find_by_driver_name(name: str) -> NominalDevice | None:
    """Return the device that its driver calls so, None if it is not in the catalogue."""
    return next((device for device in NOMINAL_DEVICES if device.driver_name == name), None)
