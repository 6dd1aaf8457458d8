"""Flows by the executor ``nvme``: reads and writes of scratch files on a drive."""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack
from pathlib import Path

from topoprobe.errors import EnvironmentMissing, UsageError
from topoprobe.machine.view import Machine
from topoprobe.measure.concurrent import Lane
from topoprobe.measure.device import Stream
from topoprobe.measure.devices.cpu.buffer import fill_bytes
from topoprobe.measure.devices.cpu.device import CpuDevice, CpuStream
from topoprobe.measure.devices.cpu.placement import buffer_on_node
from topoprobe.measure.devices.flows import OpenFlow, Place
from topoprobe.measure.devices.storage.mounts import folder_on
from topoprobe.measure.devices.storage.scratch import (
    UNIT_BYTES,
    ScratchFile,
    open_scratch,
    scratch_gap,
)
from topoprobe.measure.ends import absent, in_pci_order, node_of
from topoprobe.measure.flows import End, Flow, Work
from topoprobe.records.machine import Nvme

NUM_REQUESTS = 4
"""Requests that a drive has at a time, each from a thread with a file of its own."""

_REQUEST_BYTES = 1 << 20
# The runner looks every millisecond, in which a fast drive ends several requests.
_NUM_QUEUED = 8


class DriveFlows:
    """Opens flows between drives and host memory; files and threads live until closed."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._device = CpuDevice.of(place.machine, place.cpus)
        self._stack = ExitStack()

    def missing(self, flow: Flow) -> str | None:
        """Say what keeps files from being written on the drive, or None.

        Raises
        ------
        UsageError
            If it is not between a drive and memory of this machine, or a key makes no sense.
        """
        if {flow.source.kind, flow.destination.kind} != {"nvme", "host"}:
            raise UsageError(f"{flow}: a drive moves bytes between nvme:NAME and host:N.")
        self._device.check_place(str(_memory_end(flow)))
        if flow.work is not Work.MEMCPY or flow.peer is not None:
            raise UsageError(f"{flow}: a drive knows no work and no peer; leave them out.")
        for key, num_bytes in (("txn", flow.txn_bytes), ("chunk", flow.chunk_bytes)):
            if num_bytes is not None and num_bytes % UNIT_BYTES:
                raise UsageError(
                    f"{flow}: {key} is no multiple of {UNIT_BYTES} bytes; round it up."
                )
        folder = self._folder(flow)
        if isinstance(folder, str):
            return folder
        return scratch_gap(folder, flow.size_bytes or 0)

    def unit(self, flow: Flow) -> str:
        """Return the unit of its rate."""
        return "bytes_per_s"

    def memory_bytes(self, flow: Flow, size_bytes: int) -> int:
        """Return the memory of the requests; the files lie on the drive."""
        return NUM_REQUESTS * (flow.txn_bytes or _REQUEST_BYTES)

    def scratch_folder(self, flow: Flow) -> Path | None:
        """Return the folder on the drive that its files are written in."""
        folder = self._folder(flow)
        return folder if isinstance(folder, Path) else None

    def open(self, flow: Flow, index: int, size_bytes: int) -> OpenFlow:
        """Write the files and start their threads.

        Raises
        ------
        EnvironmentMissing
            If the drive has no room, or memory cannot be placed on its node.
        MeasurementFailed
            If the drive is full or refuses.
        """
        num_bytes = flow.size_bytes or size_bytes
        folder = self._folder(flow)
        if isinstance(folder, str):
            raise EnvironmentMissing(f"{flow}: {folder}.")
        gap = scratch_gap(folder, num_bytes)
        if gap is not None:
            raise EnvironmentMissing(f"{flow}: {gap}.")
        files = [self._file(flow, folder, num_bytes // NUM_REQUESTS) for _ in range(NUM_REQUESTS)]
        return OpenFlow(
            tuple(self._lane(flow, file) for file in files),
            factors={
                "num_requests": NUM_REQUESTS,
                "size_bytes": sum(file.num_bytes for file in files),
                "direct": int(all(file.buffered_because is None for file in files)),
            },
        )

    def close(self) -> None:
        """End the threads and drop the files, which have no names."""
        self._stack.close()

    def _folder(self, flow: Flow) -> Path | str:
        """Return a folder on the drive, or why there is none."""
        end, view = _drive_end(flow), Machine(self._place.machine)
        drive = node_of(view, end)
        if not isinstance(drive, Nvme):
            known = in_pci_order(view.all(Nvme))
            raise absent(str(end), "drive", [f"nvme:{one.name}" for one in known])
        folder = folder_on(drive.block_devices, self._place.scratch)
        return folder or f"no file system on {end} is mounted where it may be written"

    def _file(self, flow: Flow, folder: Path, num_bytes: int) -> ScratchFile:
        def allocate(size: int) -> memoryview:
            node = int(_memory_end(flow).name)
            return buffer_on_node(size, node, lambda array: fill_bytes(array, seed=size)).array.data

        file = self._stack.enter_context(open_scratch(folder, allocate))
        file.prepare(num_bytes, time.monotonic)
        return file

    def _lane(self, flow: Flow, file: ScratchFile) -> Lane:
        request_bytes = min(flow.txn_bytes or _REQUEST_BYTES, file.num_bytes)
        num_requests = max(1, (flow.chunk_bytes or request_bytes) // request_bytes)
        offsets = itertools.cycle(range(0, file.num_bytes - request_bytes + 1, request_bytes))
        transfer = file.read if flow.source.kind == "nvme" else file.write

        def move() -> None:
            file.forget()
            for _ in range(num_requests):
                transfer(next(offsets), request_bytes)

        def enqueue(stream: Stream) -> None:
            stream.launch(move)

        stream = self._stack.enter_context(CpuStream(None))
        work = float(num_requests * request_bytes)
        return Lane(self._device, stream, enqueue, work, num_queued=_NUM_QUEUED)


def _drive_end(flow: Flow) -> End:
    return flow.source if flow.source.kind == "nvme" else flow.destination


def _memory_end(flow: Flow) -> End:
    return flow.source if flow.source.kind == "host" else flow.destination
