"""Whether missing lanes are a fault, and whether a card is in too narrow a slot."""

from __future__ import annotations

import msgspec
import pytest

from tests.machine.verdicts.made_up import gpu, levels, link, machine, nic
from topoprobe.machine.verdicts import link_width
from topoprobe.records.base import Missing
from topoprobe.records.machine import Other, PcieSwitch, Provenance

FULL = (4, 16)


@pytest.mark.parametrize("state", ["P0", "P8", None])
def test_missing_lanes_of_an_nvidia_gpu_are_a_fault_in_any_state(state: str | None) -> None:
    node = gpu(performance_state=state)
    (verdict,) = link_width.judge(machine(node, links=[link(node, (1, 8), FULL, FULL)]))
    assert verdict.level == "FAIL"
    assert verdict.evidence == "Runs x8 of x16, which costs 50 % of its host bandwidth."
    assert "from 15.8 GB/s to 31.5 GB/s" in (verdict.fix or "")


def test_gpu_that_is_off_is_not_judged() -> None:
    node = gpu(power_state="D3cold")
    assert levels(link_width.judge(machine(node, links=[link(node, (1, 8), FULL, FULL)]))) == ["OK"]


def test_other_gpu_may_rest_lanes_with_the_rate() -> None:
    node = gpu(pci_vendor="1002")
    at_rest, at_work = link(node, (1, 8), FULL, FULL), link(node, (4, 8), FULL, FULL)
    assert levels(link_width.judge(machine(node, links=[at_rest]))) == ["WARN"]
    assert levels(link_width.judge(machine(node, links=[at_work]))) == ["FAIL"]


def test_unknown_slot_is_worth_a_look() -> None:
    node = gpu()
    (verdict,) = link_width.judge(machine(node, links=[link(node, (4, 8), FULL, None)]))
    assert verdict.level == "WARN"
    assert "what the slot can is not told" in verdict.evidence


def test_limit_that_the_driver_told_is_of_both_ends() -> None:
    node = gpu()
    told = Provenance(subject=node.id, source="nvml", facts=("nominal",))
    made = machine(node, links=[link(node, (4, 8), FULL, None)], provenance=[told])
    assert levels(link_width.judge(made)) == ["FAIL"]


def test_slot_of_a_guest_is_unknown() -> None:
    node = gpu()
    links = [link(node, (4, 8), FULL, FULL)]
    assert levels(link_width.judge(machine(node, links=links, is_virtual=True))) == ["WARN"]


def test_narrower_card_is_well() -> None:
    node = nic()
    (verdict,) = link_width.judge(machine(node, links=[link(node, (4, 8), (4, 8), (5, 16))]))
    assert (verdict.level, verdict.evidence) == ("OK", "Uses x8 of x8, in an x16 slot.")


def test_gpu_in_a_narrow_slot_is_worth_a_look() -> None:
    node = gpu()
    (verdict,) = link_width.judge(machine(node, links=[link(node, (4, 8), FULL, (4, 8))]))
    assert verdict.level == "WARN"
    assert "an x16 card in an x8 slot, which costs 50 %" in verdict.evidence


def test_narrow_and_slow_slot_costs_both_and_a_chip_sets_cannot_be_set_wider() -> None:
    switch = PcieSwitch(id="pcie_switch@0000:09:00.0", name="chip set")
    node = gpu(parent=switch.id)
    low = link(node, (3, 4), FULL, (3, 4), above=switch.id)
    (verdict,) = link_width.judge(machine(switch, node, links=[low]))
    assert "costs 88 % of the bandwidth that it could have (3.94 GB/s of" in verdict.evidence
    assert "bifurcation" not in (verdict.fix or "")


def test_links_that_only_root_may_read_are_said_not_to_be_judged() -> None:
    nodes = [gpu(0), nic(0), Other(id="other@0000:05:00.0", name="screen")]
    why = [
        Missing(
            subject=f"pcie@{node.id.partition('@')[2]}", fact="nominal",
            reason="The text has no LnkCap lines; run lspci -vvv as root.",
        )
        for node in nodes
    ]  # fmt: skip
    links = [link(node, (None, None), None, None) for node in nodes]
    silent = [msgspec.structs.replace(one, current=None) for one in links]
    (verdict,) = link_width.judge(machine(*nodes, links=silent, unknown=why))
    assert (verdict.level, verdict.subject) == ("WARN", "host")
    assert "Neither width nor speed of 2 links could be judged: The text" in verdict.evidence


@pytest.mark.parametrize(("rate", "level"), [(100e9, "OK"), (200e9, "WARN"), (None, "OK")])
def test_nic_in_a_narrow_slot_matters_if_its_port_is_faster(rate: float | None, level: str) -> None:
    node = nic(rate=rate)  # Gen4 x8 carries 126 Gb/s
    assert levels(link_width.judge(machine(node, links=[link(node, (4, 8), FULL, (4, 8))]))) == [
        level
    ]


def test_unknown_width_is_not_judged() -> None:
    node = gpu()
    assert list(link_width.judge(machine(node, links=[link(node, (4, None), FULL, FULL)]))) == []
