"""Measured figures beside nominal ones: more than can be, or less than a sound device gives."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.pcie import capability_of_generation
from topoprobe.measure.evidence import typical
from topoprobe.measure.statistics import steady_samples
from topoprobe.model.calibration.readings import Reading, Readings, fastest
from topoprobe.model.catalogue.devices import Figure, NominalDevice, find_by_driver_name
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu
from topoprobe.records.results import Conditions, ResultsDocument
from topoprobe.units import format_flops, format_rate

MOST_RATIO = 1.05
"""Nothing gives more than its nominal figure by more than clocks are raised."""

LEAST_MEMORY_RATIO = 0.7
"""Published streams of sound GPUs reach 0.75 to 0.97 of the nominal bandwidth."""

LEAST_COMPUTE_RATIO = 0.5
"""Published matrix products of sound GPUs reach 0.51 to 0.87 of the nominal rate."""

LEAST_LINK_RATIO = 0.7
"""Large copies over a sound PCIe link reach 0.82 to 0.89 of its lanes' rate."""

_STREAMS = ("copy", "scale", "add", "triad", "read", "write")


def nominal_verdicts(results: ResultsDocument) -> tuple[Verdict, ...]:
    """Judge memory, arithmetic and host link of every GPU that the catalogue knows."""
    readings = Readings(results)
    gpus = [node for node in results.machine.nodes if isinstance(node, Gpu)]
    return tuple(
        verdict
        for gpu in gpus
        for verdict in (*_device(gpu, readings, results), *_link(gpu, readings, results))
    )


def _device(gpu: Gpu, readings: Readings, results: ResultsDocument) -> Iterator[Verdict]:
    nominal = find_by_driver_name(gpu.name)
    if nominal is None:
        return
    streams = [
        one for kernel in _STREAMS for one in readings.select(f"stream.{kernel}", device=gpu.id)
    ]
    best = fastest(streams)
    if best is not None:
        yield from _memory(gpu, best, nominal, results)
    for dtype, peak in nominal.compute_flop_per_s.items():
        products = [
            one
            for name in ("compute.gemm", "compute.fma")
            for one in readings.select(name, device=gpu.id, dtype=dtype)
        ]
        best = fastest(products)
        if best is not None:
            yield from _compute(gpu, best, dtype, peak, results)


def _memory(
    gpu: Gpu, best: Reading, nominal: NominalDevice, results: ResultsDocument
) -> Iterator[Verdict]:
    peak = nominal.memory_bytes_per_s
    ratio = best.median / peak.value
    told = (
        f"{best.name} gives {format_rate(best.median)}, {ratio:.2f} of the nominal "
        f"{format_rate(peak.value)} ({peak.source})"
    )
    if ratio > MOST_RATIO:
        yield _too_much(gpu, told, "a cache held part of the arrays", "Measure larger arrays.")
    elif ratio < LEAST_MEMORY_RATIO:
        yield _too_little(gpu, told, _cause(best, results))


def _compute(
    gpu: Gpu, best: Reading, dtype: str, peak: Figure, results: ResultsDocument
) -> Iterator[Verdict]:
    ratio = best.median / peak.value
    told = (
        f"{best.name} in {dtype} gives {format_flops(best.median)}, {ratio:.2f} of the nominal "
        f"{format_flops(peak.value)} ({peak.source})"
    )
    if ratio > MOST_RATIO:
        cause = "tf32 stood in for fp32" if dtype == "fp32" else "it computed in another type"
        yield _too_much(gpu, told, cause, "Look at what the library computes in.")
    elif ratio < LEAST_COMPUTE_RATIO and best.name == "compute.gemm":
        yield _too_little(gpu, told, _cause(best, results))


def _link(gpu: Gpu, readings: Readings, results: ResultsDocument) -> Iterator[Verdict]:
    copies = [
        one for way in ("h2d", "d2h") for one in readings.select(f"copy.{way}", device=gpu.id)
    ]
    best = fastest(copies)
    if best is None:
        return
    conditions = _conditions(best, results)
    generation = typical(conditions, lambda one: one.pcie_generation)
    num_lanes = typical(conditions, lambda one: one.pcie_num_lanes)
    if generation is None or num_lanes is None:
        return
    link = capability_of_generation(int(generation), int(num_lanes))
    if link is None or link.bandwidth_bytes_per_s is None:
        return
    ratio = best.median / link.bandwidth_bytes_per_s
    told = (
        f"{best.name} gives {format_rate(best.median)}, {ratio:.2f} of what its link carried at "
        f"Gen{generation:.0f} x{num_lanes:.0f} under that load"
    )
    if ratio > 1.0:
        yield _too_much(gpu, told, "the link's state was read at rest", "Measure larger copies.")
    elif ratio < LEAST_LINK_RATIO:
        cause = "the host's memory, a switch above or relaxed ordering limits it"
        yield _too_little(gpu, told, cause)


def _cause(best: Reading, results: ResultsDocument) -> str:
    conditions = _conditions(best, results)
    reasons = sorted({reason for one in conditions for reason in one.throttle_reasons})
    if reasons:
        return f"it was throttled: {', '.join(reasons)}"
    if any(one.num_other_processes for one in conditions):
        return "other processes used it"
    return "nothing unusual was read beside it"


def _conditions(reading: Reading, results: ResultsDocument) -> list[Conditions]:
    return [
        sample.conditions
        for experiment in results.experiments
        for series in experiment.series
        if series.name == reading.name and series.factors == reading.factors
        for sample in steady_samples(series)
        if sample.conditions is not None
    ]


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
