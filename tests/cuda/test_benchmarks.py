"""The CUDA benchmarks end to end, on a CUDA runtime made of CPU threads (conftest.py)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from topoprobe.errors import MeasurementFailed
from topoprobe.machine.sources import nvml
from topoprobe.machine.sources.nvml.codes import Code
from topoprobe.machine.sources.nvml.fake import FakeGpu, FakeNvml
from topoprobe.machine.sources.telemetry import GpuTelemetry
from topoprobe.measure.benchmark import Budget, Context, Outcome
from topoprobe.measure.devices.cuda import inventory
from topoprobe.microbench.cuda_contention import CudaContentionBenchmark
from topoprobe.microbench.cuda_copy import CudaCopyBenchmark
from topoprobe.microbench.cuda_launch import CudaLaunchBenchmark
from topoprobe.microbench.cuda_stream import CudaStreamBenchmark
from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import Gpu, Host, MachineDocument

NODE = "gpu@0000:01:00.0"
MACHINE = MachineDocument(
    tool=Tool(tool_version="0"),
    origin="synthetic",
    sources=(),
    nodes=(
        Host(id="host", name="test"),
        Gpu(id=NODE, name="GPU", pci_address="0000:01:00.0", pci_vendor="0x10de"),
    ),
)


def driver(*refused: str, **changed: Any) -> FakeNvml:
    """What NVML answers for an H100 under load."""
    answers = {
        "nvmlDeviceGetPowerUsage": 412_500,
        "nvmlDeviceGetClockInfo": lambda domain: {1: 1980, 2: 2619}[domain],
        "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetCurrentClocksEventReasons": 0x05,
    }
    gpu = FakeGpu(address="00000000:01:00.0", changed={**answers, **changed})
    return FakeNvml([gpu], dict.fromkeys(refused, Code.NOT_SUPPORTED))


@pytest.fixture
def gpu_machine(fake_cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    inventory._opened.cache_clear()
    monkeypatch.setattr(nvml, "load", driver)
    yield
    inventory._opened.cache_clear()


@pytest.fixture
def context(tmp_path: Any) -> Context:
    return Context(
        budget=Budget("quick", num_samples=3, max_series_s=2.0, memory_bytes=4 << 20),
        clock=time.monotonic,
        conditions=lambda: None,
        cpus=(0,),
        scratch=str(tmp_path),
    )


def measured(outcome: Outcome) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for series in outcome.series:
        assert series.factors["device"] == NODE
        found.setdefault(series.name, []).append(series)
    return found


def test_stream_benchmark_gives_every_kernel_in_both_shapes(
    gpu_machine: None, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topoprobe.microbench import cuda_stream

    monkeypatch.setattr(cuda_stream, "_MIN_ARRAY_BYTES", 256 << 10)
    found = measured(CudaStreamBenchmark().run(MACHINE, context))
    assert set(found) == {"stream.copy", "stream.scale", "stream.add", "stream.triad"}
    for rivals in found.values():
        assert {one.factors["variant"] for one in rivals} == {"strided", "one_pass"}
        assert {one.factors["array_bytes"] for one in rivals} == {256 << 10}
        assert all(sample.value > 0 for one in rivals for sample in one.samples)
        assert all(len(one.samples) >= 3 for one in rivals)


def test_stream_benchmark_of_a_wrong_kernel_fails_its_series(
    gpu_machine: None, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topoprobe.microbench import cuda_stream

    monkeypatch.setattr(cuda_stream, "_MIN_ARRAY_BYTES", 256 << 10)
    monkeypatch.setattr(cuda_stream, "_SCALAR", float("nan"))
    found = measured(CudaStreamBenchmark().run(MACHINE, context))
    assert {one.status for one in found["stream.triad"]} == {Status.FAILED}
    assert "wrong numbers at offset 0" in found["stream.triad"][0].reason
    assert Status.FAILED not in {one.status for one in found["stream.add"]}


def test_copy_benchmark_gives_both_directions_at_every_size_that_fits(
    gpu_machine: None, context: Context
) -> None:
    found = measured(CudaCopyBenchmark().run(MACHINE, context))
    assert set(found) == {"copy.h2d", "copy.d2h"}
    for sizes in found.values():
        by_size = {one.factors["num_bytes"]: one for one in sizes}
        assert [size for size, one in by_size.items() if one.samples] == [4096, 65536, 1 << 20]
        assert by_size[256 << 20].status is Status.SKIPPED
        assert "256 MiB" in by_size[256 << 20].reason


def test_copy_benchmark_on_a_link_that_loses_data_fails_with_the_offset(
    gpu_machine: None, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cupy

    real = cupy.cuda.runtime.memcpyAsync

    def lossy(target: int, source: int, num_bytes: int, kind: int, stream: int) -> None:
        real(target, source, num_bytes - 1024, kind, stream)

    monkeypatch.setattr(cupy.cuda.runtime, "memcpyAsync", lossy)
    with pytest.raises(MeasurementFailed, match=r"from offset 3072 on, 1\.00 KiB were never"):
        CudaCopyBenchmark().run(MACHINE, context)


def test_contention_benchmark_gives_each_flow_alone_and_together(
    gpu_machine: None, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topoprobe.microbench import cuda_contention

    monkeypatch.setattr(cuda_contention, "_CHUNK_BYTES", 64 << 10)
    monkeypatch.setattr(cuda_contention, "_DURATION_S", 0.02)
    found = measured(CudaContentionBenchmark().run(MACHINE, context))
    down, up = f"host:0 -> {NODE} via ce", f"{NODE} -> host:0 via ce"
    assert [(one.factors["set"], one.factors["flow"]) for one in found["contention.solo"]] == [
        (down, down),
        (up, up),
    ]
    assert [
        (one.factors["set"], one.factors["flow"], one.factors["index"])
        for one in found["contention.shared"]
    ] == [(f"{down} | {up}", down, 0), (f"{down} | {up}", up, 1)]
    assert all(one.samples for ones in found.values() for one in ones)


def test_launch_benchmark_gives_a_time_per_launch(gpu_machine: None, context: Context) -> None:
    (series,) = CudaLaunchBenchmark().run(MACHINE, context).series
    assert (series.name, series.unit, series.is_better_higher) == ("launch.overhead", "s", False)
    assert all(0 < sample.value < 0.1 for sample in series.samples)


def test_samples_carry_the_gpus_conditions(gpu_machine: None, context: Context) -> None:
    (series,) = CudaLaunchBenchmark().run(MACHINE, context).series
    conditions = series.samples[0].conditions
    assert conditions.sm_clock_hz == 1.98e9
    assert conditions.memory_clock_hz == 2.619e9
    assert conditions.power_w == pytest.approx(412.5)
    assert conditions.temperature_c == 61
    assert (conditions.pcie_generation, conditions.pcie_num_lanes) == (5, 16)
    assert conditions.throttle_reasons == ("software_power_cap",)


@pytest.mark.parametrize(
    "benchmark",
    [
        CudaStreamBenchmark(),
        CudaCopyBenchmark(),
        CudaContentionBenchmark(),
        CudaLaunchBenchmark(),
    ],
)
def test_benchmark_of_a_gpu_that_another_process_uses_leaves_it_alone(
    gpu_machine: None, context: Context, monkeypatch: pytest.MonkeyPatch, benchmark: Any
) -> None:
    busy = driver(nvmlDeviceGetComputeRunningProcesses=[{"pid": 4242}])
    monkeypatch.setattr(nvml, "load", lambda: busy)
    assert benchmark.missing(MACHINE) is None
    outcome = benchmark.run(MACHINE, context)
    assert outcome.status is Status.SKIPPED
    assert "in use by process 4242" in (outcome.reason or "")
    assert {one.status for one in outcome.series} == {Status.SKIPPED}


def test_use_by_others_counts_neither_this_process_nor_an_idle_gpu() -> None:
    own = driver(nvmlDeviceGetComputeRunningProcesses=[{"pid": 7}])
    assert GpuTelemetry(own, "0000:01:00.0").use_by_others(own_pid=7) is None
    assert GpuTelemetry(driver(), "0000:01:00.0").use_by_others(own_pid=7) is None


def test_use_by_others_in_another_container_is_told_by_the_load() -> None:
    hidden = driver(nvmlDeviceGetUtilizationRates={"gpu": 88, "memory": 40})
    assert "88 % busy" in (GpuTelemetry(hidden, "0000:01:00.0").use_by_others(own_pid=7) or "")


def test_telemetry_that_the_driver_refuses_is_left_out() -> None:
    mute = driver("nvmlDeviceGetPowerUsage", "nvmlDeviceGetCurrentClocksEventReasons")
    reading = GpuTelemetry(mute, "0000:01:00.0").reading()
    assert reading.power_w is None
    assert reading.throttle_reasons == ()
    assert reading.temperature_c == 61


def test_gpu_split_by_mig_is_left_alone(gpu_machine: None, context: Context) -> None:
    import msgspec

    split = msgspec.structs.replace(
        MACHINE,
        nodes=(MACHINE.nodes[0], msgspec.structs.replace(MACHINE.nodes[1], is_mig_enabled=True)),
    )
    assert "MIG" in (CudaLaunchBenchmark().run(split, context).reason or "")
