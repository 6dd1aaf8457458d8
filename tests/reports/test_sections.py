"""What the measured sections show: payloads from documents."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from tests.reports import sample
from topoprobe.records.base import Missing
from topoprobe.records.calibration import CalibrationDocument, ComputeRate
from topoprobe.records.run import RunDocument
from topoprobe.reports.ceilings import Ceilings, best_compute, ceilings
from topoprobe.reports.contention import (
    LoadedLatency,
    flow_label,
    flow_unit,
    largest_set,
    loaded_latency,
    sharing,
    worst_cell,
)
from topoprobe.reports.drawing.heatmap import NUM_STEPS, step_of
from topoprobe.reports.experiments import Experiments, experiments
from topoprobe.reports.movement import Storage, storage, swap
from topoprobe.reports.prediction import Prediction, error_sentence, metric_name, prediction
from topoprobe.reports.roofline import Roofline, ridges, roofline
from topoprobe.reports.section import Absent, Documents
from topoprobe.reports.serving import (
    Serving,
    serving,
    time_per_output_token,
    time_to_first_token,
)
from topoprobe.reports.stepcost import step_costs

VM = Documents(
    machine=sample.vm_machine(),
    results=sample.vm_results(),
    calibration=sample.vm_calibration(),
    run=sample.vm_run(),
)
SERVER = Documents(calibration=sample.server_calibration())
BARE = Documents(
    calibration=CalibrationDocument(
        tool=sample.TOOL,
        machine=sample.vm_machine(),
        missing=(
            Missing(subject="cpu.stream", fact="memory", reason="numba is not installed"),
            Missing(subject="swap.out", fact="host_swap", reason="too little memory"),
        ),
    )
)


def test_ceilings_table_has_a_line_for_each_device_and_best_rates() -> None:
    payload = ceilings(VM)
    assert isinstance(payload, Ceilings)
    assert payload.compute_titles == ("fp32 FMA", "fp64 FMA", "fp32 GEMM", "fp64 GEMM")
    (row,) = payload.rows
    assert row.bandwidth is not None
    assert row.bandwidth.text == "20.6 GB/s"
    assert [rate and rate.text for rate in row.compute] == [
        "297 GFLOP/s",
        "149 GFLOP/s",
        "251 GFLOP/s",
        "121 GFLOP/s",
    ]
    assert not payload.has_launch


def test_ceilings_of_a_server_compare_gpus_and_thin_out_threads() -> None:
    payload = ceilings(SERVER)
    assert isinstance(payload, Ceilings)
    assert len(payload.rows) == 9
    assert payload.rows[0].compute == (None, None, None, None)
    assert payload.has_launch
    (_, host), (gpu_title, gpus), (_, compute) = payload.drawings
    assert "112 threads" in host
    assert "57 threads" not in host
    assert gpu_title == "STREAM rates of GPU memory"
    assert gpus.count("gpu:7") == 2  # the label and its tooltip
    assert compute.count("hollow") == 1  # fp64 is nominal


def test_best_compute_takes_the_fastest_number_of_threads() -> None:
    calibration = VM.calibration
    assert calibration is not None
    best = best_compute(calibration.devices[0], "fp32", "fma")
    assert isinstance(best, ComputeRate)
    assert best.num_threads == 2
    assert best_compute(calibration.devices[0], "fp8", "fma") is None


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (ceilings, "numba is not installed"),
        (swap, "too little memory"),
        (storage, "no document says why"),
        (roofline, "not measured"),
        (sharing, "not measured"),
        (loaded_latency, "not measured"),
        (step_costs, "not measured"),
    ],
)
def test_section_without_numbers_says_why(payload: object, reason: str) -> None:
    assert callable(payload)
    absent = payload(BARE)
    assert isinstance(absent, Absent)
    assert reason in absent.reason
    assert isinstance(payload(Documents()), Absent)


def test_roofline_bends_where_bandwidth_meets_arithmetic() -> None:
    payload = roofline(VM)
    assert isinstance(payload, Roofline)
    assert "below 14.4 flop/byte" in payload.ridges[0]  # 297e9 / 20.6e9
    ((_, drawing),) = payload.drawings
    assert drawing.count('class="dot c1"') == 7  # six points of fp32 and their name
    assert "fp64 GEMM 121 GFLOP/s" in drawing


def test_roofline_leaves_out_points_of_fewer_threads() -> None:
    calibration = VM.calibration
    assert calibration is not None
    device = calibration.devices[0]
    fewer = [msgspec.structs.replace(point, num_threads=1) for point in device.roofline]
    with_fewer = msgspec.structs.replace(device, roofline=(*fewer, *device.roofline))
    payload = roofline(
        Documents(calibration=msgspec.structs.replace(calibration, devices=(with_fewer,)))
    )
    assert isinstance(payload, Roofline)
    ((_, drawing),) = payload.drawings
    assert drawing.count('class="dot c1"') == 7


def test_roofline_draws_gpus_of_one_name_once() -> None:
    payload = roofline(SERVER)
    assert isinstance(payload, Roofline)
    assert [name for name, _ in payload.drawings] == ["NVIDIA H100 80GB HBM3"]


def test_ridges_without_bandwidth_are_none() -> None:
    calibration = VM.calibration
    assert calibration is not None
    device = msgspec.structs.replace(calibration.devices[0], memory_bandwidth_bytes_per_s=None)
    assert ridges(device) == []


def test_sharing_shows_numbers_in_cells_and_leaves_unmeasured_pairs_empty() -> None:
    payload = sharing(VM)
    assert not isinstance(payload, Absent)
    (one,) = payload
    assert one.matrix is not None
    assert ">3.35<" in one.matrix
    assert one.matrix.count("cell none") == 1
    assert "this pair was not measured" in one.matrix
    assert one.fairness is not None
    assert one.fairness.count("bar behind") == 4
    assert "4 flows at once" in one.fairness_text
    assert [row.worst.text for row in one.sets] == ["3.23", "3.23"]


def test_sharing_puts_predicted_beside_measured_slowdowns() -> None:
    payload = sharing(VM)
    assert not isinstance(payload, Absent)
    (one,) = payload
    assert one.foretold is not None
    # Two sets of the same four flows, off by 7.6, 5.4, 1.2 and 17.5 %.
    assert "6 flows in 2 sets" in one.foretold.text
    assert "off by less than 6.5 %" in one.foretold.text
    assert "is off by 56 %" in one.foretold.text
    assert "predicted 3.40, measured 3.23" in one.foretold.drawing
    assert [row.predicted for row in one.sets] == ["2.10, 3.40", "2.10, 3.40, 1.90, 2.50"]
    assert one.sets[0].slowdowns == "2.27, 3.23"


def test_sharing_without_predictions_has_no_such_drawing() -> None:
    assert VM.calibration is not None
    (item,) = VM.calibration.contention
    blind = tuple(
        msgspec.structs.replace(
            one,
            flows=tuple(
                msgspec.structs.replace(share, predicted_slowdown_ratio=None) for share in one.flows
            ),
        )
        for one in item.sets
    )
    item = msgspec.structs.replace(item, sets=blind)
    calibration = msgspec.structs.replace(VM.calibration, contention=(item,))
    payload = sharing(dataclasses.replace(VM, calibration=calibration))
    assert not isinstance(payload, Absent)
    assert payload[0].foretold is None


def test_worst_cell_and_largest_set_are_found() -> None:
    assert VM.calibration is not None
    (item,) = VM.calibration.contention
    assert item.slowdown is not None
    worst = worst_cell(item.slowdown)
    assert worst is not None
    assert worst[:2] == ("chase", "stream")
    largest = largest_set(item)
    assert largest is not None
    assert len(largest.flows) == 4


@pytest.mark.parametrize(
    ("flow", "label", "unit"),
    [
        ("host:0 -> core:1 via cpu, work=chase", "chase", "hops_per_s"),
        ("core:0 -> core:0 via cpu, work=gemm", "gemm", "flop_per_s"),
        ("host:0 -> host:0 via cpu", "memcpy", "bytes_per_s"),
        ("host:0 -> gpu:1 via ce, txn=256B", "host:0 → gpu:1", "bytes_per_s"),
        ("stream", "stream", "bytes_per_s"),
        ("<script>", "<script>", "bytes_per_s"),
    ],
)
def test_flow_is_named_shortly_and_has_its_unit(flow: str, label: str, unit: str) -> None:
    assert flow_label(flow) == label
    assert flow_unit(flow) == unit


def test_heat_steps_are_logarithmic_and_clamped() -> None:
    assert step_of(1.0, 4.0) == step_of(0.9, 4.0) == 0
    assert step_of(2.0, 4.0) == NUM_STEPS // 2
    assert step_of(4.0, 4.0) == step_of(9.0, 4.0) == NUM_STEPS - 1


def test_loaded_latency_draws_every_level_and_the_capacity() -> None:
    payload = loaded_latency(VM)
    assert isinstance(payload, LoadedLatency)
    ((resource, drawing),) = payload.drawings
    assert resource == "memory:host"
    assert drawing.count("<circle") == 8
    assert "capacity 20.6 GB/s" in drawing


def test_swap_draws_both_directions_with_all_layouts_and_loads() -> None:
    payload = swap(VM)
    assert not isinstance(payload, Absent)
    (one,) = payload
    assert [title[:2] for title, _ in one.drawings] == ["Ou", "In"]
    for _, drawing in one.drawings:
        assert drawing.count("<polyline") == 4
        assert drawing.count("dashed") == 2
        assert "256 KiB" in drawing
    assert [law.name for law in one.laws] == [
        "out, contiguous",
        "out, scattered",
        "in, contiguous",
        "in, scattered",
    ]
    assert one.laws[0].error == "4.3 %"


def test_storage_says_when_the_page_cache_was_in_the_way() -> None:
    direct = storage(VM)
    assert isinstance(direct, Storage)
    assert direct.note == ""
    assert VM.calibration is not None
    device = VM.calibration.devices[0]
    rates = tuple(msgspec.structs.replace(rate, is_direct=False) for rate in device.storage)
    devices = (msgspec.structs.replace(device, storage=rates),)
    cached = storage(
        Documents(calibration=msgspec.structs.replace(VM.calibration, devices=devices))
    )
    assert isinstance(cached, Storage)
    assert "page cache" in cached.note


def test_step_cost_shows_coefficients_with_intervals_and_the_validation_error() -> None:
    payload = step_costs(VM)
    assert not isinstance(payload, Absent)
    (one,) = payload
    assert len(one.rows) == 6
    assert one.rows[2].value.text == "48.0 µs"
    assert one.rows[2].interval == "45.1 to 50.9 µs"
    assert one.rows[2].seen == "1 to 512"
    assert "3.8 % on average and 9.1 % at most" in one.validation


def test_prediction_lines_show_both_sides_and_the_verdict() -> None:
    payload = prediction(VM)
    assert isinstance(payload, Prediction)
    assert (payload.num_within, payload.bound) == (3, "15 %")
    first = payload.rows[0]
    assert (first.metric, first.predicted, first.measured) == (
        "output throughput",
        "325 tokens/s",
        "312 tokens/s",
    )
    assert first.repeats == "312 tokens/s, 305 tokens/s, 318 tokens/s"
    assert (first.error, first.spread) == ("+4.0 %", "4.1 %")
    assert first.strip.count("<circle") == 3


def test_prediction_of_a_simulated_run_says_why_it_is_absent() -> None:
    run = msgspec.structs.replace(sample.vm_run(), kind="simulated", comparisons=())
    absent = prediction(Documents(run=run))
    assert isinstance(absent, Absent)
    assert "simulated" in absent.reason


def test_error_sentence_names_side_and_measurement() -> None:
    throughput, ttft, _ = sample.vm_run().comparisons
    assert (
        error_sentence(throughput) == "4.0 % above the measured 312 tokens/s (median of 3 repeats)"
    )
    assert error_sentence(ttft) == "7.7 % below the measured 142 ms (median of 3 repeats)"
    assert metric_name("mean_ttft_s") == "mean TTFT"
    assert metric_name("output_throughput_tokens_per_s") == "output throughput"


def run_payload(run: RunDocument) -> Serving:
    payload = serving(Documents(run=run))
    assert isinstance(payload, Serving)
    return payload


def test_serving_shows_distributions_and_a_lane_for_every_request() -> None:
    payload = run_payload(sample.vm_run())
    assert [row.name for row in payload.rows][:2] == [
        "TTFT, measured, median of 3 repeats",
        "TTFT, predicted",
    ]
    assert payload.rows[0].values[0] == "142 ms"
    assert "312 tokens/s of output (median of 3 repeats)." in payload.headline
    assert all(title.endswith(", first of 3 repeats") for title, _ in payload.drawings)
    assert len(payload.drawings) == 2
    assert payload.timeline is not None
    assert payload.timeline.count('"lane decode"') == 24
    assert payload.timeline.count('"step ') == 160
    assert payload.timeline_note == "Requests and steps are those of the first of 3 repeats."


def test_serving_thins_out_a_long_run() -> None:
    run = sample.vm_run(300)
    many = tuple(
        msgspec.structs.replace(
            step, started_s=step.started_s + 4 * again, ended_s=step.ended_s + 4 * again
        )
        for again in range(40)
        for step in run.steps
    )
    payload = run_payload(msgspec.structs.replace(run, steps=many))
    assert payload.timeline is not None
    assert payload.timeline.count('"lane decode"') == 64
    assert payload.timeline.count('"step ') <= 700
    assert "The first 64 of 300 requests are drawn." in payload.timeline_note
    assert all(len(drawing) < 100_000 for _, drawing in payload.drawings)


def test_serving_request_without_tokens_has_no_latency() -> None:
    request = msgspec.structs.replace(
        sample.vm_run().requests[0],
        status="rejected",
        reason="too long",
        num_output_tokens=0,
        first_scheduled_s=None,
        first_token_s=None,
        finished_s=None,
    )
    assert time_to_first_token(request) is None
    assert time_per_output_token(request) is None
    run = msgspec.structs.replace(sample.vm_run(), requests=(request,), steps=())
    payload = run_payload(run)
    assert payload.drawings == ()
    assert payload.timeline is not None
    assert "rejected, too long" in payload.timeline


def test_experiments_show_every_status_with_its_reason() -> None:
    payload = experiments(VM)
    assert isinstance(payload, Experiments)
    assert [(row.status, row.reason) for row in payload.rows] == [
        ("ok", ""),
        ("unstable", "2 of 10 series never settled"),
        ("skipped", "this machine has no NVIDIA driver"),
        ("failed", "no space left on the device"),
    ]
    assert payload.rows[1].counts == "1 ok, 1 unstable"


def test_experiments_samples_show_warmups_and_conditions() -> None:
    payload = experiments(VM)
    assert isinstance(payload, Experiments)
    samples = payload.rows[0].series[0].samples
    assert samples is not None
    assert samples.count("sample faint") == 2
    assert samples.count("<circle") == 14
    assert "stolen" in samples


def test_experiments_factors_are_written_with_units() -> None:
    results = sample.vm_results()
    experiment = results.experiments[0]
    factors: dict[str, str | int | float] = {"array_bytes": 1 << 28, "ratio": 0.5, "threads": 2}
    one = msgspec.structs.replace(experiment.series[0], factors=factors)
    experiment = msgspec.structs.replace(experiment, series=(one,))
    payload = experiments(
        Documents(results=msgspec.structs.replace(results, experiments=(experiment,)))
    )
    assert isinstance(payload, Experiments)
    assert payload.rows[0].series[0].factors == "array 256 MiB, ratio 0.5, threads 2"
