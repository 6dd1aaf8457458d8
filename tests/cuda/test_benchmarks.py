"""The CUDA benchmarks end to end, on a CUDA runtime made of CPU threads (conftest.py)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.machine.sources import nvml
from topoprobe.machine.sources.nvml.codes import Code
from topoprobe.machine.sources.nvml.fake import FakeGpu, FakeNvml
from topoprobe.machine.sources.telemetry import GpuTelemetry
from topoprobe.measure.benchmark import Budget, Context, GpuChoice, Outcome
from topoprobe.measure.devices.cuda import inventory
from topoprobe.microbench import (
    cuda_copy,
    cuda_gemm,
    cuda_host_memory,
    cuda_latency,
    cuda_roofline,
    cuda_stream,
    gpu_sizes,
)
from topoprobe.microbench.cuda_contention import CudaContentionBenchmark
from topoprobe.microbench.cuda_copy import CudaCopyBenchmark
from topoprobe.microbench.cuda_gemm import CudaGemmBenchmark
from topoprobe.microbench.cuda_host_memory import CudaHostMemoryBenchmark
from topoprobe.microbench.cuda_latency import CudaLatencyBenchmark
from topoprobe.microbench.cuda_launch import CudaLaunchBenchmark
from topoprobe.microbench.cuda_roofline import CudaRooflineBenchmark
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


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of 256 KiB: four times the fake GPU's cache."""
    monkeypatch.setattr(gpu_sizes, "_MIN_BYTES", 256 << 10)
    monkeypatch.setattr(cuda_stream, "_SMALLEST_BYTES", 16 << 10)


def in_suite(context: Context, suite: str) -> Context:
    return dataclasses.replace(context, budget=dataclasses.replace(context.budget, suite=suite))


def test_stream_benchmark_gives_every_kernel_in_both_shapes(
    gpu_machine: None, context: Context, small: None
) -> None:
    found = measured(CudaStreamBenchmark().run(MACHINE, context))
    names = ("read", "write", "copy", "scale", "add", "triad")
    assert set(found) == {*(f"stream.{name}" for name in names), "stream.sweep"}
    for name in names:
        rivals = found[f"stream.{name}"]
        assert {one.factors["variant"] for one in rivals} == {"strided", "one_pass"}
        assert {one.factors["array_bytes"] for one in rivals} == {256 << 10}
        assert all(len(one.samples) >= 3 for one in rivals)
    assert all(
        one.status in (Status.OK, Status.UNSTABLE) for ones in found.values() for one in ones
    )


def test_stream_benchmark_names_the_level_that_holds_the_arrays(
    gpu_machine: None, context: Context, small: None
) -> None:
    found = measured(CudaStreamBenchmark().run(MACHINE, in_suite(context, "full")))
    reads = [one.factors for one in found["stream.sweep"] if one.factors["kernel"] == "read"]
    assert [(one["array_bytes"] >> 10, one["level"], one["cache"]) for one in reads] == [
        (16, "l2", "warm"),
        (16, "l2", "cold"),
        (32, "l2", "warm"),
        (32, "l2", "cold"),
        (64, "between", "warm"),
        (64, "between", "cold"),
        (128, "between", "warm"),
        (256, "memory", "warm"),
    ]
    blocks = [one.factors["num_blocks"] for one in found["stream.occupancy"]]
    assert blocks == 3 * [1, 2, 4, 8, 16, 32]  # the fake GPU is full at 16


