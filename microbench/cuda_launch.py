"""The cost of a kernel launch on each GPU, without the cost of the Python that asks for it."""

from __future__ import annotations

from collections.abc import Iterable

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap
from topoprobe.measure.devices.cuda.inventory import OpenGpu
from topoprobe.measure.series import Quantity, Trial, collect
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Series

from .gpus import measure_each

# Few enough for the driver's queue to take them all behind a closed latch.
_NUM_LAUNCHES = 200


class CudaLaunchBenchmark:
    """Time per launch of an empty kernel."""

    name: str = "cuda.launch"
    summary: str = "Time empty kernels queued back to back on each GPU."
    revision: int = 1
    seconds: float = 1.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        return cuda_gap(machine)

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every usable GPU."""
        return measure_each(machine, context, _measure, (("launch.overhead", "s"),))


def _measure(gpu: OpenGpu, context: Context) -> Iterable[Series]:
    device = gpu.device

    def seconds_per_launch() -> float:
        latch = device.latch()
        with device.open_stream() as stream:
            stream.hold(latch)
            start = stream.record()
            for _ in range(_NUM_LAUNCHES):
                stream.launch(device.kernels.nothing)
            end = stream.record()
            # All are queued: from here on the GPU alone sets the pace.
            latch.open()
            stream.synchronize()
        return end.seconds_since(start) / _NUM_LAUNCHES

    quantity = Quantity("launch.overhead", "s", {"device": gpu.node.id}, is_better_higher=False)
    return collect(context, [Trial.of(quantity, seconds_per_launch)])
