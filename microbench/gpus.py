"""A measurement on each GPU that may be used, with the GPU's own conditions beside each sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import msgspec

from topoprobe.machine.sources.telemetry import GpuTelemetry, gpu_telemetry
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.inventory import ClosedGpu, OpenGpu, open_gpus
from topoprobe.measure.series import Quantity, require_any, skipped
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Conditions, Series

Measure = Callable[[OpenGpu, Context], Iterable[Series]]


def measure_each(
    machine: MachineDocument,
    context: Context,
    measure: Measure,
    quantities: tuple[tuple[str, str], ...],
) -> Outcome:
    """Run `measure` on every usable GPU.

    Parameters
    ----------
    machine, context
        As given to the benchmark.
    measure : callable
        Measures one GPU.
    quantities : tuple of (str, str)
        Names and units of the series that a GPU left alone gets instead, with the reason.

    Returns
    -------
    Outcome
        Skipped as a whole where every GPU is left alone.

    Raises
    ------
    MeasurementFailed
        If GPUs were measured and none gave a sample.
    """
    series: list[Series] = []
    reasons: list[str] = []
    for gpu in open_gpus(machine):
        if isinstance(gpu, ClosedGpu):
            reasons.append(f"{gpu.node.id}: {gpu.reason}")
            for name, unit in quantities:
                quantity = Quantity(name=name, unit=unit, factors={"device": gpu.node.id})
                series.append(skipped(quantity, gpu.reason))
            continue
        series.extend(measure(gpu, with_conditions(context, gpu)))
    if all(one.status is Status.SKIPPED for one in series):
        return Outcome(tuple(series), Status.SKIPPED, "; ".join(reasons))
    return Outcome(require_any(series))


def with_conditions(context: Context, *gpus: OpenGpu) -> Context:
    """Return a context whose conditions include the first GPU's, and any GPU's throttling."""
    told = [
        telemetry
        for gpu in gpus
        if gpu.node.pci_address and (telemetry := gpu_telemetry(gpu.node.pci_address)) is not None
    ]
    if not told:
        return context
    return dataclasses.replace(context, conditions=lambda: _merged(context.conditions(), told))


def _merged(host: Conditions | None, told: list[GpuTelemetry]) -> Conditions:
    readings = [telemetry.conditions() for telemetry in told]
    reasons = sorted({reason for one in readings for reason in one.throttle_reasons})
    first = readings[0]
    return msgspec.structs.replace(
        host or Conditions(),
        sm_clock_hz=first.sm_clock_hz,
        memory_clock_hz=first.memory_clock_hz,
        power_w=first.power_w,
        temperature_c=first.temperature_c,
        pcie_generation=first.pcie_generation,
        pcie_num_lanes=first.pcie_num_lanes,
        throttle_reasons=tuple(reasons),
    )
