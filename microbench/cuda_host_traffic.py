"""GPU copies beside what else uses the host's memory: CPUs, drives and network adapters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from topoprobe.machine.view import Machine
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap, nvidia_gpus
from topoprobe.measure.flows import End, Executor, Flow, FlowSet, Work
from topoprobe.measure.series import Quantity, skipped
from topoprobe.records.machine import Gpu, MachineDocument, Nic, Node, Numa, Nvme

from .gpu_sets import Group, from_gpu, measure_groups, near_host, to_gpu

# A thread for each CPU of a node, up to this many: its memory is saturated by fewer.
_MAX_THREADS = 16


@dataclass(frozen=True, slots=True)
class CudaHostTrafficBenchmark:
    """A GPU's copies in each direction beside STREAM on CPUs of the near node and of another.

    With a drive that can be read past the page cache, or an adapter with perftest, also beside
    those; sets that lack one are skipped with the reason.
    """

    name: str = "cuda.host_traffic"
    summary: str = "Copy to and from each GPU beside CPU STREAM, drive reads and RDMA."
    revision: int = 1
    seconds: float = 8.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every usable GPU."""
        gpus = nvidia_gpus(machine)
        groups = [Group(gpu.id, tuple(sets_of(machine, gpu, context.cpus))) for gpu in gpus]
        outcome = measure_groups(machine, context, groups)
        absent = tuple(
            skipped(Quantity("contention.shared", "bytes_per_s", {"device": gpu.id}), reason)
            for gpu in gpus
            for reason in _absent(machine)
        )
        return Outcome((*outcome.series, *absent), outcome.status, outcome.reason)


def sets_of(machine: MachineDocument, gpu: Gpu, cpus: Sequence[int]) -> Iterator[FlowSet]:
    """Yield each direction of a GPU's copies beside every other user of the host's memory.

    Threads run on those `cpus` that are near to the memory they use.
    """
    near = near_host(machine, gpu)
    others = [_stream(machine, end, cpus) for end in (near, *_far(machine, near)[:1])]
    drive = _nearest(machine, gpu, [node for node in machine.nodes if isinstance(node, Nvme)])
    if drive is not None:
        others.append(Flow(End("nvme", drive.name), near, Executor("nvme")))
    adapter = _nearest(machine, gpu, [node for node in machine.nodes if isinstance(node, Nic)])
    if adapter is not None:
        others.append(Flow(near, End("nic", adapter.name), Executor("nic")))
    for other in others:
        yield FlowSet((to_gpu(machine, gpu), other))
        yield FlowSet((from_gpu(machine, gpu), other))


def _stream(machine: MachineDocument, host: End, cpus: Sequence[int]) -> Flow:
    """Return STREAM by the CPUs of a node on its own memory."""
    near = next((one.cpus for one in _host_nodes(machine) if one.os_index == host.index), ())
    num_threads = min(_MAX_THREADS, len(set(near).intersection(cpus)) or len(cpus))
    return Flow(host, host, Executor("cpu", num_threads), Work.STREAM)


def _far(machine: MachineDocument, near: End) -> list[End]:
    ends = [End("host", str(numa.os_index)) for numa in _host_nodes(machine)]
    return [end for end in ends if end != near]


def _host_nodes(machine: MachineDocument) -> list[Numa]:
    return [
        node
        for node in machine.nodes
        if isinstance(node, Numa) and node.memory_of is None and node.cpus
    ]


def _nearest(machine: MachineDocument, gpu: Gpu, nodes: Sequence[Node]) -> Node | None:
    """Return the device that has most bridges above it in common with a GPU, None without any."""
    view = Machine(machine)
    above = set(view.bridges_above(gpu.id))
    return max(nodes, key=lambda node: len(above & set(view.bridges_above(node.id))), default=None)


def _absent(machine: MachineDocument) -> Iterator[str]:
    kinds = {type(node) for node in machine.nodes}
    if Nvme not in kinds:
        yield "this machine shows no drive to read beside the copies"
    if Nic not in kinds:
        yield "this machine shows no network adapter for RDMA beside the copies"
