"""Copies between pinned host memory and each GPU, by its copy engines, over a range of sizes."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap
from topoprobe.measure.devices.cuda.inventory import OpenGpu
from topoprobe.measure.series import Quantity, Trial, collect, skipped
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor, Series
from topoprobe.units import format_bytes

from .cuda_timing import Repeated
from .cuda_transfer import Transfer
from .gpu_sizes import powers
from .gpus import measure_each

_DIRECTIONS = ("h2d", "d2h")
_SMALLEST_BYTES, _LARGEST_BYTES = 4, 1 << 30
# Few are enough to fit latency and bandwidth; many show where the one ends and the other begins.
_STEPS = {"quick": 16}
_STEP = 4


class CudaCopyBenchmark:
    """Bandwidth between the host and a GPU, from 4 bytes to 1 GiB.

    Bytes are the payload, counted once. Memory of the host is page-locked on the GPU's own NUMA
    node. Copies are queued back to back from one buffer to another: sizes that fit the caches of
    the host may be served by them.
    """

    name: str = "cuda.copy"
    summary: str = "Copy between pinned host memory and each GPU, both ways, by copy engine."
    revision: int = 2
    seconds: float = 6.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every usable GPU."""
        names = tuple((f"copy.{direction}", "bytes_per_s") for direction in _DIRECTIONS)
        return measure_each(machine, context, _measure, names)


def _measure(gpu: OpenGpu, context: Context) -> Iterator[Series]:
    room = min(gpu.device.free_bytes() // 4, context.budget.memory_bytes // 2)
    step = _STEPS.get(context.budget.suite, _STEP)
    sizes = tuple(powers(_SMALLEST_BYTES, _LARGEST_BYTES, step))
    largest = max(size for size in sizes if size <= room)
    host = gpu.device.reserve(max(largest, 8), gpu.pinned_place)
    local = gpu.device.reserve(max(largest, 8), "gpu")
    for num_bytes in sizes:
        if num_bytes > room:
            reason = (
                f"{format_bytes(num_bytes)} are more than a copy may use ({format_bytes(room)})"
            )
            yield from (skipped(_quantity(gpu, way, num_bytes), reason) for way in _DIRECTIONS)
            continue
        ends = {"h2d": (local, host), "d2h": (host, local)}
        yield from collect(
            context,
            [
                _trial(gpu, direction, Transfer(gpu.device, *ends[direction], num_bytes))
                for direction in _DIRECTIONS
            ],
        )


def _trial(gpu: OpenGpu, direction: str, transfer: Transfer) -> Trial:
    timed = Repeated(
        gpu.device, transfer.by_engine, prepare=transfer.poison_once, check=transfer.check_once
    )
    quantity = _quantity(gpu, direction, transfer.num_bytes)
    proof = timed.proof_of(transfer.prove_again)
    return Trial.of(quantity, timed.rate_of(transfer.num_bytes), proof)


def _quantity(gpu: OpenGpu, direction: str, num_bytes: int) -> Quantity:
    factors: dict[str, Factor] = {"device": gpu.node.id, "executor": "ce", "num_bytes": num_bytes}
    return Quantity(f"copy.{direction}", "bytes_per_s", factors)
