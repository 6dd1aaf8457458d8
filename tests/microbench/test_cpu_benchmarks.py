"""The CPU experiments, run for real on little memory for a short time."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.microbench.context import MIB, context, machine
from topoprobe.errors import UsageError
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.measure.flows import Work, parse_flow_set
from topoprobe.measure.statistics import steady_values
from topoprobe.microbench import compute, contention, latency, roofline, stream
from topoprobe.records.base import Status
from topoprobe.records.results import Series

CPUS = available_cpus()
COUNTS = {1, len(CPUS)}


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
        f"stream.{k}" for k in ("copy", "scale", "add", "triad")
    }
    assert factor_values(series, "stream.triad", "threads") == COUNTS
    assert {"numpy", "numba", "numba_nt"} <= factor_values(series, "stream.triad", "variant")
    assert factor_values(series, "stream.add", "array_bytes") == {2 * MIB}
    assert factor_values(series, "stream.add", "cache_ratio") == {0.25}


def test_stream_wrong_result_fails_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_element_short(out: object, x: object, y: object, scalar: float) -> None:
        out[:-1] = x[:-1]  # type: ignore[index]

    broken = stream.StreamVariant("broken", dict.fromkeys(stream.ARRAYS_MOVED, one_element_short))
    monkeypatch.setattr(stream, "stream_variants", lambda: (broken,))
    monkeypatch.setattr(stream, "ARRAYS_MOVED", {"copy": 2})
    series = stream.StreamBenchmark().run(machine(), context(6 * MIB, cpus=CPUS[:1])).series
    assert [one.status for one in series] == [Status.FAILED]
    assert "not what numpy computes" in series[0].reason


def test_stream_variant_not_installed_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy_only = stream.stream_variants()[0]
    absent = stream.StreamVariant("numba", {}, "numba is not installed")
    monkeypatch.setattr(stream, "stream_variants", lambda: (numpy_only, absent))
    series = stream.StreamBenchmark().run(machine(), context(6 * MIB, cpus=CPUS[:1])).series
    skipped = [one for one in series if one.status is Status.SKIPPED]
    assert len(skipped) == 4
    assert {one.reason for one in skipped} == {"numba is not installed"}


def test_latency_pairs_latency_and_load_at_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_WINDOW_S", 0.03)
    monkeypatch.setattr(latency, "_IDLE_HOPS", 2000)
    monkeypatch.setattr(latency, "_CHUNK_HOPS", 2000)
    monkeypatch.setattr(latency, "_LOAD_ARRAY_BYTES", 2 * MIB)
    monkeypatch.setattr(latency, "_LOAD_CHUNK", 1 << 16)
    monkeypatch.setattr(latency, "_SPINS_BY_LEVEL", {"quick": (1000, 0)})
    series = latency.LatencyBenchmark().run(machine(), context(4 * MIB)).series
    assert factor_values(series, "latency.idle", "ring_bytes") == {2 * MIB}
    assert factor_values(series, "latency.loaded", "level") == {0, 1}
    assert factor_values(series, "latency.load", "level") == {0, 1}
    if len(CPUS) > 1:
        require_measured(series)


def test_latency_on_one_cpu_skips_the_load() -> None:
    series = latency.LatencyBenchmark().run(machine(), context(4 * MIB, cpus=CPUS[:1])).series
    loaded = [one for one in series if one.name != "latency.idle"]
    assert {one.status for one in loaded} == {Status.SKIPPED}
    assert all("one CPU only" in (one.reason or "") for one in loaded)


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
    best = {
        (one.factors["dtype"], one.factors["intensity"]): max(steady_values(one)) for one in series
    }
    assert set(best) == {("fp32", 0.25), ("fp32", 16.0), ("fp64", 0.125), ("fp64", 8.0)}
    # 64 times the arithmetic on the same bytes cannot be slower per operation.
    assert best["fp32", 16.0] > best["fp32", 0.25]


def test_contention_sets_are_ten_pairs_and_four_kinds_together() -> None:
    sets = contention.sets_of((4, 7))
    pairs, together = sets[:-1], sets[-1]
    kinds = [tuple(flow.work for flow in one.flows) for one in pairs]
    assert len(set(kinds)) == 10
    assert {flow.work for flow in together.flows} == set(Work)
    assert all(parse_flow_set(str(one)) == one for one in sets)
    assert {str(flow.destination) for flow in pairs[0].flows} == {"core:4", "core:7"}


def test_contention_measures_flows_alone_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention, "_WINDOW_S", {"quick": 0.03})
    text = f"host:0 -> core:{CPUS[0]} via cpu, size=16MiB"
    flows = parse_flow_set(f"{text} | {text}, work=stream")
    series = contention.GivenFlows(flows).run(machine(), context(128 * MIB)).series
    require_measured(series)
    solo = {one.factors["flow"] for one in series if one.name == "contention.solo"}
    shared = [one for one in series if one.name == "contention.shared"]
    assert {one.factors["flow"] for one in shared} == solo
    assert [one.factors["index"] for one in shared] == [0, 1]
    assert {one.factors["set"] for one in shared} == {str(flows)}
    assert {one.factors["num_cpus"] for one in shared} == {1}


def test_contention_equal_flows_of_a_set_run_on_their_own_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contention, "_WINDOW_S", {"quick": 0.03})
    flows = parse_flow_set(" | ".join(["host:0 -> host:0 via cpu, size=16MiB"] * 2))
    series = contention.GivenFlows(flows).run(machine(), context(128 * MIB)).series
    require_measured(series)
    (num_cpus,) = factor_values(series, "contention.shared", "num_cpus")
    assert num_cpus == min(2, len(CPUS))


def test_contention_given_flows_expect_the_time_of_all_windows() -> None:
    text = "host:0 -> host:0 via cpu, duration=2s"
    one, two = (contention.GivenFlows(parse_flow_set(" | ".join([text] * n))) for n in (1, 2))
    assert one.seconds >= 2 * 5 * 2.0
    assert two.seconds == pytest.approx(1.5 * one.seconds)


def test_contention_too_little_memory_is_refused() -> None:
    flows = parse_flow_set("host:0 -> host:0 via cpu, size=64MiB")
    with pytest.raises(UsageError, match=r"need 128 MiB of memory and 8\.00 MiB may be used"):
        contention.GivenFlows(flows).run(machine(), context(8 * MIB))
