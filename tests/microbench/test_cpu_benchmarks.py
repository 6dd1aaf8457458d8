"""The CPU experiments, run for real on little memory for a short time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.microbench.context import MIB, context, machine
from topoprobe.measure.devices.cpu import team
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.measure.statistics import steady_values
from topoprobe.microbench import compute, latency, rivals, roofline, stream
from topoprobe.records.base import Status
from topoprobe.records.results import Series

CPUS = available_cpus()
COUNTS = {1, len(CPUS)}


@pytest.fixture(autouse=True)
def short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "_MIN_SAMPLE_S", 1e-4)
    monkeypatch.setattr(team, "_MIN_SAMPLE_S_PER_THREAD", 0.0)
    monkeypatch.setattr(rivals, "_FAR_BEHIND_RATIO", 0.0)


def factor_values(series: Iterable[Series], name: str, factor: str) -> set[object]:
    return {one.factors[factor] for one in series if one.name == name}


def require_measured(series: Iterable[Series]) -> None:
    """Check that nothing failed and everything has samples; a busy machine may be unsteady."""
    for one in series:
        assert one.status in (Status.OK, Status.UNSTABLE), one.reason
        assert all(value > 0.0 for value in steady_values(one))
        assert one.factors["device"] == "host"


def test_stream_measures_kernels_threads_and_variants() -> None:
    series = stream.StreamBenchmark().run(machine(), context(6 * MIB)).series
    require_measured(series)
    assert {one.name for one in series} == {
        f"stream.{k}" for k in ("copy", "triad", "read", "write")
    }
    assert factor_values(series, "stream.triad", "threads") == COUNTS
    assert {"numpy", "numba", "numba_nt"} <= factor_values(series, "stream.triad", "variant")
    assert "numba" not in factor_values(series, "stream.read", "variant")
    assert factor_values(series, "stream.read", "array_bytes") == {2 * MIB}
    assert factor_values(series, "stream.read", "cache_ratio") == {0.25}


def test_stream_longer_suite_measures_all_kernels() -> None:
    series = stream.StreamBenchmark().run(machine(), context(6 * MIB, suite="full")).series
    assert {one.name for one in series} == {f"stream.{kernel}" for kernel in stream.ARRAYS_MOVED}


def one_element_short(out: Any, x: Any, y: object, scalar: float) -> None:
    out[:-1] = x[:-1]


def sum_of_all_but_one(out: Any, x: Any, y: object, scalar: float) -> None:
    out[0] = x[1:].sum()


@pytest.mark.parametrize(
    ("kernel", "wrong", "reason"),
    [
        ("copy", one_element_short, "not what numpy computes"),
        ("read", sum_of_all_but_one, "the sum is"),
    ],
)
def test_stream_wrong_result_fails_the_series(
    kernel: str, wrong: Callable[..., None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = stream.StreamVariant("broken", {kernel: wrong})
    monkeypatch.setattr(stream, "stream_variants", lambda: (broken,))
    monkeypatch.setattr(stream, "_KERNELS", {"quick": (kernel,)})
    series = stream.StreamBenchmark().run(machine(), context(6 * MIB, cpus=CPUS[:1])).series
    assert [one.status for one in series] == [Status.FAILED]
    assert reason in series[0].reason


def test_stream_variant_not_installed_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy_only = stream.stream_variants()[0]
    absent = stream.StreamVariant("numba", {}, "numba is not installed")
    monkeypatch.setattr(stream, "stream_variants", lambda: (numpy_only, absent))
    series = stream.StreamBenchmark().run(machine(), context(6 * MIB, cpus=CPUS[:1])).series
    skipped = [one for one in series if one.status is Status.SKIPPED]
    assert len(skipped) == 4
    assert {one.reason for one in skipped} == {"numba is not installed"}


def test_latency_pairs_latency_and_load_at_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_WINDOW_S", {"quick": 0.03})
    monkeypatch.setattr(latency, "_IDLE_HOPS", 2000)
    monkeypatch.setattr(latency, "_CHUNK_HOPS", 2000)
    monkeypatch.setattr(latency, "_LOAD_ARRAY_BYTES", 2 * MIB)
    monkeypatch.setattr(latency, "_LOAD_CHUNK", 1 << 16)
    reads, triads = latency.MIXES[:2]
    loads = (latency.Level(0, reads, 1000), latency.Level(1, triads, 0))
    monkeypatch.setattr(latency, "levels", lambda suite: loads)
    series = latency.LatencyBenchmark().run(machine(), context(4 * MIB)).series
    assert factor_values(series, "latency.idle", "ring_bytes") == {2 * MIB}
    assert factor_values(series, "latency.loaded", "level") == {0, 1}
    assert factor_values(series, "latency.load", "level") == {0, 1}
    assert factor_values(series, "latency.load", "mix") == {"reads", "2:1"}
    if len(CPUS) > 1:
        require_measured(series)


@pytest.mark.parametrize("suite", ["quick", "standard", "full"])
def test_latency_levels_load_with_every_mix_and_number_through(suite: str) -> None:
    loads = latency.levels(suite)
    assert [load.number for load in loads] == list(range(len(loads)))
    assert {load.mix.name for load in loads if load.num_spins == 0} == {
        mix.name for mix in latency.MIXES
    }
    assert sum(load.mix.name == "2:1" for load in loads) >= 2


def test_latency_on_one_cpu_skips_the_load() -> None:
    series = latency.LatencyBenchmark().run(machine(), context(4 * MIB, cpus=CPUS[:1])).series
    loaded = [one for one in series if one.name != "latency.idle"]
    assert {one.status for one in loaded} == {Status.SKIPPED}
    assert all("one CPU only" in (one.reason or "") for one in loaded)


def test_compute_wrong_sum_fails_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "_FMA_ROUNDS", 10_000)  # even: back where it started
    monkeypatch.setattr(compute, "gemm_variants", lambda: ())
    series = compute.ComputeBenchmark().run(machine(), context(4 * MIB, cpus=CPUS[:1])).series
    assert {one.status for one in series} == {Status.FAILED}
    assert all("sum up to" in (one.reason or "") for one in series)


def test_compute_measures_both_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "_FMA_ROUNDS", 10_001)
    monkeypatch.setattr(compute, "_GEMM_SIZES", {"quick": 128})
    series = compute.ComputeBenchmark().run(machine(), context(4 * MIB)).series
    measured = [one for one in series if one.status is not Status.SKIPPED]
    require_measured(measured)
    for name in ("compute.fma", "compute.gemm"):
        assert factor_values(measured, name, "dtype") == {"fp32", "fp64"}
        assert factor_values(measured, name, "threads") == COUNTS


def test_roofline_rises_with_intensity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "_ROUNDS", {"quick": (1, 64)})
    series = roofline.RooflineBenchmark().run(machine(), context(2 * MIB)).series
    require_measured(series)
    assert factor_values(series, "roofline", "threads") == {len(CPUS)}
    best = {
        (one.factors["dtype"], one.factors["intensity"]): max(steady_values(one)) for one in series
    }
    assert set(best) == {("fp32", 0.25), ("fp32", 16.0), ("fp64", 0.125), ("fp64", 8.0)}
    # 64 times the arithmetic on the same bytes cannot be slower per operation.
    assert best["fp32", 16.0] > best["fp32", 0.25]
