"""What a driver says of a GPU's health, and what of it is a fault."""

from __future__ import annotations

import pytest

from tests.machine.verdicts.made_up import gpu, levels, machine
from topoprobe.machine.facts import Facts, GpuFact
from topoprobe.machine.joining import join
from topoprobe.machine.verdicts import gpu_health
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Health


def judged(**health: object) -> list[Verdict]:
    return list(gpu_health.judge(machine(gpu(health=Health(**health)))))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("health", "level", "words"),
    [
        ({"num_uncorrectable_errors": 17}, "FAIL", "Met 17 uncorrectable memory errors since"),
        ({"num_uncorrectable_errors": 1}, "FAIL", "Met 1 uncorrectable memory error since"),
        ({"has_remapping_failed": True}, "FAIL", "Could not replace a row"),
        ({"is_remapping_pending": True}, "WARN", "at the next reset"),
        ({"recovery_action": "gpu reset"}, "FAIL", "says its driver: gpu reset"),
        ({"slowdowns": ("hw slowdown", "hw thermal slowdown")}, "FAIL", "(hw thermal slowdown)"),
        ({"slowdowns": ("hw power brake slowdown",)}, "FAIL", "(hw power brake slowdown)"),
        ({"slowdowns": ("hw slowdown",)}, "WARN", "Is slowed down (hw slowdown)"),
        ({"slowdowns": ("sw thermal slowdown",)}, "WARN", "(sw thermal slowdown)"),
        ({"num_uncorrectable_errors": 0}, "OK", "Met no uncorrectable memory error since"),
    ],
)
def test_each_fault_is_told(health: dict[str, object], level: str, words: str) -> None:
    (verdict,) = judged(**health)
    assert verdict.level == level
    assert words in verdict.evidence
    assert (verdict.fix is None) is (level == "OK")


def test_errors_of_former_days_are_told_and_no_fault() -> None:
    (verdict,) = judged(num_uncorrectable_errors=0, num_lifetime_uncorrectable_errors=3)
    assert (verdict.level, verdict.evidence) == (
        "OK", "Met no uncorrectable memory error since its driver was loaded (3 before that).",
    )  # fmt: skip


def test_all_that_is_well_is_one_sentence() -> None:
    (verdict,) = judged(
        num_uncorrectable_errors=0, has_remapping_failed=False, slowdowns=(), recovery_action="none"
    )
    assert verdict.evidence == (
        "Met no uncorrectable memory error since its driver was loaded, has spare memory where it "
        "needed any, is not slowed down and needs no recovery."
    )


def test_several_faults_are_told_apart() -> None:
    found = judged(recovery_action="drain p2p", num_uncorrectable_errors=2)
    assert levels(found) == ["FAIL", "FAIL"]


def test_untold_health_is_not_judged() -> None:
    assert list(gpu_health.judge(machine(gpu()))) == []


def test_health_of_two_moments_is_no_contradiction() -> None:
    sources = [
        Facts(source=name, gpus=(GpuFact(subject="0000:01:00.0", health=health),))
        for name, health in (("a", Health(slowdowns=())), ("b", Health(slowdowns=("hw slowdown",))))
    ]
    assert join(sources).facts.contradictions == ()
