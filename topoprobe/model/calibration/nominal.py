"""Measured figures beside nominal ones: more than can be, or less than a sound device gives."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.model.calibration.readings import Reading, Readings, fastest
from topoprobe.model.catalogue.devices import Figure, NominalDevice, find_by_driver_name
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu
from topoprobe.records.results import ResultsDocument
from topoprobe.units import format_flops, format_rate

MOST_RATIO = 1.05
"""Nothing gives more than its nominal figure by more than clocks are raised."""

LEAST_MEMORY_RATIO = 0.7
"""Published streams of sound GPUs reach 0.75 to 0.97 of the nominal bandwidth."""

LEAST_COMPUTE_RATIO = 0.5
"""Published matrix products of sound GPUs reach 0.51 to 0.87 of the nominal rate."""

_STREAMS = ("copy", "scale", "add", "triad", "read", "write")


def nominal_verdicts(results: ResultsDocument) -> tuple[Verdict, ...]:
    """Judge memory and arithmetic of every GPU that the catalogue knows."""
    readings = Readings(results)
    gpus = [node for node in results.machine.nodes if isinstance(node, Gpu)]
    return tuple(verdict for gpu in gpus for verdict in _device(gpu, readings))


def _device(gpu: Gpu, readings: Readings) -> Iterator[Verdict]:
    nominal = find_by_driver_name(gpu.name)
    if nominal is None:
        return
    streams = [
        one for kernel in _STREAMS for one in readings.select(f"stream.{kernel}", device=gpu.id)
    ]
    best = fastest(streams)
    if best is not None:
        yield from _memory(gpu, best, nominal)
    for dtype, peak in nominal.compute_flop_per_s.items():
        products = [
            one
            for name in ("compute.gemm", "compute.fma")
            for one in readings.select(name, device=gpu.id, dtype=dtype)
        ]
        best = fastest(products)
        if best is not None:
            yield from _compute(gpu, best, dtype, peak)


def _memory(gpu: Gpu, best: Reading, nominal: NominalDevice) -> Iterator[Verdict]:
    peak = nominal.memory_bytes_per_s
    ratio = best.median / peak.value
    told = (
        f"{best.name} gives {format_rate(best.median)}, {ratio:.2f} of the nominal "
        f"{format_rate(peak.value)} ({peak.source})"
    )
    if ratio > MOST_RATIO:
        yield _too_much(gpu, told, "a cache held part of the arrays", "Measure larger arrays.")
    elif ratio < LEAST_MEMORY_RATIO:
        yield _too_little(gpu, told, _cause(best))


def _compute(gpu: Gpu, best: Reading, dtype: str, peak: Figure) -> Iterator[Verdict]:
    ratio = best.median / peak.value
    told = (
        f"{best.name} in {dtype} gives {format_flops(best.median)}, {ratio:.2f} of the nominal "
        f"{format_flops(peak.value)} ({peak.source})"
    )
    if ratio > MOST_RATIO:
        cause = "tf32 stood in for fp32" if dtype == "fp32" else "it computed in another type"
        yield _too_much(gpu, told, cause, "Look at what the library computes in.")
    elif ratio < LEAST_COMPUTE_RATIO and best.name == "compute.gemm":
        yield _too_little(gpu, told, _cause(best))


def _cause(best: Reading) -> str:
    conditions = best.told
    reasons = sorted({reason for one in conditions for reason in one.throttle_reasons})
    if reasons:
        return f"it was throttled: {', '.join(reasons)}"
    if any(one.num_other_processes for one in conditions):
        return "other processes used it"
    return "nothing unusual was read beside it"


def _too_much(gpu: Gpu, told: str, cause: str, fix: str) -> Verdict:
    evidence = f"{told}: more than can be; probably {cause}"
    return Verdict(level="WARN", check="nominal", subject=gpu.id, evidence=evidence, fix=fix)


def _too_little(gpu: Gpu, told: str, cause: str) -> Verdict:
    return Verdict(
        level="WARN",
        check="nominal",
        subject=gpu.id,
        evidence=f"{told}: less than sound devices give; {cause}",
        fix="See `topoprobe doctor`, and the conditions beside the samples.",
    )
