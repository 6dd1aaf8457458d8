"""Flows by the executors ``ce`` and ``sm``: copies and small accesses between hosts and GPUs.

A flow between two GPUs is run by the one that it comes from, which writes to the other.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.machine.view import Machine
from topoprobe.measure.concurrent import Lane
from topoprobe.measure.devices.cuda.availability import cuda_gap, nvidia_gpus
from topoprobe.measure.devices.cuda.bindings import ACCESS_BYTES
from topoprobe.measure.devices.cuda.gemm import torch_gap
from topoprobe.measure.devices.cuda.inventory import OpenGpu, open_gpus
from topoprobe.measure.devices.cuda.loads import UNITS, open_load
from topoprobe.measure.devices.cuda.moves import Copies, Copy, Held, Move, Reads, Seeds, Writes
from topoprobe.measure.devices.flows import OpenFlow, Place
from topoprobe.measure.ends import absent, node_of
from topoprobe.measure.flows import End, Flow, Work
from topoprobe.records.machine import Gpu, Numa
from topoprobe.records.results import Factor
from topoprobe.units import format_bytes

if TYPE_CHECKING:
    from topoprobe.measure.devices.cuda.device import CudaDevice, CudaStream
    from topoprobe.measure.devices.cuda.memory import CudaBuffer

_PAGE_BYTES = 4096
# Long enough to hide what starting a copy costs, short enough for tens of them in a window: about a
# millisecond over PCIe, a tenth of that over NVLink and within a GPU.
_HOST_CHUNK_BYTES = 32 << 20
_PEER_CHUNK_BYTES = 64 << 20
_LOCAL_CHUNK_BYTES = 256 << 20
# Buffers of GPUs are this many times their L2 caches, as STREAM asks [mccalpin1995].
_CACHE_MULTIPLE = 4
# What others on the GPU, such as a screen, may take meanwhile.
_SHARE_OF_FREE = 0.9
# Chunks that wait are about this long together: the runner looks after them every millisecond.
_QUEUED_S = 10e-3
# A copy between GPUs may take three of the driver's 1024 entries and its time stamp one more, and
# the streams of one GPU may share them.
_MIN_QUEUED, _MAX_QUEUED = 4, 32
_MIN_CHUNKS = 10


class GpuFlows:
    """Opens flows on GPUs and keeps their streams until closed."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._view = Machine(place.machine)
        self._stack = ExitStack()
        self._num_opened = 0

    def missing(self, flow: Flow) -> str | None:
        """Say what keeps a flow from running here: CUDA, a GPU in use, no peer access, no room.

        Raises
        ------
        UsageError
            If neither end is a GPU, an end is absent, or a key is one that its executor has no use
            for.
        """
        _check_keys(flow)
        self._check_host_ends(flow)
        for end in _gpu_ends(flow):
            self._node(end)
        gap = cuda_gap(self._place.machine)
        if gap is not None:
            return gap
        if flow.work is Work.GEMM and (gap := torch_gap()) is not None:
            return gap
        gpus = [self._usable(end) for end in _gpu_ends(flow)]
        closed = [gpu for gpu in gpus if isinstance(gpu, str)]
        if closed:
            return closed[0]
        if flow.executor.kind == "sm" and (reason := self._peer_gap(flow)) is not None:
            return f"{reason}, and a kernel has no other way"
        return self._room_gap(flow, flow.size_bytes) if flow.size_bytes else None

    def unit(self, flow: Flow) -> str:
        """Return the unit of its rate."""
        return UNITS.get(flow.work, "bytes_per_s")

    def memory_bytes(self, flow: Flow, size_bytes: int) -> int:
        """Return the memory of the host that it takes, all of it pinned."""
        ends = (flow.source, flow.destination)
        return sum(flow.size_bytes or size_bytes for end in ends if end.kind == "host")

    def scratch_folder(self, flow: Flow) -> Path | None:
        """Return None: nothing is written to files."""
        return None

    def open(self, flow: Flow, index: int, size_bytes: int) -> OpenFlow:
        """Reserve and fill its buffers, and move them once to see that all arrives.

        Raises
        ------
        EnvironmentMissing
            If memory does not suffice, or does not lie on the NUMA node that was named.
        MeasurementFailed
            If what it moves does not arrive.
        """
        num_bytes = self._num_bytes(flow, size_bytes)
        gap = self._room_gap(flow, num_bytes)
        if gap is not None:
            raise EnvironmentMissing(f"{flow}: {gap}.")
        if flow.work is not Work.MEMCPY:
            return self._open_load(flow, num_bytes)
        staged = self._peer_gap(flow)
        device = self._gpu(_gpu_ends(flow)[0]).device
        move, factors = self._move(flow, device, num_bytes)
        if len(set(_gpu_ends(flow))) > 1:
            factors["peer_access"] = "direct" if staged is None else "staged"
        stream = self._stack.enter_context(device.open_stream())
        chunk_s = _tried(flow, move, stream)
        lane = Lane(device, stream, move.enqueue, move.chunk_bytes, num_queued=_num_queued(chunk_s))
        return OpenFlow(
            (lane,),
            factors=factors,
            least_s=_MIN_CHUNKS * chunk_s,
            check=lambda: _check(flow, move),
        )

    def _open_load(self, flow: Flow, num_bytes: int) -> OpenFlow:
        """Make a kernel ready that computes within one GPU; a chunk is one launch."""
        device = self._gpu(flow.source).device
        load = open_load(device, flow.work, num_bytes)
        stream = self._stack.enter_context(device.open_stream())
        load.enqueue(stream)  # libraries allocate for a stream at the first launch
        stream.synchronize()
        load.check()
        start = stream.record()
        load.enqueue(stream)
        end = stream.record()
        stream.synchronize()
        chunk_s = end.seconds_since(start)
        return OpenFlow(
            (Lane(device, stream, load.enqueue, load.work, num_queued=_num_queued(chunk_s)),),
            factors={"run_by": device.node_id, "size_bytes": load.num_bytes},
            least_s=_MIN_CHUNKS * chunk_s,
            check=load.check,
        )

    def close(self) -> None:
        """Finish the streams of all flows; memory goes with whoever holds the flows."""
        self._stack.close()

    def _check_host_ends(self, flow: Flow) -> None:
        numas = [node for node in self._place.machine.nodes if isinstance(node, Numa)]
        known = sorted(node.os_index for node in numas if node.memory_of is None) or [0]
        for end in (flow.source, flow.destination):
            if end.kind == "host" and end.index not in known:
                raise absent(str(end), "NUMA node", [f"host:{index}" for index in known])

    def _node(self, end: End) -> Gpu:
        """Return the GPU that an end names, of whatever make.

        Raises
        ------
        UsageError
            If there is none.
        """
        node = node_of(self._view, end)
        if not isinstance(node, Gpu):
            gpus = sorted(self._view.all(Gpu), key=lambda gpu: gpu.pci_address or "")
            raise absent(str(end), "GPU", [gpu.id for gpu in gpus])
        return node

    def _usable(self, end: End) -> OpenGpu | str:
        """Return an open GPU, or why it is left alone."""
        node = self._node(end)
        for gpu in open_gpus(self._place.machine, self._place.gpus):
            if gpu.node.id == node.id:
                return gpu if isinstance(gpu, OpenGpu) else f"{node.id}: {gpu.reason}"
        if node not in nvidia_gpus(self._place.machine):
            return f"{node.id} is not NVIDIA's, and the kernels are CUDA"
        return f"{node.id} is not among the GPUs that were chosen"

    def _gpu(self, end: End) -> OpenGpu:
        gpu = self._usable(end)
        if isinstance(gpu, str):
            raise EnvironmentMissing(gpu)
        return gpu

    def _peer_gap(self, flow: Flow) -> str | None:
        """Open the way from one GPU to the other; say why there is none."""
        if any(end.kind != "gpu" for end in (flow.source, flow.destination)):
            return None
        source, target = self._gpu(flow.source).device, self._gpu(flow.destination).device
        if source is target:
            return None
        # cupy is optional: this line is reached only where `cuda_gap` found it.
        from topoprobe.measure.devices.cuda.peers import open_peer_access

        return open_peer_access(source, target)

    def _num_bytes(self, flow: Flow, size_bytes: int) -> int:
        if flow.size_bytes is not None:
            return flow.size_bytes
        if any(end.kind == "host" for end in (flow.source, flow.destination)):
            return size_bytes
        gpus = [self._gpu(end).device for end in _gpu_ends(flow)]
        wanted = max(size_bytes, *(_CACHE_MULTIPLE * gpu.l2_bytes for gpu in gpus))
        chunk_bytes = _usual_chunk_bytes(flow)
        return -(-wanted // chunk_bytes) * chunk_bytes

    def _room_gap(self, flow: Flow, num_bytes: int) -> str | None:
        for end in _gpu_ends(flow):
            num_buffers = sum(end == one for one in (flow.source, flow.destination))
            needed = num_bytes * (3 if flow.work is Work.STREAM else num_buffers)
            room = int(_SHARE_OF_FREE * self._gpu(end).device.free_bytes())
            if needed > room:
                return (
                    f"its {format_bytes(needed)} do not fit the {format_bytes(room)} that may be "
                    f"used of {self._node(end).id}; give a smaller size"
                )
        return None

    def _move(
        self, flow: Flow, device: CudaDevice, num_bytes: int
    ) -> tuple[Move, dict[str, Factor]]:
        """Reserve what a flow needs; return it with what to say in its series."""
        chunk_bytes = min(flow.chunk_bytes or _usual_chunk_bytes(flow), num_bytes)
        factors: dict[str, Factor] = {
            "run_by": device.node_id,
            "size_bytes": num_bytes,
            "chunk_bytes": chunk_bytes,
        }
        self._num_opened += 1
        seeds = Seeds(moved=self._num_opened << 32, poison=(self._num_opened << 32) + (1 << 31))
        if flow.txn_bytes is None:
            copy: Copy = _copy_by_engine
            if flow.executor.kind == "sm":
                num_blocks = flow.executor.count or device.num_sms
                copy = _copy_by_kernel(device, num_blocks)
                factors["num_blocks"] = num_blocks
            source = self._held(flow.source, device, num_bytes, factors)
            target = self._held(flow.destination, device, num_bytes, factors)
            return Copies(copy, target, source, chunk_bytes, seeds), factors
        is_read = flow.source.kind == "host"
        end = flow.source if is_read else flow.destination
        memory = self._held(end, device, num_bytes, factors)
        kind = Reads if is_read else Writes
        return kind(device, memory, chunk_bytes, flow.txn_bytes, seeds), factors

    def _held(
        self, end: End, device: CudaDevice, num_bytes: int, factors: dict[str, Factor]
    ) -> Held:
        if end.kind == "gpu":
            owner = self._gpu(end).device
            return Held(owner.reserve(num_bytes, "gpu"), owner)
        buffer = device.reserve(num_bytes, f"pinned:{end.index}")
        factors["placement"] = "verified" if buffer.is_placement_verified else "not told"
        return Held(buffer, device)


def _check_keys(flow: Flow) -> None:
    """Check what a text alone tells.

    Raises
    ------
    UsageError
        If no GPU could run the flow.
    """
    ends = (flow.source, flow.destination)
    strange = [end for end in ends if end.kind not in ("host", "gpu")]
    if strange or not _gpu_ends(flow):
        raise UsageError(
            f"{flow}: a GPU moves bytes between host:N and gpu:I; "
            + (f"{strange[0]} is neither." if strange else "neither end is a GPU; use via cpu.")
        )
    _check_work(flow)
    if flow.txn_bytes is not None and flow.executor.kind == "ce":
        raise UsageError(
            f"{flow}: a copy engine chooses its transactions itself; leave out txn, or use via sm."
        )
    if flow.txn_bytes is not None and flow.txn_bytes not in ACCESS_BYTES:
        sizes = ", ".join(map(str, ACCESS_BYTES))
        raise UsageError(f"{flow}: a kernel accesses {sizes} bytes at once; choose one for txn.")
    for name, num_bytes in (("size", flow.size_bytes), ("chunk", flow.chunk_bytes)):
        if num_bytes is not None and num_bytes % _PAGE_BYTES:
            raise UsageError(
                f"{flow}: the {name} is no multiple of {_PAGE_BYTES} bytes; round it up."
            )


def _check_work(flow: Flow) -> None:
    if flow.work is Work.MEMCPY:
        return
    if flow.work not in UNITS:
        known = ", ".join(UNITS)
        raise UsageError(f"{flow}: a GPU does no {flow.work}; expected memcpy, {known}.")
    if flow.executor.kind != "sm" or flow.source != flow.destination or flow.executor.count:
        raise UsageError(
            f"{flow}: {flow.work} is done by a kernel within one GPU; write gpu:I -> gpu:I via sm."
        )
    if flow.txn_bytes is not None or flow.chunk_bytes is not None:
        raise UsageError(f"{flow}: {flow.work} has no transactions or chunks to choose.")
    if flow.cap_bytes_per_s is not None and UNITS[flow.work] != "bytes_per_s":
        raise UsageError(f"{flow}: {flow.work} moves no bytes that cap could limit.")


def _usual_chunk_bytes(flow: Flow) -> int:
    if len(_gpu_ends(flow)) == 1:
        return _HOST_CHUNK_BYTES
    return _LOCAL_CHUNK_BYTES if flow.source == flow.destination else _PEER_CHUNK_BYTES


def _num_queued(chunk_s: float) -> int:
    wanted = math.ceil(_QUEUED_S / chunk_s) if chunk_s > 0.0 else _MAX_QUEUED
    return max(_MIN_QUEUED, min(_MAX_QUEUED, wanted))


def _gpu_ends(flow: Flow) -> tuple[End, ...]:
    """Return the GPUs of a flow, the one that runs it first."""
    return tuple(end for end in (flow.source, flow.destination) if end.kind == "gpu")


def _copy_by_engine(stream: CudaStream, target: CudaBuffer, source: CudaBuffer) -> None:
    stream.copy_async(target, source, source.num_bytes)


def _copy_by_kernel(device: CudaDevice, num_blocks: int) -> Copy:
    def copy(stream: CudaStream, target: CudaBuffer, source: CudaBuffer) -> None:
        stream.launch(device.kernels.sm_copy, target, source, source.num_bytes, num_blocks)

    return copy


def _tried(flow: Flow, move: Move, stream: CudaStream) -> float:
    """Move everything once and check it, then once more; return the seconds of a chunk."""
    move.prepare()
    _turn(move, stream)
    _check(flow, move)
    chunk_s = _turn(move, stream) / move.num_chunks
    move.prepare()
    return chunk_s


def _turn(move: Move, stream: CudaStream) -> float:
    start = stream.record()
    for _ in range(move.num_chunks):
        move.enqueue(stream)
    end = stream.record()
    stream.synchronize()
    return end.seconds_since(start)


def _check(flow: Flow, move: Move) -> None:
    mismatch = move.mismatch()
    if mismatch is not None:
        raise MeasurementFailed(f"{flow}: what was moved arrived wrong: {mismatch}.")
