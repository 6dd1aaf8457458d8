"""What happens to each GPU around a measurement."""

from __future__ import annotations

import types
from typing import Any

import pytest

from tests.measure.support import Bench
from topoprobe.measure.devices.cuda.inventory import OpenGpu
from topoprobe.measure.series import Quantity, Trial, collect
from topoprobe.microbench import gpus
from topoprobe.records.base import Tool
from topoprobe.records.machine import Gpu, MachineDocument

NODE = Gpu(id="gpu0", name="GPU", pci_address=None)
MACHINE = MachineDocument(tool=Tool(tool_version="0"), origin="synthetic", sources=(), nodes=())


class FakeStream:
    """Every launch takes 0.1 s of the bench's clock."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def launch(self, kernel: str, *arguments: Any) -> None:
        assert kernel == "write"
        self._bench.clock.now_s += 0.1

    def synchronize(self) -> None:
        pass

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, *details: object) -> None:
        pass


def test_gpu_is_busy_for_half_a_second_before_its_first_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpus, "BUSY_S", 0.5)
    bench = Bench()
    device: Any = types.SimpleNamespace(
        reserve=lambda num_bytes, place: None,
        free_bytes=lambda: 1 << 30,
        open_stream=lambda: FakeStream(bench),
        kernels=types.SimpleNamespace(write="write"),
    )
    monkeypatch.setattr(gpus, "open_gpus", lambda *details: (OpenGpu(NODE, device),))
    began: list[float] = []

    def measure(gpu: OpenGpu, context: Any) -> Any:
        began.append(context.clock())
        return collect(context, [Trial.of(Quantity("x", "s", {"device": "gpu0"}), lambda: 1.0)])

    outcome = gpus.measure_each(MACHINE, bench.context(), measure, (("x", "s"),))
    assert began == [pytest.approx(0.5, abs=0.11)]
    assert began[0] >= 0.5
    assert outcome.series[0].samples
