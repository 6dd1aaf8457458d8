"""The head of the page."""

from __future__ import annotations

import msgspec

from tests.reports import sample
from topoprobe.reports.section import Documents
from topoprobe.reports.summary import Head, head


def cards(found: Head) -> list[tuple[str, str]]:
    return [(f"{card.number} {card.unit}".strip(), card.label) for card in found.cards]


def test_head_says_what_the_machine_is_and_when_it_was_read() -> None:
    found = head(
        Documents(
            machine=sample.vm_machine(),
            results=sample.vm_results(),
            calibration=sample.vm_calibration(),
            run=sample.vm_run(),
        )
    )
    assert found.title == "build-vm"
    assert found.subtitle == (
        "Intel(R) Xeon(R) Platinum 8488C · 24.0 GiB of memory · 1 NIC · 1 drive · "
        "virtual machine (kvm)"
    )
    assert "measured 2026-11-20 17:40 UTC" in found.facts
    assert found.facts[-1] == "topoprobe 0.1.0 (abc1234)"
    assert cards(found) == [
        ("2", "CPU cores, 1 socket"),
        ("20.6 GB/s", "host memory, triad"),
        ("121 ns", "host memory latency"),
        ("251 GFLOP/s", "host fp32, matrix product"),
        ("×3.35 slower", "worst pair: chase beside stream"),
        ("312 tok/s", "output tokens/s, tiny-llama, median of 3 repeats"),
        ("7.7 %", "largest prediction error, mean TTFT"),
    ]


def test_head_of_a_machine_alone_counts_what_is_there() -> None:
    found = head(Documents(machine=sample.server_machine(8)))
    assert cards(found) == [
        ("112", "CPU cores, 2 sockets"),
        ("8", "GPUs"),
        ("8", "NICs"),
        ("4", "drives"),
        ("4", "PCIe switches"),
    ]
    assert found.subtitle.startswith("8 × NVIDIA H100 80GB HBM3 · 2 × Xeon Platinum 8480C")


def test_head_of_a_run_alone_is_named_by_its_model() -> None:
    found = head(Documents(run=sample.vm_run()))
    assert found.title == "tiny-llama"
    assert found.facts[0] == "run 2026-11-20 17:43 UTC"


def test_head_of_nothing_claims_nothing() -> None:
    assert head(Documents()) == Head("no machine", "", (), ())


def test_head_card_of_a_bad_prediction_is_marked() -> None:
    run = sample.vm_run()
    far = msgspec.structs.replace(run.comparisons[0], error_ratio=0.5, is_within=False)
    found = head(Documents(run=msgspec.structs.replace(run, comparisons=(far,))))
    assert (found.cards[-1].number, found.cards[-1].level) == ("50", "bad")


def test_head_card_of_a_repeated_run_is_the_median_repeat() -> None:
    run = sample.vm_run()
    first, second, third = run.repeats
    run = msgspec.structs.replace(run, summary=third, repeats=(third, first, second))
    assert cards(head(Documents(run=run)))[0] == (
        "312 tok/s",
        "output tokens/s, tiny-llama, median of 3 repeats",
    )
    once = msgspec.structs.replace(run, repeats=())
    assert cards(head(Documents(run=once)))[0] == ("318 tok/s", "output tokens/s, tiny-llama")


def test_head_card_of_a_run_beside_another_machine_does_not_lend_it_that_machine() -> None:
    found = head(Documents(machine=sample.server_machine(8), run=sample.vm_run()))
    labels = [card.label for card in found.cards]
    assert any(label.endswith("on a machine that the run does not tell") for label in labels)


def test_head_has_no_card_for_a_pair_that_is_not_slowed_measurably() -> None:
    calibration = sample.vm_calibration()
    (item,) = calibration.contention
    assert item.slowdown is not None
    noise = sample.measured(1.32, 0.3)
    matrix = msgspec.structs.replace(
        item.slowdown,
        slowdown_victim_aggressor=tuple(
            (noise,) * len(item.slowdown.flows) for _ in item.slowdown.flows
        ),
    )
    calibration = msgspec.structs.replace(
        calibration, contention=(msgspec.structs.replace(item, slowdown=matrix),)
    )
    labels = [card.label for card in head(Documents(calibration=calibration)).cards]
    assert not any("worst pair" in label for label in labels)


def test_head_keeps_dates_that_it_cannot_read() -> None:
    machine = msgspec.structs.replace(sample.vm_machine(), captured_at="yesterday")
    assert "captured yesterday" in head(Documents(machine=machine)).facts
