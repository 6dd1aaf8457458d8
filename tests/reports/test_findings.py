"""Findings: sentences with numbers, the serious ones first."""

from __future__ import annotations

import msgspec
import pytest

from tests.reports import sample
from topoprobe.records.base import Missing, Status, Verdict
from topoprobe.records.calibration import (
    CalibrationDocument,
    Contention,
    SlowdownMatrix,
)
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

FAR_RUN = msgspec.structs.replace(
    sample.vm_run(),
    comparisons=tuple(
        msgspec.structs.replace(one, is_within=False) for one in sample.vm_run().comparisons
    ),
)
"""A run of which something worse is to be said than where it ran."""


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
        ("The worst pair: chase runs ×3.35 slower beside stream.", "95 % interval 3.25 to 3.45"),
        (
            "was 4.0 % above the measured 312 tokens/s (median of 3 repeats).",
            "3 repeats spread over 4.1 %",
        ),
        ("Memory gives 20.6 GB/s (triad) to two threads.", "1.76 times"),
        ("fp32 code on Intel(R) Xeon(R) Platinum 8488C is limited by memory below 14.4", ""),
        ("Memory latency rises 3.3-fold under load.", "From 121 ns idle to 400 ns"),
        ("Scattered KV blocks of 16.0 KiB swap out at 0.59", "against 5.64 GB/s"),
        ("Beside compute, swapping keeps 0.72", "1.00 MiB"),
        ("The step-cost law of tiny-llama is off by 3.8 %", "9.1 % at most"),
        ("One experiment failed.", "disk: no space left on the device."),
        ("One experiment unstable.", "2 of 10 series never settled"),
        ("One experiment skipped.", "cuda.triad: this machine has no NVIDIA driver."),
        ("One number is missing from the calibration.", "power of devices".capitalize()),
        ("14 facts about the machine are unknown.", "the kernel reports -1"),
        ("The machine was not quiet.", "22 % at most. Stop other work"),
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
        tuple(sample.measured(1.32, 0.3) for _ in item.slowdown.flows) for _ in item.slowdown.flows
    )
    matrix = msgspec.structs.replace(item.slowdown, slowdown_victim_aggressor=harmless)
    calibration = msgspec.structs.replace(
        sample.vm_calibration(),
        contention=(msgspec.structs.replace(item, slowdown=matrix, sets=()),),
    )
    finding = find(Documents(calibration=calibration), "No pair of flows slows measurably.")
    assert finding.level == "good"
    assert "the largest median: stream runs ×1.32 slower" in finding.rest


def test_finding_of_a_latency_that_load_leaves_alone_says_so() -> None:
    (item,) = sample.vm_calibration().contention
    flat = msgspec.structs.replace(item, loaded_latency=item.loaded_latency[:3], sets=())
    calibration = msgspec.structs.replace(sample.vm_calibration(), contention=(flat,))
    finding = find(Documents(calibration=calibration), "hardly rises under load")
    assert "From 121 ns idle to 126 ns while others draw 6.40 GB/s." in finding.rest


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
    assert (
        finding.rest == "stream.copy in cpu.stream (2), stream.triad in cpu.stream (2): no memory."
    )


def test_finding_of_many_equal_verdicts_is_one() -> None:
    verdicts = tuple(
        Verdict(level="FAIL", check="units", subject=f"s{index}", evidence="e", fix="Do it.")
        for index in range(5)
    )
    calibration = CalibrationDocument(
        tool=sample.TOOL, machine=sample.vm_machine(), verdicts=verdicts
    )
    (finding,) = findings(Documents(calibration=calibration))
    assert finding.lead == "Failed check: units (5 times)."
    assert finding.rest == "First s0: e. Do it."


def test_count_and_some_write_words() -> None:
    assert count(1, "fact") == "one fact"
    assert count(12, "fact") == "12 facts"
    assert some(["a.", "b"]) == "a; b"
    assert listed("abcde") == "a, b, c and 2 more"


def test_lists_name_and_leave_out_as_many_as_were_counted() -> None:
    assert some(["a and 1 alike", "b", "c", "d and 2 alike", "e"], [2, 1, 1, 3, 1]) == (
        "a and 1 alike; b; c; and 4 more"
    )
    assert listed("aabcddd") == "a (2), b, c and 3 more"


def test_finding_of_unknown_facts_adds_up_to_its_number() -> None:
    unknown = tuple(
        Missing(subject=subject, fact="numa_index", reason=reason)
        for subject, reason in zip("abcdef", ["r1", "r1", "r2", "r3", "r4", "r4"], strict=True)
    )
    machine = msgspec.structs.replace(sample.vm_machine(), unknown=unknown)
    finding = find(Documents(machine=machine), "Six facts")
    assert finding.rest == (
        "The NUMA node of a and 1 alike (r1); the NUMA node of c (r2); the NUMA node of d (r3); "
        "and 2 more."
    )


