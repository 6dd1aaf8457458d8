"""Verdicts for people: the screen, and the block for a bug report."""

from __future__ import annotations

import pytest

from tests.machine.verdicts.made_up import gpu, link, machine, nic, numas
from topoprobe.machine.diagnosis import markdown, screen
from topoprobe.machine.verdicts import judge
from topoprobe.machine.view import Machine
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Contradiction


def faulty(**host: object) -> Machine:
    nodes = [gpu(i, performance_state="P0", numa_index=i % 2, driver="nvidia 580.1", memory_bytes=1)
             for i in range(4)]  # fmt: skip
    links = [link(node, (4, 16), (4, 16), (4, 16)) for node in nodes[:3]]
    links.append(link(nodes[3], (4, 8), (4, 16), (4, 16)))
    return machine(*numas(2), *nodes, nic(numa_index=0), links=links, **host)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("are_all", [False, True])
def test_screen_fits_the_terminal(width: int, are_all: bool) -> None:
    made = faulty()
    text = screen(made, judge(made, ()), width, are_all=are_all)
    assert max(len(line) for line in text.splitlines()) <= width
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_screen_begins_with_what_to_do() -> None:
    made = faulty()
    lines = screen(made, judge(made), 80, are_all=False).splitlines()
    assert lines[0].startswith("1 thing to mend; ")
    assert lines[2:4] == [
        "FAIL link-width     GPU 3 runs x8 of x16, which costs 50 % of its host",
        "                    bandwidth.",
    ]
    assert lines[4].startswith(" " * 20 + "→ Reseat it")


def test_what_is_well_takes_one_line_for_each_check() -> None:
    made = faulty()
    verdicts = judge(made)
    lines = screen(made, verdicts, 200, are_all=False).splitlines()
    well = [line for line in lines if line.startswith("OK ")]
    assert len(well) == len({v.check for v in verdicts if v.level == "OK"})
    assert "OK   link-speed     Each of GPUs 0-3 runs at Gen4, as both ends can." in well
    assert "OK   numa-place     5 devices have a known NUMA node." in well
    assert len(screen(made, verdicts, 200, are_all=True).splitlines()) > len(lines)


def test_machine_without_faults_is_said_to_have_none() -> None:
    text = screen(machine(), judge(machine()), 80, are_all=False)
    assert text.startswith("Nothing to mend: 1 check found no fault.\n")


def test_headline_counts_no_check_that_found_nothing() -> None:
    verdict = Verdict(level="WARN", check="x", subject="host", evidence="Odd.", fix="Look.")
    assert screen(machine(), [verdict], 80, are_all=False).startswith("1 thing to look at.\n")


def test_markdown_is_a_table_with_machine_and_versions() -> None:
    made = faulty(product="Board 9000", operating_system="Linux 6.1")
    lines = markdown(made, judge(made), ["topoprobe 1.2"]).splitlines()
    assert lines[2:4] == ["| level | check | found | fix |", "| --- | --- | --- | --- |"]
    assert lines[4].startswith("| FAIL | link-width | GPU 3 runs x8 of x16")
    assert "- 2 NUMA nodes, 4 GPUs, 1 NIC." in lines
    assert "- Board 9000, Linux 6.1" in lines
    assert lines[-1] == "- topoprobe 1.2"


def test_markdown_withholds_what_is_private() -> None:
    uuid = "GPU-5ca1ab1e-0000-4000-8000-00000000beef"
    doubt = Contradiction(
        subject=gpu().id,
        fact="uuid",
        readings=(
            f"nvml: {uuid}",
            "test /home/me: 00:1b:21:0a:bc:de",
            "box at 0c42:a103:00ab:1234",
        ),
        meaning="The first is used.",
    )
    made = machine(gpu(), contradictions=[doubt])
    text = markdown(made, judge(made), [])
    for secret in ("beef", "0a:bc:de", "00ab:1234", "box"):
        assert secret not in text
    assert "(withheld)" in text


def test_hostile_text_breaks_neither_table_nor_terminal() -> None:
    verdict = Verdict(
        level="WARN", check="x", subject="host", evidence="Evil | <b>\n| row\x1b[2J.", fix="No."
    )
    made = machine()
    (row,) = [line for line in markdown(made, [verdict], []).splitlines() if "Evil" in line]
    assert row == r"| WARN | x | Evil \| \<b> \| row?[2J. | No. |"
    assert "\x1b" not in screen(made, [verdict], 80, are_all=False)