def test_stream_benchmark_of_a_wrong_kernel_fails_its_series(
    gpu_machine: None, context: Context, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = dataclasses.replace(cuda_stream._KERNELS[-1], scalars=(float("nan"),))
    monkeypatch.setattr(cuda_stream, "_KERNELS", (*cuda_stream._KERNELS[:-1], wrong))
    found = measured(CudaStreamBenchmark().run(MACHINE, context))
    assert {one.status for one in found["stream.triad"]} == {Status.FAILED}
    assert "wrong numbers at offset 0" in found["stream.triad"][0].reason
    assert Status.FAILED not in {one.status for one in found["stream.add"]}


def test_stream_benchmark_of_a_read_that_skips_words_fails_its_series(
    gpu_machine: None, context: Context, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topoprobe.measure.devices.cuda.bindings import Kernels

    real = Kernels.read
    monkeypatch.setattr(
        Kernels,
        "read",
        lambda self, a, sums, grid: real(self, a.piece(0, a.num_bytes - 16), sums, grid),
    )
    found = measured(CudaStreamBenchmark().run(MACHINE, context))
    assert {one.status for one in found["stream.read"]} == {Status.FAILED}
    assert "every word" in found["stream.read"][0].reason


def test_latency_benchmark_gives_a_ladder_and_loaded_pairs(
    gpu_machine: None, context: Context, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_latency, "_NUM_HOPS", 200)
    monkeypatch.setattr(cuda_latency, "_NUM_LOADED_WARM_HOPS", 10)
    assert len(cuda_latency._PAUSES_S) >= 10
    monkeypatch.setattr(cuda_latency, "_PAUSES_S", (1e-6, 0.0))  # a fake GPU rests thread by thread
    found = measured(CudaLatencyBenchmark().run(MACHINE, context))
    rings = [
        (one.factors["ring_bytes"] >> 10, one.factors["level"]) for one in found["latency.idle"]
    ]
    assert rings == [(16, "l2"), (64, "between"), (256, "memory")]
    assert len(found["latency.cycles"]) == 3
    loaded, load = found["latency.loaded"], found["latency.load"]
    assert len(loaded) == len(load) == 4  # two mixes, two pauses
    assert [one.factors["level"] for one in loaded] == list(range(len(loaded)))
    assert {one.factors["mix"] for one in load} == {"reads", "1:1"}
    assert all(sample.value > 0 for one in (*loaded, *load) for sample in one.samples)


def test_roofline_benchmark_gives_points_and_ceilings_of_every_type(
    gpu_machine: None, context: Context, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_roofline, "_ROUNDS", {"quick": (2, 4)})
    monkeypatch.setattr(cuda_roofline, "_CEILING_ROUNDS", 6)
    found = measured(CudaRooflineBenchmark().run(MACHINE, context))
    types = ["fp32", "fp64", "fp16", "bf16"]
    assert [one.factors["dtype"] for one in found["compute.fma"]] == types
    points = [one.factors for one in found["roofline"] if one.factors["dtype"] == "fp32"]
    # Two flop per round on 8 bytes: 4 read, 4 written.
    assert [one["intensity"] for one in points] == [0.5, 1.0]
    assert all(one.status is not Status.FAILED for ones in found.values() for one in ones)


def test_roofline_benchmark_of_wrong_arithmetic_fails_its_series(
    gpu_machine: None, context: Context, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topoprobe.measure.devices.cuda.bindings import Kernels

    real = Kernels.intensity
    monkeypatch.setattr(
        Kernels, "intensity", lambda self, data, kind, rounds: real(self, data, kind, 2)
    )
    found = measured(CudaRooflineBenchmark().run(MACHINE, context))
    assert {(one.status, one.reason) for one in found["roofline"]} == {
        (Status.FAILED, "the number at offset 0 is wrong after three rounds")
    }


def test_gemm_benchmark_without_a_torch_for_cuda_is_missing(gpu_machine: None) -> None:
    pytest.importorskip("torch")
    assert "no CUDA" in (CudaGemmBenchmark().missing(MACHINE) or "")


def test_gemm_benchmark_gives_every_type_and_the_reason_of_a_failure(
    gpu_machine: None, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FakeGemm:
        @classmethod
        def of(cls, device: Any, dtype: str, size: int) -> FakeGemm:
            if dtype == "fp64":
                raise MeasurementFailed("torch could not multiply fp64")
            return cls()

        def enqueue(self, stream: Any) -> None:
            pass

        def check(self) -> None:
            pass

    monkeypatch.setattr(cuda_gemm, "Gemm", FakeGemm)
    monkeypatch.setattr(cuda_gemm, "_SIZES", {"quick": (64, 8192)})
    series = measured(CudaGemmBenchmark().run(MACHINE, context))["compute.gemm"]
    by_type = {one.factors["dtype"]: one for one in series if one.factors["size"] == 64}
    assert by_type["fp64"].status is Status.FAILED
    assert all(by_type[kind].samples for kind in ("fp16", "bf16", "tf32", "fp32"))
    large = [one for one in series if one.factors["size"] == 8192]
    assert {one.status for one in large} == {Status.SKIPPED}
    assert "half of the free memory" in large[0].reason


def test_copy_benchmark_gives_both_directions_at_every_size_that_fits(
    gpu_machine: None, context: Context
) -> None:
    found = measured(CudaCopyBenchmark().run(MACHINE, context))
    assert set(found) == {"copy.h2d", "copy.d2h"}
    for sizes in found.values():
        by_size = {one.factors["num_bytes"]: one for one in sizes}
        assert [size for size, one in by_size.items() if one.samples] == [
            4, 64, 1 << 10, 16 << 10, 256 << 10,
        ]  # fmt: skip
        assert by_size[64 << 20].status is Status.SKIPPED
        assert "64.0 MiB" in by_size[64 << 20].reason


@pytest.mark.parametrize(
    ("num_lost", "found"),
    [(1024, r"from offset 3072 on, 1\.00 KiB were never"), (1, "4 bytes arrived wrong, from")],
)
def test_copy_benchmark_on_a_link_that_loses_data_fails_with_the_offset(
    gpu_machine: None,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    num_lost: int,
    found: str,
) -> None:
    import cupy

    monkeypatch.setattr(cuda_copy, "_SMALLEST_BYTES", 4096 if num_lost == 1024 else 4)
    real = cupy.cuda.runtime.memcpyAsync

    def lossy(target: int, source: int, num_bytes: int, kind: int, stream: int) -> None:
        real(target, source, num_bytes - num_lost, kind, stream)

    monkeypatch.setattr(cupy.cuda.runtime, "memcpyAsync", lossy)
    with pytest.raises(MeasurementFailed, match=found):
        CudaCopyBenchmark().run(MACHINE, context)


def test_host_memory_benchmark_gives_every_kind_of_memory(
    gpu_machine: None, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_host_memory, "_SIZES", {"quick": (64 << 10,)})
    found = measured(CudaHostMemoryBenchmark().run(MACHINE, context))
    near = found["host_memory.h2d"]
    assert {(one.factors["memory"], one.factors["executor"]) for one in near} == {
        ("pinned", "ce"), ("pinned_small", "ce"), ("pageable", "ce"), ("mapped", "sm"),
    }  # fmt: skip
    assert all(one.samples for one in (*near, *found["host_memory.d2h"]))
    assert {(one.factors["placement"], one.factors["distance"]) for one in near} == {
        ("verified", "near")
    }


def test_host_memory_benchmark_of_a_node_that_is_full_skips_it_with_the_reason(
    gpu_machine: None, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from topoprobe.measure.devices.cuda.device import CudaDevice

    monkeypatch.setattr(cuda_host_memory, "_SIZES", {"quick": (64 << 10,)})
    monkeypatch.setattr(CudaDevice, "host_nodes", (0, 1))
    real = CudaDevice.reserve

    def reserve(self: Any, num_bytes: int, place: str) -> Any:
        if place.endswith(":1"):
            raise EnvironmentMissing("node 1 is full")
        return real(self, num_bytes, place)

    monkeypatch.setattr(CudaDevice, "reserve", reserve)
    found = measured(CudaHostMemoryBenchmark().run(MACHINE, context))
    far = [one for one in found["host_memory.d2h"] if one.factors["node"] == 1]
    assert {(one.status, one.reason) for one in far} == {(Status.SKIPPED, "node 1 is full")}


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
        CudaGemmBenchmark(),
        CudaHostMemoryBenchmark(),
        CudaLatencyBenchmark(),
        CudaLaunchBenchmark(),
        CudaRooflineBenchmark(),
    ],
)
def test_benchmark_of_a_gpu_that_another_process_uses_leaves_it_alone(
    gpu_machine: None, context: Context, monkeypatch: pytest.MonkeyPatch, benchmark: Any
) -> None:
    busy = driver(nvmlDeviceGetComputeRunningProcesses=[{"pid": 4242}])
    monkeypatch.setattr(nvml, "load", lambda: busy)
    outcome = benchmark.run(MACHINE, context)
    assert outcome.status is Status.SKIPPED
    assert "in use by process 4242" in (outcome.reason or "")
    assert {one.status for one in outcome.series} == {Status.SKIPPED}


def test_busy_gpu_is_measured_where_that_is_allowed(
    gpu_machine: None, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = driver(nvmlDeviceGetComputeRunningProcesses=[{"pid": 4242}])
    monkeypatch.setattr(nvml, "load", lambda: busy)
    allowing = dataclasses.replace(context, gpus=GpuChoice(allows_busy=True))
    (series,) = CudaLaunchBenchmark().run(MACHINE, allowing).series
    assert series.samples


def test_gpu_that_there_is_not_cannot_be_chosen(gpu_machine: None, context: Context) -> None:
    with pytest.raises(UsageError, match="gpu:1 is no NVIDIA GPU of this machine"):
        CudaLaunchBenchmark().run(MACHINE, dataclasses.replace(context, gpus=GpuChoice((1,))))


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
