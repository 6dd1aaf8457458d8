"""Ceilings of a device: memory bandwidth and latency, arithmetic, roofline, disk."""

from __future__ import annotations

from topoprobe.model.calibration.readings import Reading, Readings, fastest, grouped, measured
from topoprobe.records.base import Estimate
from topoprobe.records.calibration import (
    ComputeRate,
    LoadedLatencyPoint,
    RooflinePoint,
    StorageRate,
    StreamRate,
)
from topoprobe.records.results import Factor

STREAM_KERNELS = ("copy", "scale", "add", "triad", "read", "write")


def stream_rates(readings: Readings, device: str) -> tuple[StreamRate, ...]:
    """Return the best variant of each STREAM kernel for each number of threads [mccalpin1995]."""
    rates = []
    for kernel in STREAM_KERNELS:
        selected = readings.select(f"stream.{kernel}", device=device)
        for threads, variants in grouped_by_threads(selected):
            best = fastest(variants)
            if best is not None:
                rates.append(
                    StreamRate(
                        kernel=kernel,  # type: ignore[arg-type]
                        num_threads=threads,
                        variant=best.text("variant"),
                        rate_bytes_per_s=measured(best),
                    )
                )
    return tuple(rates)


def memory_bandwidth(rates: tuple[StreamRate, ...]) -> Estimate | None:
    """Return the sustained memory bandwidth: the best triad over the numbers of threads."""
    triads = [rate.rate_bytes_per_s for rate in rates if rate.kernel == "triad"]
    return max(triads, key=lambda estimate: estimate.value, default=None)


def memory_latency(readings: Readings, device: str) -> Estimate | None:
    """Return the idle latency of the largest pointer-chase ring, in seconds."""
    rings = readings.select("latency.idle", device=device)
    largest = max(rings, key=lambda reading: reading.number("ring_bytes"), default=None)
    return measured(largest) if largest is not None else None


def loaded_latency(readings: Readings, device: str) -> tuple[LoadedLatencyPoint, ...]:
    """Pair latency and load of each level, ordered by load.

    Of several mixes of reads and writes, the one with the most levels: points of different mixes
    lie on different curves.
    """
    mixes: dict[Factor | None, list[Reading]] = {}
    for latency in readings.select("latency.loaded", device=device):
        mixes.setdefault(latency.factors.get("mix"), []).append(latency)
    points = []
    for latency in max(mixes.values(), key=len, default=[]):
        loads = readings.select("latency.load", device=device, level=latency.factors["level"])
        points += [
            LoadedLatencyPoint(load_bytes_per_s=measured(load), latency_s=measured(latency))
            for load in loads
        ]
    return tuple(sorted(points, key=lambda point: point.load_bytes_per_s.value))


def compute_rates(readings: Readings, device: str) -> tuple[ComputeRate, ...]:
    """Return the best variant of each arithmetic ceiling by dtype and threads."""
    rates = []
    for method in ("fma", "gemm"):
        selected = readings.select(f"compute.{method}", device=device)
        for (dtype,), of_dtype in grouped(selected, "dtype").items():
            for threads, variants in grouped_by_threads(of_dtype):
                best = fastest(variants)
                if best is not None:
                    rates.append(
                        ComputeRate(
                            dtype=str(dtype),
                            method=method,
                            num_threads=threads,
                            variant=best.text("variant"),
                            rate_flop_per_s=measured(best),
                        )
                    )
    return tuple(rates)


def roofline(readings: Readings, device: str) -> tuple[RooflinePoint, ...]:
    """Return the best attained rate at each arithmetic intensity [williams2009]."""
    points = []
    selected = readings.select("roofline", device=device)
    for (dtype, intensity), at_intensity in grouped(selected, "dtype", "intensity").items():
        for threads, variants in grouped_by_threads(at_intensity):
            best = fastest(variants)
            if best is not None:
                points.append(
                    RooflinePoint(
                        dtype=str(dtype),
                        intensity_flop_per_byte=float(intensity),
                        num_threads=threads,
                        rate_flop_per_s=measured(best),
                    )
                )
    return tuple(sorted(points, key=lambda point: (point.dtype, point.intensity_flop_per_byte)))


def storage_rates(readings: Readings, device: str) -> tuple[StorageRate, ...]:
    """Return the rates of the disk tier."""
    return tuple(
        StorageRate(
            name=reading.text("name"),
            operation=operation,
            is_direct=bool(reading.factors["direct"]),
            block_bytes=reading.number("block_bytes"),
            rate_bytes_per_s=measured(reading),
        )
        for operation in ("read", "write")
        for reading in readings.select(f"disk.{operation}", device=device)
    )


def grouped_by_threads(readings: list[Reading]) -> list[tuple[int | None, list[Reading]]]:
    """Group readings by their number of threads; None for a device without threads."""
    groups: dict[int | None, list[Reading]] = {}
    for reading in readings:
        threads = reading.factors.get("threads")
        groups.setdefault(None if threads is None else int(threads), []).append(reading)
    return list(groups.items())
