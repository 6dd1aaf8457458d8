"""Whether a slow link is a fault, at rest, or not to be judged."""

from __future__ import annotations

import msgspec
import pytest

from tests.machine.verdicts.made_up import GT, gpu, levels, link, machine, nic
from topoprobe.machine.pcie import capability
from topoprobe.machine.verdicts import link_speed, link_width
from topoprobe.records.base import Verdict
from topoprobe.records.machine import (
    Contradiction,
    Link,
    Nvme,
    NvSwitch,
    Other,
    PcieSwitch,
    PciNode,
    Provenance,
)

FULL = (4, 16)


def verdicts_on(node: PciNode, link_of_it: Link, **more: object) -> list[Verdict]:
    return list(link_speed.judge(machine(node, links=[link_of_it], **more)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "level"),
    [("P0", "FAIL"), ("P2", "FAIL"), ("P3", "OK"), ("P8", "OK"), (None, "WARN"), ("?", "WARN")],
)
def test_slow_gpu_is_judged_by_its_performance_state(state: str | None, level: str) -> None:
    node = gpu(performance_state=state)
    (verdict,) = verdicts_on(node, link(node, (1, 16), FULL, FULL))
    assert verdict.level == level
    assert verdict.subject == "pcie@0000:01:00.0"
    assert "Runs at Gen1 where both ends can Gen4" in verdict.evidence


@pytest.mark.parametrize(
    ("state", "is_idle", "level"),
    [("P0", True, "WARN"), ("P0", False, "FAIL"), ("P8", False, "OK"), (None, False, "FAIL")],
)
def test_idle_gpu_may_rest_in_its_highest_state(
    state: str | None, is_idle: bool, level: str
) -> None:
    node = gpu(performance_state=state, is_idle=is_idle)
    assert levels(verdicts_on(node, link(node, (1, 16), FULL, FULL))) == [level]


def test_limit_that_the_driver_told_is_of_both_ends() -> None:
    node = gpu(performance_state="P0")
    slow = link(node, (3, 16), FULL, None)
    told = Provenance(subject=node.id, source="nvml", facts=("nominal",))
    assert levels(verdicts_on(node, slow, provenance=[told])) == ["FAIL"]


def test_fault_names_state_cost_and_gain() -> None:
    node = gpu(performance_state="P0")
    (verdict,) = verdicts_on(node, link(node, (3, 16), FULL, FULL))
    assert "at P0, which costs 50 % of its bandwidth" in verdict.evidence
    assert "from 15.8 GB/s to 31.5 GB/s" in (verdict.fix or "")


def test_device_that_sleeps_is_not_judged() -> None:
    node = gpu(performance_state="P0", power_state="D3hot")
    (verdict,) = verdicts_on(node, link(node, (1, 16), FULL, FULL))
    assert verdict.level == "OK"
    assert "D3hot" in verdict.evidence


def test_full_rate_is_well() -> None:
    node = gpu()
    (verdict,) = verdicts_on(node, link(node, FULL, FULL, (5, 16)))
    assert (verdict.level, verdict.evidence) == ("OK", "Runs at Gen4, as both ends can.")


def test_link_limited_by_its_other_end_is_well() -> None:
    node = nic()
    assert levels(verdicts_on(node, link(node, (4, 8), (4, 8), (5, 16)))) == ["OK"]


@pytest.mark.parametrize("slot", [None, (None, 16)])
@pytest.mark.parametrize(
    ("state", "now", "level"),
    [("P0", 3, "WARN"), ("P8", 1, "OK"), (None, 1, "WARN"), ("P0", 4, "OK")],
)
def test_gpu_whose_slot_is_unknown_is_judged_by_what_it_can_itself(
    state: str | None, now: int, level: str, slot: tuple[int | None, int] | None
) -> None:
    node = gpu(performance_state=state)
    assert levels(verdicts_on(node, link(node, (now, 16), FULL, slot))) == [level]


def test_link_whose_lower_end_or_device_tells_nothing_is_not_judged() -> None:
    node = gpu(performance_state="P0")
    assert verdicts_on(node, link(node, (1, 16), None, (None, 16))) == []
    assert verdicts_on(nic(), link(nic(), (1, 16), FULL, None)) == []


def test_card_in_a_slower_slot_is_worth_a_look() -> None:
    node = gpu(performance_state="P0")
    (verdict,) = verdicts_on(node, link(node, (3, 16), (5, 16), (3, 16)))
    assert verdict.level == "WARN"
    assert verdict.evidence == (
        "Is a Gen5 card in a Gen3 slot, which costs 75 % of the bandwidth that it could have "
        "(15.8 GB/s of 63.0 GB/s)."
    )


def test_limit_of_gpu_and_slot_that_is_below_the_gpus_own_is_the_slots() -> None:
    node = gpu(performance_state="P0")
    slow = msgspec.structs.replace(
        link(node, (3, 16), (5, None), None), nominal=capability(GT[3], 16)
    )
    told = Provenance(subject=node.id, source="nvidia-smi-q q.xml", facts=("nominal",))
    (verdict,) = verdicts_on(node, slow, provenance=[told])
    assert verdict.level == "WARN"
    assert "Gen5 card in a Gen3 slot" in verdict.evidence


