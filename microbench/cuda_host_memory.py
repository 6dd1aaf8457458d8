"""Copies to and from host memory of every kind: locked or not, huge pages or small, near or far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topoprobe.errors import EnvironmentMissing
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap
from topoprobe.measure.devices.cuda.inventory import OpenGpu
from topoprobe.measure.series import Quantity, Trial, collect, skipped
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Factor, Series

from .cuda_timing import Repeated, Unheld
from .cuda_transfer import Transfer
from .gpus import measure_each

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaStream
    from topoprobe.measure.devices.cuda.memory import CudaBuffer, HostKind

_DIRECTIONS = ("h2d", "d2h")
_SIZES = {"quick": (32 << 20,)}
_ALL_SIZES = (64 << 10, 2 << 20, 128 << 20)


@dataclass(frozen=True, slots=True)
class _Way:
    """A kind of host memory and who moves: a copy engine, or a kernel that reaches through."""

    name: str
    memory: HostKind
    executor: str
    timing: type[Repeated]

    def enqueuer(self, transfer: Transfer) -> Callable[[CudaStream], None]:
        return transfer.by_kernel if self.executor == "sm" else transfer.by_engine


_WAYS = (
    _Way("pinned", "pinned", "ce", Repeated),
    _Way("pinned_small", "pinned_small", "ce", Repeated),
    # The driver stages such copies through memory of its own, in the calling thread.
    _Way("pageable", "pageable", "ce", Unheld),
    _Way("mapped", "pinned", "sm", Repeated),
)


class CudaHostMemoryBenchmark:
    """One copy at a time, by kind of host memory.

    ``pinned`` memory is page-locked, in huge pages where the kernel gives them (the share it gave
    is recorded), ``pinned_small`` is in pages of 4 KiB, ``pageable`` is not locked, and ``mapped``
    is pinned memory that a kernel reads and writes itself. ``distance`` is ``near`` on the GPU's
    NUMA node, and ``far`` on another.
    """

    name: str = "cuda.host_memory"
    summary: str = "Copy to and from pinned, small-page, pageable and mapped memory, near and far."
    revision: int = 1
    seconds: float = 4.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every usable GPU."""
        names = tuple((f"host_memory.{direction}", "bytes_per_s") for direction in _DIRECTIONS)
        return measure_each(machine, context, _measure, names)


def _measure(gpu: OpenGpu, context: Context) -> Iterator[Series]:
    near = gpu.node.numa_index or 0
    others = [node for node in gpu.device.host_nodes if node != near]
    # One far node in the short suites.
    far = others if context.budget.suite == "full" else others[:1]
    for node in (near, *far):
        yield from _on_node(gpu, node, "near" if node == near else "far", context)


def _on_node(gpu: OpenGpu, node: int, distance: str, context: Context) -> Iterator[Series]:
    room = min(gpu.device.free_bytes() // 4, context.budget.memory_bytes // len(_WAYS))
    sizes = [size for size in _SIZES.get(context.budget.suite, _ALL_SIZES) if size <= room]
    if not sizes:
        return
    local = gpu.device.reserve(max(sizes), "gpu")
    hosts: dict[str, CudaBuffer] = {}
    for way in _WAYS:
        factors: dict[str, Factor] = {"device": gpu.node.id, "memory": way.name, "node": node}
        try:
            hosts[way.name] = gpu.device.reserve(max(sizes), f"{way.memory}:{node}")
        except EnvironmentMissing as gap:
            quantities = (
                Quantity(f"host_memory.{direction}", "bytes_per_s", factors)
                for direction in _DIRECTIONS
            )
            yield from (skipped(quantity, str(gap)) for quantity in quantities)
    for num_bytes in sizes:
        yield from collect(
            context,
            [
                _trial(gpu, way, hosts[way.name], local, direction, distance, num_bytes)
                for way in _WAYS
                if way.name in hosts
                for direction in _DIRECTIONS
            ],
        )


def _trial(
    gpu: OpenGpu,
    way: _Way,
    host: CudaBuffer,
    local: CudaBuffer,
    direction: str,
    distance: str,
    num_bytes: int,
) -> Trial:
    ends = (local, host) if direction == "h2d" else (host, local)
    transfer = Transfer(gpu.device, *ends, num_bytes)
    timed = way.timing(
        gpu.device,
        way.enqueuer(transfer),
        prepare=transfer.poison_once,
        check=transfer.check_once,
    )
    factors: dict[str, Factor] = {
        "device": gpu.node.id,
        "executor": way.executor,
        "memory": way.name,
        "distance": distance,
        "num_bytes": num_bytes,
        **host_factors(host),
    }
    quantity = Quantity(f"host_memory.{direction}", "bytes_per_s", factors)
    return Trial.of(quantity, timed.rate_of(num_bytes), timed.proof_of(transfer.prove_again))


def host_factors(host: CudaBuffer) -> dict[str, Factor]:
    """Return what a series records about a buffer of the host."""
    factors: dict[str, Factor] = {
        "node": int(host.place.partition(":")[2]),
        "placement": "verified" if host.is_placement_verified else "unverified",
    }
    huge_ratio = host.huge_page_ratio()
    if huge_ratio is not None:
        factors["huge_page_ratio"] = round(huge_ratio, 3)
    return factors
