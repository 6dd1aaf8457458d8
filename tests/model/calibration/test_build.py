"""Known results give the known estimates."""

from __future__ import annotations

import pytest

from tests.model.calibration.samples import TOOL, results, series
from topoprobe.errors import ModelError
from topoprobe.model.calibration.build import calibrate
from topoprobe.records.base import Estimate, Source, Status
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.documents import decode, encode
from topoprobe.records.results import Experiment, ResultsDocument, Series


def calibrated(*members: Series, extra: tuple[Experiment, ...] = ()) -> CalibrationDocument:
    return calibrate(results(*members, extra=extra), tool=TOOL)


def close(estimate: Estimate | None, value: float) -> bool:
    return estimate is not None and estimate.value == pytest.approx(value, rel=0.01)


def test_stream_takes_the_best_variant_per_thread_count_and_ignores_the_warmup() -> None:
    document = calibrated(
        series("stream.triad", 10e9, threads=1, variant="numpy", array_bytes=1),
        series("stream.triad", 12e9, threads=1, variant="numba", array_bytes=1, warmup=99e9),
        series("stream.triad", 23e9, threads=2, variant="torch", array_bytes=1),
    )
    (device,) = document.devices
    assert [(rate.num_threads, rate.variant) for rate in device.stream] == [
        (1, "numba"),
        (2, "torch"),
    ]
    assert close(device.memory_bandwidth_bytes_per_s, 23e9)
    estimate = device.stream[0].rate_bytes_per_s
    assert close(estimate, 12e9)
    assert estimate.low < estimate.value < estimate.high < 13e9
    assert (estimate.n, estimate.source) == (6, Source.MEASURED)
    assert "test.bench r3" in estimate.evidence


def test_compute_and_roofline_keep_the_best_per_point() -> None:
    document = calibrated(
        series("compute.fma", 100e9, "flop_per_s", dtype="fp32", threads=2, variant="w8"),
        series("compute.fma", 150e9, "flop_per_s", dtype="fp32", threads=2, variant="w16"),
        series("compute.gemm", 140e9, "flop_per_s", dtype="fp32", threads=2, variant="t", size=9),
        series("roofline", 9e9, "flop_per_s", dtype="fp32", threads=2, intensity=1.0, variant="a"),
        series("roofline", 2e9, "flop_per_s", dtype="fp32", threads=2, intensity=0.25, variant="a"),
    )
    (device,) = document.devices
    assert [(rate.method, rate.variant) for rate in device.compute] == [
        ("fma", "w16"),
        ("gemm", "t"),
    ]
    assert [point.intensity_flop_per_byte for point in device.roofline] == [0.25, 1.0]


def test_loaded_latency_is_paired_by_level_and_ordered_by_load() -> None:
    document = calibrated(
        series("latency.idle", 100e-9, "s", ring_bytes=1 << 20),
        series("latency.idle", 120e-9, "s", ring_bytes=1 << 28),
        series("latency.loaded", 150e-9, "s", level=1, load_threads=1, ring_bytes=1),
        series("latency.load", 10e9, level=1, load_threads=1, ring_bytes=1),
        series("latency.loaded", 130e-9, "s", level=0, load_threads=1, ring_bytes=1),
        series("latency.load", 5e9, level=0, load_threads=1, ring_bytes=1),
    )
    assert close(document.devices[0].memory_latency_s, 120e-9)
    (contention,) = document.contention
    points = [point.latency_s.value for point in contention.loaded_latency]
    assert points == pytest.approx([130e-9, 150e-9], rel=0.01)


def test_loaded_latency_of_several_mixes_is_the_curve_with_the_most_levels() -> None:
    levels = [("reads", 0, 110e-9), ("2:1", 1, 150e-9), ("2:1", 2, 130e-9), ("writes", 3, 170e-9)]
    document = calibrated(
        series("latency.idle", 100e-9, "s", ring_bytes=1 << 20),
        *(
            one
            for mix, level, latency_s in levels
            for one in (
                series("latency.loaded", latency_s, "s", level=level, mix=mix, ring_bytes=1),
                series("latency.load", 1e9 * (9 - level), level=level, mix=mix, ring_bytes=1),
            )
        ),
    )
    (contention,) = document.contention
    points = [point.latency_s.value for point in contention.loaded_latency]
    assert points == pytest.approx([130e-9, 150e-9], rel=0.01)


def test_swap_law_recovers_latency_and_bandwidth() -> None:
    alpha, beta = 2e-6, 1 / 8e9
    sizes = (16 << 10, 64 << 10, 256 << 10, 1 << 20)
    document = calibrated(
        *(
            series(
                "swap.out",
                size / (alpha + beta * size),
                layout="scattered",
                block_bytes=size,
                num_blocks=10,
                load="idle",
                variant="numba",
            )
            for size in sizes
        )
    )
    (law,) = document.devices[0].swap_laws
    assert law.latency_s.value == pytest.approx(alpha, rel=0.02)
    assert law.bandwidth_bytes_per_s.value == pytest.approx(8e9, rel=0.02)
    assert law.latency_s.low <= law.latency_s.value <= law.latency_s.high
    assert law.latency_s.source is Source.DERIVED
    assert law.max_error_ratio < 0.01


