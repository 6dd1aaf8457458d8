"""An all-reduce over all GPUs beside copies of KV blocks to the host: what each loses."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.concurrent import Lane, run_together
from topoprobe.measure.devices.cuda.collectives import AllReduce, nccl_gap
from topoprobe.measure.devices.cuda.inventory import OpenGpu, open_gpus
from topoprobe.measure.devices.flows import Place
from topoprobe.measure.devices.gpu_conditions import watched
from topoprobe.measure.devices.openers import openers_of
from topoprobe.measure.series import Quantity, Trial, collect, require_any
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Series

from .gpu_sets import CE, SM, from_gpu, several_gpus_gap

_DURATION_S = {"quick": 0.1, "standard": 0.3}
_LONG_DURATION_S = 1.0
# Activations of a decode step of a hundred sequences, and of a prefill of some thousand tokens.
_SIZES_BYTES = (1 << 20, 64 << 20)
_STORE_BYTES = 64 << 20
_PAGE_BYTES = 4096
# Several all-reduces wait at a time, so that the host does not set the pace.
_NUM_QUEUED = 32


@dataclass(frozen=True, slots=True)
class CudaCollectivesBenchmark:
    """Tensor parallelism beside KV stores, the case for a scheduler that knows the links.

    The stores go by copy engine or by kernel, from every GPU at once.
    """

    name: str = "cuda.collectives"
    summary: str = "All-reduce over all GPUs beside copies to the host, by engine and by kernel."
    revision: int = 1
    seconds: float = 8.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return several_gpus_gap(machine) or nccl_gap()

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every size, alone and beside each kind of store."""
        found = open_gpus(machine, context.gpus)
        gpus = [gpu for gpu in found if isinstance(gpu, OpenGpu)]
        if len(gpus) < 2:
            reasons = [
                f"{gpu.node.id}: {gpu.reason}" for gpu in found if not isinstance(gpu, OpenGpu)
            ]
            return Outcome(
                (), Status.SKIPPED, "; ".join(["fewer than two GPUs are free", *reasons])
            )
        series: list[Series] = []
        with watched(context, *(gpu.node.pci_address for gpu in gpus)) as beside:
            for num_bytes in _SIZES_BYTES:
                series += _measure(machine, beside, gpus, num_bytes)
        return Outcome(require_any(series))


@dataclass(frozen=True, slots=True)
class _Member:
    """Something that runs alone or beside others."""

    text: str
    lane: Lane


def _measure(
    machine: MachineDocument, context: Context, gpus: Sequence[OpenGpu], num_bytes: int
) -> tuple[Series, ...]:
    stores = {
        executor.kind: [from_gpu(machine, gpu.node, executor) for gpu in gpus]
        for executor in (CE, SM)
    }
    flows = [flow for each in stores.values() for flow in each]
    place = Place(machine, context.cpus, Path(context.scratch), context.gpus)
    with (
        closing(AllReduce([gpu.device for gpu in gpus], num_bytes)) as reduce,
        openers_of(flows, place) as openers,
    ):
        lane = Lane(
            gpus[0].device, reduce.streams[0], reduce.enqueue, num_bytes, num_queued=_NUM_QUEUED
        )
        collective = _Member("all_reduce", lane)
        sets = [[collective]]
        share = context.budget.memory_bytes // len(flows)
        store_bytes = min(_STORE_BYTES, share // _PAGE_BYTES * _PAGE_BYTES)
        checks = [reduce.check]
        for kind, each in stores.items():
            opened = [openers[kind].open(flow, 0, store_bytes) for flow in each]
            copies = [
                _Member(str(flow), one.lanes[0]) for flow, one in zip(each, opened, strict=True)
            ]
            sets += [copies, [collective, *copies]]
            checks += [one.check for one in opened]
        reduce.enqueue(lane.stream)  # connects the GPUs, which a closed latch would not let end
        reduce.synchronize()
        reduce.check()
        series = collect(context, [_trial(context, one, reduce, len(gpus)) for one in sets])
        for check in checks:
            check()
    return series


def _trial(context: Context, members: Sequence[_Member], reduce: AllReduce, num_gpus: int) -> Trial:
    duration_s = _DURATION_S.get(context.budget.suite, _LONG_DURATION_S)

    def measure() -> tuple[float, ...]:
        rates = run_together(
            [[member.lane] for member in members],
            duration_s,
            clock=context.clock,
            pause=time.sleep,
        )
        reduce.synchronize()
        return rates

    return Trial(tuple(_quantities(members, reduce, num_gpus)), measure)


def _quantities(members: Sequence[_Member], reduce: AllReduce, num_gpus: int) -> Iterator[Quantity]:
    """Yield one quantity for each member; rates of an all-reduce are bytes of one GPU's buffer."""
    for index, member in enumerate(members):
        yield Quantity(
            "collective.rate",
            "bytes_per_s",
            {
                "device": "host",
                "set": " | ".join(one.text for one in members),
                "flow": member.text,
                "index": index,
                "num_gpus": num_gpus,
                "num_bytes": reduce.num_bytes,
                "bus_ratio": reduce.bus_ratio,
            },
        )
