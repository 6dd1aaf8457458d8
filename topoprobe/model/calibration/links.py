"""What a GPU's link to the host gives: latency and bandwidth in each direction."""

from __future__ import annotations

from topoprobe.model.calibration.readings import Readings, combined, measured
from topoprobe.model.calibration.swap import fit_alpha_beta
from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import LinkCalibration
from topoprobe.records.machine import LinkKind, MachineDocument


def link_calibrations(machine: MachineDocument, readings: Readings) -> tuple[LinkCalibration, ...]:
    """Return the PCIe links over which copies between host and GPU were timed."""
    links = []
    for link in machine.links:
        if link.kind is not LinkKind.PCIE:
            continue
        down, latency = _copy(readings, "copy.h2d", link.b)
        up, _ = _copy(readings, "copy.d2h", link.b)
        if down is not None or up is not None:
            links.append(
                LinkCalibration(
                    link=link.id, latency_s=latency, a_to_b_bytes_per_s=down, b_to_a_bytes_per_s=up
                )
            )
    return tuple(links)


def _copy(readings: Readings, name: str, device: str) -> tuple[Estimate | None, Estimate | None]:
    """Return bandwidth at the largest size, and the start-up time fitted over the sizes."""
    import numpy as np

    sizes = sorted(
        readings.select(name, device=device), key=lambda reading: reading.number("num_bytes")
    )
    if not sizes:
        return None, None
    bandwidth = measured(sizes[-1])
    if len(sizes) < 3:
        return bandwidth, None
    num_bytes = np.array([reading.number("num_bytes") for reading in sizes], dtype=np.float64)
    latency = combined(
        lambda *rates: fit_alpha_beta(
            num_bytes,
            num_bytes / np.stack([np.median(rate, axis=-1) for rate in rates], axis=-1),
        )[0],
        sizes,
        evidence=f"{name} over {len(sizes)} sizes, least relative squares [hockney1994]",
        source=Source.DERIVED,
    )
    return bandwidth, latency
