"""Made-up machines of several GPUs on the simulated CUDA runtime of conftest.py."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest

from topoprobe.machine.sources import nvml
from topoprobe.machine.sources.nvml.fake import FakeGpu, FakeNvml
from topoprobe.machine.sources.scan import make_up
from topoprobe.measure.benchmark import Budget, Context
from topoprobe.measure.concurrent import Lane
from topoprobe.measure.devices.cpu.buffer import CpuBuffer
from topoprobe.measure.devices.cuda import flows, inventory
from topoprobe.measure.devices.cuda.availability import nvidia_gpus
from topoprobe.measure.window import Trace
from topoprobe.microbench import flow_run, flow_sets
from topoprobe.records.machine import MachineDocument

KIB = 1 << 10
NUM_RUN, NUM_TOLD = 5, 60  # chunks
TWO_GPUS = "2 socket: numa(1gib): gpu(h100 nvlink=18)"


class Box:
    """A machine whose GPUs are simulated.

    Attributes
    ----------
    machine : MachineDocument
        As made up.
    gpus : list of str
        Ids of its GPUs, in order.
    opened : set of (int, int)
        Pairs of GPUs between which peer access was opened.
    """

    def __init__(self, machine: MachineDocument) -> None:
        self.machine = machine
        self.gpus = [gpu.id for gpu in nvidia_gpus(machine)]
        self.opened: set[tuple[int, int]] = set()


def simulate(
    cupy: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    name: str = TWO_GPUS,
    can_reach: Callable[[int, int], bool] = lambda one, other: True,
    busy: tuple[int, ...] = (),
    is_timed: bool = False,
) -> Box:
    """Let the simulated runtime show the GPUs of a made-up machine.

    Parameters
    ----------
    cupy : module
        The fixture `fake_cupy`.
    monkeypatch : MonkeyPatch
        Undoes it.
    name : str
        As ``topoprobe scan`` takes it.
    can_reach : callable
        Whether one GPU may have access to another's memory.
    busy : tuple of int
        GPUs that another process uses.
    is_timed : bool
        Whether sets are run by the real runner; else a few chunks of every flow are, and their
        times are made up, so that no test waits for a scheduler.
    """
    machine = make_up(name)
    assert machine is not None
    box = Box(machine)
    addresses = [str(gpu.pci_address) for gpu in nvidia_gpus(machine)]
    current: list[int] = []

    runtime: Any = cupy.cuda.runtime  # type: ignore[attr-defined]

    class Device(cupy.cuda.Device):  # type: ignore[misc, name-defined]
        def __enter__(self) -> Device:
            current.append(self.id)
            return self

        def __exit__(self, *details: object) -> None:
            current.pop()

    def open_access(other: int) -> None:
        if (current[-1], other) in box.opened:
            error = runtime.CUDARuntimeError("cudaErrorPeerAccessAlreadyEnabled")
            error.status = 704
            raise error
        box.opened.add((current[-1], other))

    runtime.deviceGetByPCIBusId = addresses.index
    runtime.getDeviceCount = lambda: len(addresses)
    runtime.deviceCanAccessPeer = can_reach
    runtime.deviceEnablePeerAccess = open_access
    cupy.cuda.Device = Device  # type: ignore[attr-defined]
    driver = FakeNvml(
        [
            FakeGpu(
                address=f"0000{address}",
                changed={"nvmlDeviceGetComputeRunningProcesses": [{"pid": 4242}]}
                if index in busy
                else {},
            )
            for index, address in enumerate(addresses)
        ]
    )
    monkeypatch.setattr(nvml, "load", lambda: driver)
    inventory._opened.cache_clear()
    # Imported here, for it imports cupy, and by name, for it is another module in every test.
    memory = importlib.import_module("topoprobe.measure.devices.cuda.memory")
    monkeypatch.setattr(memory, "buffer_on_node", _buffer)
    for link in ("HOST", "PEER", "LOCAL"):
        monkeypatch.setattr(flows, f"_{link}_CHUNK_BYTES", 16 * KIB)
    monkeypatch.setattr(flows, "_CACHE_MULTIPLE", 1)
    monkeypatch.setattr(flows, "_QUEUED_S", 1e-3)
    monkeypatch.setattr(flow_sets, "_DEFAULT_SIZE_BYTES", 64 * KIB)
    monkeypatch.setattr(flow_sets, "_MIN_SIZE_BYTES", 16 * KIB)
    monkeypatch.setattr(flow_sets, "_WINDOW_S", {"quick": 0.1})
    if not is_timed:
        monkeypatch.setattr(flow_run, "trace_flows", made_up_traces)
    return box


def made_up_traces(
    flows: Sequence[Sequence[Lane]], duration_s: float, **clocks: object
) -> tuple[tuple[Trace, ...], ...]:
    """Run some chunks of every lane; return traces of many more, at a steady pace."""

    def trace(lane: Lane) -> Trace:
        for _ in range(NUM_RUN):
            lane.enqueue(lane.stream)
        lane.stream.synchronize()
        running_s = lane.duration_s or duration_s - lane.delay_s
        ends_s = (lane.delay_s + running_s * n / NUM_TOLD for n in range(1, NUM_TOLD + 1))
        return Trace(lane.delay_s, tuple(ends_s), lane.work)

    return tuple(tuple(trace(lane) for lane in lanes) for lanes in flows)


def context(suite: str = "quick", num_samples: int = 1) -> Context:
    """Return a context with little time and memory, whose series end after few samples."""
    return Context(
        budget=Budget(suite, num_samples, 0.05, 64 << 20),
        clock=time.monotonic,
        conditions=lambda: None,
        cpus=(0,),
        scratch="/nonexistent",
    )


def _buffer(num_bytes: int, node: int, fill: Callable[[Any], object]) -> CpuBuffer:
    """Stand in for a NUMA node that the machine of the test does not have."""
    buffer = CpuBuffer(num_bytes, f"host:{node}")
    fill(buffer.array)
    return buffer
