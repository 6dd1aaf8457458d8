"""What only a GPU can show: the real runtime, and that nothing measured on it fails."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from topoprobe.measure.benchmark import Budget, Context
from topoprobe.measure.devices.cuda.availability import cuda_gap, nvidia_gpus
from topoprobe.measure.devices.cuda.inventory import OpenGpu, open_gpus
from topoprobe.microbench import BENCHMARKS
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument

pytestmark = pytest.mark.gpu

KIB = 1 << 10


@pytest.fixture(scope="module")
def machine() -> MachineDocument:
    """This machine; its absence of GPUs skips the test with the reason."""
    from topoprobe.machine.sources.scan import scan_live

    found = scan_live(captured_at="2000-01-01T00:00:00+00:00")
    gap = "no NVIDIA GPU" if not nvidia_gpus(found) else cuda_gap(found)
    if gap is not None:
        pytest.skip(gap)
    return found


@pytest.fixture
def device(machine: MachineDocument) -> Any:
    usable = [gpu for gpu in open_gpus(machine) if isinstance(gpu, OpenGpu)]
    if not usable:
        pytest.skip("every GPU is in use by others")
    return usable[0].device


@pytest.mark.parametrize("place", ["gpu", "pinned:0"])
def test_verify_tells_an_injected_corruption_from_what_was_never_written(
    device: Any, place: str
) -> None:
    source = device.allocate(64 * KIB, "pinned:0", seed=3)
    target = device.allocate(64 * KIB, place, seed=4)
    source.host_view("uint64")[512] ^= np.uint64(1)
    with device.open_stream() as stream:
        stream.copy_async(target, source, 60 * KIB)
        stream.synchronize()
    mismatch = device.verify(target, seed=3, poison_seed=4)
    assert mismatch is not None
    assert mismatch.first_bad_offset_bytes == 4 * KIB
    assert mismatch.num_corrupted_bytes == 8
    assert mismatch.num_unwritten_bytes == 4 * KIB


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "benchmark",
    [one for one in BENCHMARKS if one.name.startswith("cuda.")],
    ids=lambda one: one.name,
)
def test_no_series_of_a_cuda_benchmark_fails(
    machine: MachineDocument, benchmark: Any, tmp_path: Any
) -> None:
    gap = benchmark.missing(machine)
    if gap is not None:
        pytest.skip(gap)
    context = Context(
        budget=Budget("quick", num_samples=5, max_series_s=1.5, memory_bytes=4 << 30),
        clock=time.monotonic,
        conditions=lambda: None,
        cpus=(0,),
        scratch=str(tmp_path),
    )
    outcome = benchmark.run(machine, context)
    failed = [(one.name, one.reason) for one in outcome.series if one.status is Status.FAILED]
    assert failed == []
