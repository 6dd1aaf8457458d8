"""All checks together: names, order, the shape of a verdict, grouping."""

from __future__ import annotations

import re

from tests.machine.verdicts.made_up import gpu, link, machine, nic, numas
from topoprobe.machine.verdicts import ALL_WELL, CHECKS, judge, software
from topoprobe.machine.verdicts.grouping import grouped, sentence
from topoprobe.machine.wording import Names
from topoprobe.records.base import Missing, Verdict
from topoprobe.records.machine import Pair


def faulty() -> tuple[Verdict, ...]:
    nodes = [gpu(i, performance_state="P0", numa_index=0) for i in range(3)]
    links = [link(node, (4, 8), (4, 16), (4, 16)) for node in nodes]
    unknown = [
        Missing(subject="host", fact="nvml", reason="No driver."),
        Missing(subject=nic().id, fact="numa_index", reason="sysfs says numa_node -1."),
    ]
    return judge(machine(*numas(2), *nodes, nic(), links=links, unknown=unknown))


def test_names_are_unique_and_known_to_the_screen() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert set(ALL_WELL) == {*names, software.NAME}
    assert all(re.fullmatch(r"[a-z0-9-]{1,14}", name) for name in ALL_WELL)


def test_what_fails_comes_first() -> None:
    found = [verdict.level for verdict in faulty()]
    assert found == sorted(found, key=["FAIL", "WARN", "OK"].index)
    assert {"FAIL", "WARN", "OK"} <= set(found)


def test_every_verdict_has_a_sentence_and_a_fix_where_needed() -> None:
    for verdict in faulty():
        assert verdict.evidence[0].isupper() or verdict.evidence[0].isdigit()
        assert verdict.evidence.endswith(".")
        assert (verdict.fix is None) is (verdict.level == "OK")


def test_software_is_judged_only_where_it_is_told() -> None:
    assert {v.check for v in judge(machine())} == {"driver"}
    assert {v.check for v in judge(machine(), ())} == {"driver", "software"}


def test_empty_machine_has_no_fault() -> None:
    assert [verdict.level for verdict in judge(machine())] == ["OK"]


def test_same_finding_on_many_devices_is_one_sentence() -> None:
    made = machine(*(gpu(i) for i in range(3)), nic(0), nic(1))
    names = Names(made)

    def said(check: str, *subjects: str) -> str:
        verdicts = [
            Verdict(level="OK", check=check, subject=s, evidence=f"Has {s}.") for s in subjects
        ]
        (group,) = grouped(verdicts)
        return sentence(group, names)

    assert said("x", gpu(1).id) == "GPU 1 has gpu@0000:02:00.0."
    assert said("x", *(gpu(i).id for i in range(3))) == "Each of GPUs 0-2 has gpu@…."
    assert said("x", nic(0).id, nic(1).id) == "Each of NIC eth0 and NIC eth1 has nic@…."
    assert said("x", f"{gpu(0).id} {nic(0).id}").startswith("The pair GPU 0, NIC eth0 has")


def test_many_names_are_counted() -> None:
    nodes = [nic(i) for i in range(5)]
    text = Names(machine(*nodes)).each([node.id for node in nodes])
    assert text == "NIC eth0 (and 4 more)"


def test_pairs_without_a_class_do_not_disturb() -> None:
    pair = Pair(a=gpu(0).id, b=gpu(1).id, path_class=None)
    assert judge(machine(gpu(0), gpu(1), pairs=[pair])) is not None
