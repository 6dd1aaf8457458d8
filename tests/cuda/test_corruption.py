"""Copies that arrive wrong, on the simulated runtime: their series fail and say where and how."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from topoprobe.machine.sources import nvml
from topoprobe.measure.benchmark import Budget, Context
from topoprobe.measure.devices.cuda import inventory
from topoprobe.microbench.cuda_copy import CudaCopyBenchmark
from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import Gpu, Host, MachineDocument
from topoprobe.records.results import Series

MACHINE = MachineDocument(
    tool=Tool(tool_version="0"),
    origin="synthetic",
    sources=(),
    nodes=(
        Host(id="host", name="test"),
        Gpu(id="gpu0", name="GPU", pci_address="0000:01:00.0", pci_vendor="0x10de"),
    ),
)
SIZE, OFFSET = 256 << 10, 4096
JUNK = np.frombuffer(b"not what was sent!" * 8, dtype=np.uint8)

Copy = Callable[[int, int, int, int, int], None]
Measure = Callable[[Callable[[Copy], Copy]], dict[int, list[Series]]]


@pytest.fixture
def measure(
    fake_cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Iterator[Measure]:
    """Run the copy benchmark with another copy engine; series by size, both directions."""
    monkeypatch.setattr(nvml, "load", lambda: "no driver")
    inventory._opened.cache_clear()

    def run(spoiled: Callable[[Copy], Copy]) -> dict[int, list[Series]]:
        runtime = fake_cupy.cuda.runtime
        monkeypatch.setattr(runtime, "memcpyAsync", spoiled(runtime.memcpyAsync))
        context = Context(
            budget=Budget("quick", num_samples=3, max_series_s=1.0, memory_bytes=4 << 20),
            clock=time.monotonic,
            conditions=lambda: None,
            cpus=(0,),
            scratch=str(tmp_path),
        )
        found: dict[int, list[Series]] = {}
        for series in CudaCopyBenchmark().run(MACHINE, context).series:
            found.setdefault(int(series.factors["num_bytes"]), []).append(series)
        return found

    yield run
    inventory._opened.cache_clear()


def overwritten(real: Copy) -> Copy:
    """Bring every byte, then let something else write over 16 of them."""

    def copy(target: int, source: int, num_bytes: int, kind: int, stream: int) -> None:
        real(target, source, num_bytes, kind, stream)
        if num_bytes == SIZE:
            real(target + OFFSET, JUNK.ctypes.data, 16, kind, stream)

    return copy


def with_a_hole(real: Copy) -> Copy:
    """Leave 32 bytes as they were before."""

    def copy(target: int, source: int, num_bytes: int, kind: int, stream: int) -> None:
        if num_bytes != SIZE:
            real(target, source, num_bytes, kind, stream)
            return
        real(target, source, OFFSET, kind, stream)
        rest = OFFSET + 32
        real(target + rest, source + rest, num_bytes - rest, kind, stream)

    return copy


def shifted(real: Copy) -> Copy:
    """Bring the right bytes to the wrong place."""

    def copy(target: int, source: int, num_bytes: int, kind: int, stream: int) -> None:
        away = 8 if num_bytes == SIZE else 0
        real(target, source + away, num_bytes - away, kind, stream)

    return copy


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        (overwritten, "from offset 4096 on, 0 B were never written and 16 B were corrupted"),
        (with_a_hole, "from offset 4096 on, 32 B were never written and 0 B were corrupted"),
        (shifted, "from offset 0 on, 8 B were never written and 256 KiB were corrupted"),
    ],
)
def test_a_copy_that_arrives_wrong_fails_its_series_alone(
    measure: Measure, spoiled: Callable[[Copy], Copy], reason: str
) -> None:
    by_size = measure(spoiled)
    assert {one.name for one in by_size[SIZE]} == {"copy.h2d", "copy.d2h"}
    for one in by_size[SIZE]:
        assert (one.status, one.samples) == (Status.FAILED, ())
        assert one.reason == f"A copy arrived wrong: {reason}."
    others = [one for size, ones in by_size.items() if size != SIZE for one in ones]
    assert any(one.samples for one in others)
    assert Status.FAILED not in {one.status for one in others}


def test_a_copy_that_moves_nothing_any_more_fails_after_its_last_sample(measure: Measure) -> None:
    def tired(real: Copy) -> Copy:
        moved: dict[int, int] = {}

        def copy(target: int, source: int, num_bytes: int, kind: int, stream: int) -> None:
            moved[target] = moved.get(target, 0) + (num_bytes == SIZE)
            if num_bytes != SIZE or moved[target] <= 3:
                real(target, source, num_bytes, kind, stream)

        return copy

    by_size = measure(tired)
    for one in by_size[SIZE]:
        assert one.status is Status.FAILED
        assert one.samples
        assert "256 KiB were never written" in (one.reason or "")
    assert {one.status for one in by_size[SIZE // 16]} <= {Status.OK, Status.UNSTABLE}
