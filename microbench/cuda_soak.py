"""All GPUs under load for ten minutes: how rates drift as they warm up."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from topoprobe.errors import EnvironmentMissing
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap, nvidia_gpus
from topoprobe.measure.devices.flows import OpenFlow, Place
from topoprobe.measure.devices.gpu_conditions import watched
from topoprobe.measure.devices.openers import gap, openers_of
from topoprobe.measure.flows import Flow, FlowSet
from topoprobe.measure.series import Quantity, collect, require_any, skipped
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument

from .flow_run import FlowRun
from .gpu_sets import SM, between, from_gpu, to_gpu

_SOAK_S = 600.0
_WINDOW_S = 1.0
_HOST_BYTES = 64 << 20
_STEADY_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class CudaSoakBenchmark:
    """Each GPU copies within its memory by kernel, and to and from the host by copy engine.

    One sample a second, with clocks, temperature and throttling beside it; the samples in order
    tell the drift. Only the full suite has the time.
    """

    name: str = "cuda.soak"
    summary: str = "Load all GPUs for ten minutes and follow rates, clocks and temperature."
    revision: int = 1
    seconds: float = 0.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure until the time is over."""
        if context.budget.suite != "full":
            return Outcome((), Status.SKIPPED, "it takes ten minutes: only the full suite soaks")
        flows = flows_of(machine)
        place = Place(machine, context.cpus, Path(context.scratch), context.gpus)
        with ExitStack() as stack:
            openers = stack.enter_context(openers_of(flows, place))
            gaps = {flow: reason for flow in flows if (reason := gap(flow, openers)) is not None}
            opened: dict[Flow, OpenFlow] = {}
            for index, flow in enumerate(flows):
                if flow not in gaps:
                    try:
                        opened[flow] = openers[flow.executor.kind].open(flow, index, _HOST_BYTES)
                    except EnvironmentMissing as refusal:
                        gaps[flow] = str(refusal)
            left_out = [skipped(_quantity(flow, flows), reason) for flow, reason in gaps.items()]
            if not opened:
                return Outcome(tuple(left_out), Status.SKIPPED, next(iter(gaps.values())))
            addresses = [gpu.pci_address for gpu in nvidia_gpus(machine)]
            run = FlowRun(
                tuple(_quantity(flow, tuple(opened)) for flow in opened),
                tuple(one.lanes for one in opened.values()),
                _WINDOW_S,
                context,
            )
            beside = stack.enter_context(watched(context, *addresses))
            series = collect(
                beside,
                [run.trial()],
                tolerance_ratio=_STEADY_RATIO,
                num_samples=int(_SOAK_S / _WINDOW_S),
                max_series_s=_SOAK_S,
            )
            for one in opened.values():
                one.check()
        return Outcome(require_any((*series, *left_out)))


def flows_of(machine: MachineDocument) -> tuple[Flow, ...]:
    """Return the load of every GPU: its memory, and both directions of its link."""
    return tuple(
        flow
        for gpu in nvidia_gpus(machine)
        for flow in (between(gpu, gpu, SM), to_gpu(machine, gpu), from_gpu(machine, gpu))
    )


def _quantity(flow: Flow, together: tuple[Flow, ...]) -> Quantity:
    return Quantity(
        "soak.rate",
        "bytes_per_s",
        {"device": "host", "set": str(FlowSet(together)), "flow": str(flow)},
    )