def test_finding_of_unsettled_series_counts_them_and_gives_one_in_words() -> None:
    subject = "stream.copy device=host threads=2 variant=numba array_bytes=268435456"
    verdict = Verdict(
        level="WARN",
        check="stability",
        subject=subject,
        evidence="spread 6.2%",
        fix="Stop other work.",
    )
    calibration = CalibrationDocument(
        tool=sample.TOOL, machine=sample.vm_machine(), verdicts=(verdict, verdict)
    )
    finding = find(Documents(results=sample.vm_results(), calibration=calibration), "settle")
    assert finding.lead == "2 of 6 series did not settle."
    assert finding.rest == (
        "For example STREAM copy on 2 threads (numba): spread 6.2%. "
        "The table of experiments counts them. Stop other work."
    )
    (alone,) = findings(Documents(calibration=calibration))
    assert alone.lead == "2 series did not settle."
    assert "table of experiments" not in alone.rest


def test_finding_of_the_worst_pair_goes_by_the_low_end_of_the_interval() -> None:
    wide = msgspec.structs.replace(sample.measured(1.32), low=0.97, high=1.68)
    sure, none = sample.measured(1.19, 0.05), sample.measured(1.0)
    matrix = SlowdownMatrix(
        flows=("host:0 -> host:0 via cpu, work=stream", "core:0 -> core:0 via cpu, work=gemm"),
        slowdown_victim_aggressor=((sure, none), (none, wide)),
    )
    calibration = CalibrationDocument(
        tool=sample.TOOL,
        machine=sample.vm_machine(),
        contention=(Contention(resource="memory:host", slowdown=matrix),),
    )
    (finding,) = findings(Documents(calibration=calibration))
    assert finding == Finding(
        "good",
        "The worst pair: stream runs ×1.19 slower beside stream.",
        "95 % interval 1.13 to 1.25.",
    )


def test_finding_of_a_latency_without_idle_estimate_names_the_least_load() -> None:
    (device,) = sample.vm_calibration().devices
    (item,) = sample.vm_calibration().contention
    calibration = msgspec.structs.replace(
        sample.vm_calibration(),
        devices=(msgspec.structs.replace(device, memory_latency_s=None),),
        contention=(msgspec.structs.replace(item, loaded_latency=item.loaded_latency[1:]),),
    )
    finding = find(Documents(calibration=calibration), "under load")
    assert "From 121 ns at the least load, 3.10 GB/s, to 400 ns" in finding.rest


@pytest.mark.parametrize(
    ("load", "lead"),
    [
        ("beside_compute", "Beside compute, swapping has no measurable loss."),
        ("idle", "swap out without measurable loss."),
    ],
)
def test_finding_of_a_swap_within_noise_claims_no_loss(load: str, lead: str) -> None:
    calibration = sample.vm_calibration()
    (device,) = calibration.devices
    rates = tuple(
        msgspec.structs.replace(
            one, rate_bytes_per_s=sample.measured(11e9 if one.load == load else 10e9, 0.2)
        )
        for one in device.host_swap
    )
    device = msgspec.structs.replace(device, host_swap=rates)
    calibration = msgspec.structs.replace(calibration, devices=(device,))
    finding = find(Documents(calibration=calibration), lead)
    assert finding.level == "note"
    assert "11.0 GB/s (8.80 to 13.2 GB/s)" in finding.rest


def test_finding_of_documents_from_two_machines_comes_first() -> None:
    documents = Documents(
        machine=sample.server_machine(8), calibration=sample.vm_calibration(), run=FAR_RUN
    )
    first = findings(documents)[0]
    assert first.level == "warn"
    assert first.lead == "The documents come from different machines."
    assert "calibration: build-vm with" in first.rest
    assert first.rest.endswith("The run belongs to the machine of its calibration.")


def test_finding_of_a_host_with_other_nodes_is_another_machine() -> None:
    grown = sample.vm_machine()
    grown = msgspec.structs.replace(grown, nodes=grown.nodes[:-1])
    documents = Documents(machine=grown, results=sample.vm_results())
    assert findings(documents)[0].lead == "The documents come from different machines."
    assert "different machines" not in " ".join(leads(VM))


def test_finding_of_a_run_without_calibration_says_that_its_machine_is_not_told() -> None:
    documents = Documents(machine=sample.server_machine(8), run=FAR_RUN)
    first = findings(documents)[0]
    assert first.lead == "Run document: its machine is not told."
    assert "It need not be the machine that is shown here" in first.rest
    assert "shown here" not in findings(Documents(run=FAR_RUN))[0].rest
