"""Findings: sentences with numbers, the serious ones first."""

from __future__ import annotations

import msgspec
import pytest

from tests.reports import sample
from topoprobe.records.base import Status
from topoprobe.records.calibration import CalibrationDocument, CalibrationVerdict
from topoprobe.records.results import Conditions
from topoprobe.reports.finding import Finding, count, listed, some
from topoprobe.reports.findings import findings
from topoprobe.reports.section import Documents

VM = Documents(
    machine=sample.vm_machine(),
    results=sample.vm_results(),
    calibration=sample.vm_calibration(),
    run=sample.vm_run(),
)


def leads(documents: Documents) -> list[str]:
    return [one.lead for one in findings(documents)]


def find(documents: Documents, words: str) -> Finding:
    return next(one for one in findings(documents) if words in one.lead)


def test_findings_of_no_documents_are_none() -> None:
    assert findings(Documents()) == ()


def test_findings_come_in_order_of_seriousness() -> None:
    levels = [one.level for one in findings(VM)]
    assert levels == sorted(levels, key=["bad", "warn", "good", "note"].index)
    assert set(levels) == {"bad", "warn", "good", "note"}


@pytest.mark.parametrize(
    ("lead", "rest"),
    [
        ("Four flows at once keep 0.31 to 0.52 of their solo rates.", "Chase suffers most"),
        ("Chase runs 3.35 times slower beside stream.", "95 % interval 3.25 to 3.45"),
        ("was 4.0 % above the measured 312 tokens/s.", "3 repeats spread over 4.1 %"),
        ("Memory gives 20.6 GB/s (triad) to two threads.", "1.76 times"),
        ("fp32 code on Intel(R) Xeon(R) Platinum 8488C is limited by memory below 14.4", ""),
        ("Memory latency rises 3.3-fold under load.", "From 121 ns to 400 ns"),
        ("Scattered KV blocks of 16.0 KiB swap out at 0.59", "against 5.64 GB/s"),
        ("Beside compute, swapping keeps 0.72", "1.00 MiB"),
        ("The step-cost law of tiny-llama is off by 3.8 %", "9.1 % at most"),
        ("One experiment failed.", "disk: no space left on the device."),
        ("One experiment unstable.", "2 of 10 series never settled"),
        ("One experiment skipped.", "cuda.triad: this machine has no NVIDIA driver."),
        ("One number is missing from the calibration.", "power of devices".capitalize()),
        ("14 facts about the machine are unknown.", "the kernel reports -1"),
        ("Warning: quiet machine.", "22 % at most. Stop other work"),
        ("The hypervisor took up to", "on average over"),
    ],
)
def test_finding_has_numbers_and_evidence(lead: str, rest: str) -> None:
    assert rest in find(VM, lead).rest


def test_finding_of_a_prediction_outside_its_bound_is_bad() -> None:
    run = sample.vm_run()
    far = msgspec.structs.replace(run.comparisons[1], error_ratio=-0.4, is_within=False)
    run = msgspec.structs.replace(run, comparisons=(run.comparisons[0], far))
    finding = find(Documents(run=run), "mean TTFT")
    assert finding.level == "bad"
    assert "40 % below" in finding.lead
    assert finding.rest == "1 of 2 predictions are outside their bound."


def test_findings_of_a_server_name_links_and_shared_uplinks() -> None:
    calibration = sample.server_calibration()
    documents = Documents(machine=calibration.machine, calibration=calibration)
    narrow = find(documents, "mlx5_3 runs x8 of x16.")
    assert narrow.level == "bad"
    assert "50 %" in narrow.rest
    shared = find(documents, "Eight GPUs share links to the CPUs, two to a link.")
    assert "GPU 0, GPU 1; GPU 2, GPU 3" in shared.rest
    assert find(documents, "Two readings of NUMA node of gpu:1 disagree.").level == "warn"
    assert find(documents, "Eight flows at once keep 0.50").level == "warn"


def test_finding_without_contention_is_good_news() -> None:
    (item,) = sample.vm_calibration().contention
    assert item.slowdown is not None
    harmless = tuple(
        tuple(sample.measured(1.01) for _ in item.slowdown.flows) for _ in item.slowdown.flows
    )
    matrix = msgspec.structs.replace(item.slowdown, slowdown_victim_aggressor=harmless)
    calibration = msgspec.structs.replace(
        sample.vm_calibration(),
        contention=(msgspec.structs.replace(item, slowdown=matrix, sets=()),),
    )
    finding = find(Documents(calibration=calibration), "No pair of flows")
    assert finding.level == "good"
    assert "1.01 times" in finding.lead


def test_finding_of_a_latency_that_load_leaves_alone_says_so() -> None:
    (item,) = sample.vm_calibration().contention
    flat = msgspec.structs.replace(item, loaded_latency=item.loaded_latency[:3], sets=())
    calibration = msgspec.structs.replace(sample.vm_calibration(), contention=(flat,))
    finding = find(Documents(calibration=calibration), "hardly rises under load")
    assert "From 121 ns to 126 ns while others draw 6.40 GB/s." in finding.rest


def test_finding_of_an_interrupted_measurement_is_bad() -> None:
    results = msgspec.structs.replace(sample.vm_results(), is_partial=True)
    assert find(Documents(results=results), "interrupted").level == "bad"


def test_finding_of_throttled_samples_names_the_reasons() -> None:
    results = sample.vm_results()
    experiment = results.experiments[0]
    series = experiment.series[0]
    hot = Conditions(throttle_reasons=("sw_power_cap", "hw_thermal"))
    samples = tuple(msgspec.structs.replace(one, conditions=hot) for one in series.samples)
    experiment = msgspec.structs.replace(
        experiment, series=(msgspec.structs.replace(series, samples=samples),)
    )
    results = msgspec.structs.replace(results, experiments=(experiment,))
    finding = find(Documents(results=results), "throttled")
    assert finding.lead == "12 of 12 samples were taken while throttled."
    assert finding.rest == "Reasons: hw_thermal, sw_power_cap."


def test_finding_of_failed_series_counts_them_and_gives_reasons() -> None:
    results = sample.vm_results()
    experiment = results.experiments[0]
    failed = tuple(
        msgspec.structs.replace(one, status=Status.FAILED, reason="no memory", samples=())
        for one in experiment.series
    )
    experiment = msgspec.structs.replace(experiment, series=failed)
    results = msgspec.structs.replace(results, experiments=(experiment,))
    finding = find(Documents(results=results), "Four measurements failed.")
    assert finding.rest == "stream.copy in cpu.stream, stream.triad in cpu.stream: no memory."


def test_finding_of_many_equal_verdicts_is_one() -> None:
    verdicts = tuple(
        CalibrationVerdict(
            level="FAIL", check="stability", subject=f"s{index}", evidence="e", fix="Do it."
        )
        for index in range(5)
    )
    calibration = CalibrationDocument(
        tool=sample.TOOL, machine=sample.vm_machine(), verdicts=verdicts
    )
    (finding,) = findings(Documents(calibration=calibration))
    assert finding.lead == "Failed check: stability (5 times)."
    assert finding.rest == "First s0: e. Do it."


def test_count_and_some_write_words() -> None:
    assert count(1, "fact") == "one fact"
    assert count(12, "fact") == "12 facts"
    assert some(["a.", "b"]) == "a; b"
    assert listed("abcde") == "a, b, c and 2 more"
