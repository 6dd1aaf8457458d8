"""A measurement on each GPU that may be used, with the GPU's own conditions beside each sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.inventory import ClosedGpu, OpenGpu, open_gpus
from topoprobe.measure.devices.gpu_conditions import watched
from topoprobe.measure.series import Quantity, require_any, skipped
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Series

Measure = Callable[[OpenGpu, Context], Iterable[Series]]

BUSY_S = 0.5
"""A GPU at rest raises its clocks and its link within less."""

_BUSY_BYTES = 64 << 20


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
    for gpu in open_gpus(machine, context.gpus):
        if isinstance(gpu, ClosedGpu):
            reasons.append(f"{gpu.node.id}: {gpu.reason}")
            for name, unit in quantities:
                quantity = Quantity(name=name, unit=unit, factors={"device": gpu.node.id})
                series.append(skipped(quantity, gpu.reason))
            continue
        _keep_busy(gpu, context)
        with watched(context, gpu.node.pci_address) as beside:
            series.extend(measure(gpu, beside))
    if all(one.status is Status.SKIPPED for one in series):
        return Outcome(tuple(series), Status.SKIPPED, "; ".join(reasons))
    return Outcome(require_any(series))


def _keep_busy(gpu: OpenGpu, context: Context) -> None:
    """Let a GPU write to its memory until it rests no more; nothing of it is a sample."""
    room_bytes = gpu.device.free_bytes() // 4 // 16 * 16  # a kernel writes 16 bytes at a time
    memory = gpu.device.reserve(min(_BUSY_BYTES, room_bytes), "gpu")
    until_s = context.clock() + BUSY_S
    with gpu.device.open_stream() as stream:
        while context.clock() < until_s and not context.should_stop():
            stream.launch(gpu.device.kernels.write, memory, 1.0)
            stream.synchronize()
