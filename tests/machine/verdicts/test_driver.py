"""Drivers that do not answer, GPUs that they hide, and packets sent again."""

from __future__ import annotations

import msgspec
import pytest

from tests.machine.verdicts.made_up import gpu, levels, machine
from topoprobe.machine.verdicts import contradictions, driver, replays
from topoprobe.machine.view import Machine
from topoprobe.records.base import Missing
from topoprobe.records.machine import Contradiction

SILENT = Missing(subject="host", fact="nvml", reason="NVML library not found.")


def test_machine_without_a_gpu_is_well() -> None:
    (verdict,) = driver.judge(machine(unknown=[SILENT]))
    assert verdict.level == "OK"
    assert "CPU cores, memory and drives can still be profiled" in verdict.evidence


def test_recording_that_cannot_show_gpus_does_not_say_that_there_are_none() -> None:
    document = machine(origin="recorded").document
    bare = msgspec.structs.replace(document, nodes=document.nodes[:1])
    (verdict,) = driver.judge(Machine(bare))
    assert verdict.level == "WARN"
    assert verdict.evidence.startswith("Whether there is a GPU cannot be told")
    asked = Missing(subject="host", fact="GPUs", reason="The recording has none.")
    (verdict,) = driver.judge(Machine(msgspec.structs.replace(bare, unknown=(asked,))))
    assert (verdict.level, verdict.evidence) == ("OK", "There is no GPU.")
    (verdict,) = driver.judge(machine(origin="recorded"))
    assert (verdict.level, verdict.evidence) == ("OK", "There is no GPU.")


def test_missing_driver_fails() -> None:
    (verdict,) = driver.judge(machine(gpu(0), gpu(1), unknown=[SILENT]))
    assert verdict.level == "FAIL"
    assert verdict.evidence == "2 NVIDIA GPUs cannot be used: NVML library not found."


@pytest.mark.parametrize(
    ("bound_to", "is_container", "words"),
    [("vfio-pci", None, "bound to vfio-pci"), (None, True, "docker run --gpus all")],
)
def test_gpus_given_away_or_withheld_are_worth_a_look(
    bound_to: str | None, is_container: bool | None, words: str
) -> None:
    node = gpu(driver=bound_to)
    (verdict,) = driver.judge(machine(node, unknown=[SILENT], is_container=is_container))
    assert verdict.level == "WARN"
    assert words in (verdict.fix or "")


def test_silent_driver_of_a_recording_is_no_fault() -> None:
    assert levels(driver.judge(machine(gpu(), unknown=[SILENT], origin="recorded"))) == ["OK"]


def test_gpu_of_another_maker_needs_no_nvml() -> None:
    assert list(driver.judge(machine(gpu(pci_vendor="1002"), unknown=[SILENT]))) == []


def test_gpu_that_the_driver_hides_is_worth_a_look() -> None:
    shown = gpu(0, memory_bytes=1, driver="nvidia 580.1")
    all_shown, hidden = driver.judge(machine(shown, gpu(1, driver="nvidia")))
    assert all_shown.evidence == "nvidia 580.1 shows 1 of 2 GPUs."
    assert (hidden.level, hidden.subject) == ("WARN", gpu(1).id)


def test_lost_gpu_fails() -> None:
    lost = Missing(subject="host", fact="NVML GPU 3", reason="GPU is lost.")
    bad, _ = driver.judge(machine(gpu(0, memory_bytes=1), unknown=[lost]))
    assert bad.level == "FAIL"
    assert "GPU 3" in bad.evidence
    assert "Xid 79" in (bad.fix or "")


@pytest.mark.parametrize(
    ("number", "expected"), [(None, []), (0, ["OK"]), (174, ["OK"]), (1000, ["WARN"])]
)
def test_many_replays_are_worth_a_second_reading(number: int | None, expected: list[str]) -> None:
    assert levels(replays.judge(machine(gpu(num_pcie_replays=number)))) == expected


def test_contradiction_is_passed_on_with_what_was_done() -> None:
    found = Contradiction(
        subject=gpu().id, fact="nominal", readings=("a: 1", "b: 2"), meaning="a is used."
    )
    (verdict,) = contradictions.judge(machine(gpu(), contradictions=[found]))
    assert (verdict.level, verdict.fix) == ("WARN", "a is used.")
    assert verdict.evidence == "Has doubtful readings of link capability: a: 1 / b: 2."


def test_contradiction_about_the_machine_is_a_whole_sentence() -> None:
    doubt = Contradiction(subject="host", fact="number of GPUs", readings=("8", "7"), meaning="-")
    (verdict,) = contradictions.judge(machine(contradictions=[doubt]))
    assert verdict.evidence == "There are doubtful readings of number of GPUs: 8 / 7."
