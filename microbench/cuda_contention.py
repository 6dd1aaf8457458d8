"""Copies that run at the same time: both directions of one GPU, and two GPUs fed from the host."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.concurrent import Lane, run_together
from topoprobe.measure.device import Stream
from topoprobe.measure.devices.cuda.availability import cuda_gap
from topoprobe.measure.devices.cuda.inventory import ClosedGpu, OpenGpu, open_gpus
from topoprobe.measure.devices.gpu_conditions import watched
from topoprobe.measure.flows import Flow, FlowSet, parse_flow_set
from topoprobe.measure.series import Quantity, Trial, collect, require_any, skipped
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor, Series

_DURATION_S = 0.1
# One chunk is one buffer: large enough to hide a copy's latency, small enough that tens of them end
# within the window on a slow link.
_CHUNK_BYTES = 32 << 20
# Buffers of a flow are used in turn, so that host caches do not stand in for host memory.
_BUFFERS_PER_FLOW = 4
_SOURCE_SEED, _POISON_SEED = 21, 22


class CudaContentionBenchmark:
    """Shares of concurrent copies."""

    name: str = "cuda.contention"
    summary: str = "Run copies at the same time and see what each keeps of its own rate."
    revision: int = 1
    seconds: float = 6.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure each usable GPU against itself, and the first two against each other."""
        series: list[Series] = []
        reasons: list[str] = []
        usable: list[OpenGpu] = []
        for gpu in open_gpus(machine):
            if isinstance(gpu, OpenGpu):
                usable.append(gpu)
                series.extend(_measure(_duplex(gpu), gpu.node.id, [gpu], context))
            else:
                reasons.append(f"{gpu.node.id}: {gpu.reason}")
                series.append(_left_alone(gpu))
        if len(usable) > 1:
            # The shared resource is the host's memory and fabric, so the host is the device.
            pair = usable[:2]
            series.extend(_measure(_fan_out(pair), "host", pair, context))
        if not usable:
            return Outcome(tuple(series), Status.SKIPPED, "; ".join(reasons))
        return Outcome(require_any(series))


def _duplex(gpu: OpenGpu) -> FlowSet:
    host = f"host:{gpu.node.numa_index or 0}"
    return parse_flow_set(f"{host} -> {gpu.node.id} via ce | {gpu.node.id} -> {host} via ce")


def _fan_out(gpus: Sequence[OpenGpu]) -> FlowSet:
    flows = (f"host:{gpu.node.numa_index or 0} -> {gpu.node.id} via ce" for gpu in gpus)
    return parse_flow_set(" | ".join(flows))


def _left_alone(gpu: ClosedGpu) -> Series:
    quantity = Quantity("contention.shared", "bytes_per_s", {"device": gpu.node.id})
    return skipped(quantity, gpu.reason)


def _measure(
    flow_set: FlowSet, device: str, gpus: Sequence[OpenGpu], context: Context
) -> tuple[Series, ...]:
    """Measure every flow alone and all together, in alternation."""
    by_id = {gpu.node.id: gpu for gpu in gpus}
    lanes = [_lane(flow, by_id) for flow in flow_set.flows]

    def together(chosen: Sequence[Lane]) -> Callable[[], tuple[float, ...]]:
        return lambda: run_together(
            [[lane] for lane in chosen], _DURATION_S, clock=context.clock, pause=time.sleep
        )

    alone = [
        Trial((_quantity("contention.solo", device, str(flow), flow, 0),), together([lane]))
        for flow, lane in zip(flow_set.flows, lanes, strict=True)
    ]
    shared = Trial(
        tuple(
            _quantity("contention.shared", device, str(flow_set), flow, index)
            for index, flow in enumerate(flow_set.flows)
        ),
        together(lanes),
    )
    try:
        with watched(context, *(gpu.node.pci_address for gpu in gpus)) as beside:
            return collect(beside, [*alone, shared])
    finally:
        for lane in lanes:
            lane.stream.close()


def _quantity(name: str, device: str, set_text: str, flow: Flow, index: int) -> Quantity:
    factors: dict[str, Factor] = {
        "device": device,
        "set": set_text,
        "flow": str(flow),
        "index": index,
    }
    return Quantity(name, "bytes_per_s", factors)


def _lane(flow: Flow, gpus: dict[str, OpenGpu]) -> Lane:
    """Set up one flow: its buffers, checked by one copy each, and a stream that uses them in turn.

    Raises
    ------
    MeasurementFailed
        If a copy arrives wrong.
    """
    is_down = flow.destination.kind == "gpu"
    gpu = gpus[str(flow.destination if is_down else flow.source)]
    host = flow.source if is_down else flow.destination
    device = gpu.device
    pairs = []
    stream = device.open_stream()
    for _ in range(_BUFFERS_PER_FLOW):
        pinned = device.reserve(_CHUNK_BYTES, f"pinned:{host.index or 0}")
        local = device.reserve(_CHUNK_BYTES, "gpu")
        source, target = (pinned, local) if is_down else (local, pinned)
        device.fill(source, _SOURCE_SEED)
        device.fill(target, _POISON_SEED)
        stream.copy_async(target, source, _CHUNK_BYTES)
        stream.synchronize()
        mismatch = device.verify(target, _SOURCE_SEED, _POISON_SEED)
        if mismatch is not None:
            raise MeasurementFailed(f"{flow}: a copy arrived wrong: {mismatch}.")
        pairs.append((target, source))
    turn = itertools.cycle(pairs)

    def enqueue(stream: Stream) -> None:
        target, source = next(turn)
        stream.copy_async(target, source, _CHUNK_BYTES)

    return Lane(device, stream, enqueue, _CHUNK_BYTES)
