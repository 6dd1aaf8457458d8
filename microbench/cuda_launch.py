"""The cost of a kernel launch on each GPU, without the cost of the Python that asks for it."""

from __future__ import annotations

from collections.abc import Iterable

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cuda.availability import cuda_gap
from topoprobe.measure.devices.cuda.inventory import OpenGpu
from topoprobe.measure.series import Quantity, Trial, collect
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Series

from .cuda_timing import Repeated
from .gpus import measure_each


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
    nothing = gpu.device.kernels.nothing
    launches = Repeated(gpu.device, lambda stream: stream.launch(nothing))
    quantity = Quantity("launch.overhead", "s", {"device": gpu.node.id}, is_better_higher=False)
    return collect(context, [Trial.of(quantity, launches.seconds)])