@pytest.mark.parametrize("slot", [(5, 16), None])
def test_card_of_the_next_generation_is_well_in_the_newest_slot(
    slot: tuple[int, int] | None,
) -> None:
    node = gpu(performance_state="P0")
    (verdict,) = verdicts_on(node, link(node, (5, 16), (6, 16), slot))
    assert verdict.level == "OK"
    assert ("all that its slot can" if slot else "no slot is faster") in verdict.evidence


def test_slower_slot_of_a_nic_matters_if_its_port_is_faster() -> None:
    for rate, level in ((25e9, "OK"), (200e9, "WARN")):  # Gen3 x16 carries 126 Gb/s
        node = nic(rate=rate)
        assert levels(verdicts_on(node, link(node, (3, 16), FULL, (3, 16)))) == [level]


def test_figure_that_may_be_the_most_is_not_taken_for_that_of_now() -> None:
    node = gpu(performance_state="P0")
    doubtful = msgspec.structs.replace(link(node, (3, 8), FULL, FULL), may_be_maximum=True)
    assert verdicts_on(node, doubtful) == []
    assert list(link_width.judge(machine(node, links=[doubtful]))) == []


def test_fault_in_a_state_that_is_not_told_is_a_whole_sentence() -> None:
    node = gpu(is_idle=False)
    (verdict,) = verdicts_on(node, link(node, (3, 16), FULL, FULL))
    assert verdict.evidence == (
        "Runs at Gen3 where both ends can Gen4, which costs 50 % of its bandwidth."
    )


def test_nic_and_drive_never_rest() -> None:
    drive = Nvme(id="nvme@0000:05:00.0", name="nvme0n1", pci_address="0000:05:00.0")
    for node in (nic(), drive):
        assert levels(verdicts_on(node, link(node, (3, 4), (4, 4), (4, 4)))) == ["FAIL"]


def test_slow_console_is_only_worth_a_look() -> None:
    node = Other(id="other@0000:05:00.0", name="screen", pci_address="0000:05:00.0")
    assert levels(verdicts_on(node, link(node, (1, 1), (2, 1), (2, 1)))) == ["WARN"]


def test_nvswitch_rests_its_management_link() -> None:
    node = NvSwitch(id="nvswitch@0000:05:00.0", name="NVSwitch", pci_address="0000:05:00.0")
    assert levels(verdicts_on(node, link(node, (1, 2), (4, 2), (4, 2)))) == ["OK"]


def test_card_with_its_own_switch_rests_as_its_gpu_does() -> None:
    switch = PcieSwitch(
        id="pcie_switch@0000:05:00.0", name="switch", pci_address="0000:05:00.0", pci_vendor="1002"
    )
    node = gpu(pci_vendor="1002", parent=switch.id)
    slow = link(switch, (1, 16), FULL, FULL)
    assert levels(link_speed.judge(machine(switch, node, links=[slow]))) == ["WARN"]
    stranger = gpu(parent=switch.id)
    assert levels(link_speed.judge(machine(switch, stranger, links=[slow]))) == ["FAIL"]


def test_functions_of_one_card_are_judged_once_by_the_gpu() -> None:
    node = gpu(performance_state="P8")
    sound = Other(id="other@0000:01:00.1", name="audio", pci_address="0000:01:00.1")
    links = [link(sound, (1, 16), FULL, FULL), link(node, (1, 16), FULL, FULL)]
    (verdict,) = link_speed.judge(machine(node, sound, links=links))
    assert (verdict.level, verdict.subject) == ("OK", "pcie@0000:01:00.0")


def test_contradicted_link_is_not_judged() -> None:
    node = gpu(performance_state="P0")
    slow = link(node, (1, 16), FULL, FULL)
    doubt = Contradiction(subject=slow.id, fact="current", readings=("a", "b"), meaning="")
    assert verdicts_on(node, slow, contradictions=[doubt]) == []


def test_ports_of_a_guest_prove_nothing_but_the_gpus_own_rate_is_worth_a_look() -> None:
    node = gpu(performance_state="P0", is_idle=False)
    (verdict,) = verdicts_on(node, link(node, (3, 16), (5, 16), (3, 16)), is_virtual=True)
    assert verdict.level == "WARN"
    assert verdict.evidence == (
        "Runs at Gen3 of its own Gen5, which costs 75 % of the bandwidth that it could have "
        "(15.8 GB/s of 63.0 GB/s); what the slot can is not told."
    )


def test_emulated_switch_is_not_judged() -> None:
    switch = PcieSwitch(
        id="pcie_switch@0000:05:00.0", name="switch", pci_address="0000:05:00.0",
        pci_vendor="104c", pci_device="8232",
    )  # fmt: skip
    node = gpu(parent=switch.id, performance_state="P0")
    links = [link(switch, (1, 1), (2, 1), (2, 1)), link(node, (3, 16), FULL, FULL, above=switch.id)]
    assert list(link_speed.judge(machine(switch, node, links=links))) == []