def flows(kind: str, rates: dict[str, float], together: str) -> tuple[Series, ...]:
    return tuple(
        series(f"contention.{kind}", rate, flow=flow, index=index, set=together or flow)
        for index, (flow, rate) in enumerate(rates.items())
    )


def test_contention_gives_slowdowns_jain_and_the_matrix() -> None:
    stream = "host:0 -> core:0 via cpu, work=stream"
    chase = "host:0 -> core:1 via cpu, work=chase"
    document = calibrated(
        *flows("solo", {stream: 10e9, chase: 8e6}, ""),
        *flows("shared", {stream: 5e9, chase: 8e6}, f"{stream} | {chase}"),
    )
    (contention,) = document.contention
    (measured,) = contention.sets
    assert [flow.slowdown_ratio.value for flow in measured.flows] == pytest.approx([2, 1], rel=0.01)
    assert measured.jain_ratio.value == pytest.approx(1.5**2 / (2 * 1.25), rel=0.01)
    assert measured.max_min_ratio.value == pytest.approx(2, rel=0.01)
    assert contention.slowdown is not None
    assert contention.slowdown.flows == ("stream", "chase")
    cells = contention.slowdown.slowdown_victim_aggressor
    assert cells[0][0] is None
    assert close(cells[0][1], 2)
    assert close(cells[1][0], 1)


def test_set_with_a_missing_flow_is_left_out() -> None:
    stream = "host:0 -> core:0 via cpu, work=stream"
    chase = "host:0 -> core:1 via cpu, work=chase"
    document = calibrated(
        *flows("solo", {stream: 10e9}, ""),
        *flows("shared", {stream: 5e9}, f"{stream} | {chase}"),
        series("latency.loaded", 150e-9, "s", level=1, load_threads=1, ring_bytes=1),
        series("latency.load", 10e9, level=1, load_threads=1, ring_bytes=1),
    )
    assert document.contention[0].sets == ()


def test_gpu_copies_become_link_estimates() -> None:
    document = calibrated(
        *(
            series(f"copy.{way}", size / (5e-6 + size / 50e9), num_bytes=size, executor="ce")
            for way in ("h2d", "d2h")
            for size in (1 << 20, 1 << 24, 1 << 28)
        )
    )
    assert document.links == ()  # copies of the host itself cross no GPU link
    on_gpu = tuple(
        Series(**{name: getattr(one, name) for name in one.__struct_fields__}
               | {"factors": one.factors | {"device": "gpu0"}})
        for one in results(
            *(
                series("copy.h2d", size / (5e-6 + size / 50e9), num_bytes=size, executor="ce")
                for size in (1 << 20, 1 << 24, 1 << 28)
            )
        ).experiments[0].series
    )  # fmt: skip
    document = calibrated(*on_gpu)
    (link,) = document.links
    assert link.link == "pcie0"
    assert close(link.a_to_b_bytes_per_s, 49.95e9)
    assert link.latency_s is not None
    assert link.latency_s.value == pytest.approx(5e-6, rel=0.05)
    assert link.b_to_a_bytes_per_s is None


def test_what_was_not_measured_is_listed_with_its_reason() -> None:
    skipped = Experiment(
        benchmark="cuda.stream",
        revision=1,
        summary="Measure GPU memory.",
        status=Status.SKIPPED,
        reason="no GPU",
    )
    document = calibrated(
        series("stream.copy", 1e9, threads=1, variant="a", array_bytes=1),
        series("stream.add", 1e9, threads=1, variant="a", array_bytes=1, status=Status.FAILED,
               reason="it broke"),
        extra=(skipped,),
    )  # fmt: skip
    reasons = {missing.subject: missing.reason for missing in document.missing}
    assert reasons["cuda.stream"] == "no GPU"
    assert reasons["test.bench"] == "it broke"


def test_unstable_series_and_busy_machine_become_verdicts() -> None:
    document = calibrated(
        series("stream.copy", 1e9, threads=1, variant="a", array_bytes=1, other_cpu_ratio=0.4,
               status=Status.UNSTABLE, reason="spread 12 %"),
    )  # fmt: skip
    assert [verdict.check for verdict in document.verdicts] == ["stability", "quiet machine"]
    assert "40%" in document.verdicts[1].evidence


def test_empty_results_are_refused() -> None:
    with pytest.raises(ModelError, match="nothing to calibrate"):
        calibrated()


def test_calibration_survives_writing_and_reading() -> None:
    document = calibrated(series("stream.copy", 1e9, threads=1, variant="a", array_bytes=1))
    assert decode(encode(document)) == document
    assert isinstance(results(), ResultsDocument)
