"""Facts that cannot be true as told."""

from __future__ import annotations

from topoprobe.machine.facts import PciFact
from topoprobe.machine.pcie import capability
from topoprobe.machine.scrutiny import odd_current_readings
from topoprobe.records.machine import Link, LinkKind

PORT, CARD = "0000:00:01.0", "0000:01:00.0"


def wire(lanes_above: int) -> tuple[Link, dict[str, PciFact]]:
    now = capability(8e9, 16)
    link = Link(
        id=f"pcie@{CARD}", kind=LinkKind.PCIE, a="host_bridge@0000:00", b=f"gpu@{CARD}",
        a_port=PORT, b_port=CARD, wire="w", current=now,
    )  # fmt: skip
    return link, {PORT: PciFact(address=PORT, current=capability(8e9, lanes_above))}


def test_ends_that_tell_different_speeds_are_named_for_people() -> None:
    link, functions = wire(lanes_above=8)
    (found,) = odd_current_readings([link], functions)
    assert (found.subject, found.fact) == (link.id, "current")
    assert found.readings == ("upper end Gen3 x8 7.88 GB/s", "lower end Gen3 x16 15.8 GB/s")


def test_ends_that_agree_are_no_contradiction() -> None:
    link, functions = wire(lanes_above=16)
    assert odd_current_readings([link], functions) == []
