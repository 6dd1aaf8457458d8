"""Which NICs serve a GPU best."""

from __future__ import annotations

import pytest

from topoprobe.machine.building import build
from topoprobe.machine.facts import Facts, GpuFact, NicFact, PairFact, PciFact
from topoprobe.machine.nearness import nearest_nics
from topoprobe.machine.view import Machine
from topoprobe.records.base import Tool
from topoprobe.records.machine import Nic, NicPort

Card = tuple[str, float | None, str | None]  # path class, rate in Gb/s, model


def nearest(*cards: Card) -> tuple[str | None, list[int]]:
    """Return the class, and which of the cards are nearest."""
    addresses = [f"0000:0{i}:00.0" for i in range(len(cards))]
    functions, nics, pairs = [], [], []
    for address, (name, rate, model) in zip(addresses, cards, strict=True):
        port = NicPort(name=address, rate_bits_per_s=None if rate is None else rate * 1e9)
        functions.append(PciFact(address=address, class_code="020000", name=model))
        nics.append(NicFact(key=address, address=address, ports=(port,)))
        pairs.append(PairFact(a="gpu:0", b=address, path_class=name))
    facts = Facts(
        source="a",
        functions=tuple(functions),
        gpus=(GpuFact(subject="gpu:0"),),
        nics=tuple(nics),
        pairs=tuple(pairs),
    )
    machine = Machine(build([facts], origin="recorded", tool=Tool(tool_version="0")))
    name, ids = nearest_nics(machine, "gpu:0", machine.all(Nic))
    return name, [addresses.index(node_id.removeprefix("nic@")) for node_id in ids]


I350 = "I350 Gigabit Network Connection"


@pytest.mark.parametrize(
    ("cards", "path_class", "ids"),
    [
        ([("PIX", 100, None), ("PHB", 400, None)], "PIX", [0]),
        ([("PIX", 100, None), ("PIX", 400, None), ("PIX", 400, None)], "PIX", [1, 2]),
        ([("PIX", None, None), ("PIX", 400, None)], "PIX", [0, 1]),
        # a management port, by its rate or by its name
        ([("PHB", 1, None), ("NODE", 200, None)], "NODE", [1]),
        ([("PHB", None, I350), ("NODE", None, None)], "NODE", [1]),
        ([("PHB", None, "82599ES 10-Gigabit"), ("NODE", 200, None)], "PHB", [0]),
        ([("PHB", None, "X722 for 1GbE"), ("NODE", 10, None)], "NODE", [1]),
        ([("PHB", None, "X550 10 Gigabit"), ("NODE", 200, None)], "PHB", [0]),
        # better than one across the link between NUMA nodes
        ([("PHB", 1, None), ("SYS", 200, None)], "PHB", [0]),
        ([("SYS", 1, None), ("SYS", 200, None)], "SYS", [1]),
        ([(None, 200, None)], None, []),
        ([], None, []),
    ],
)
def test_nearest_nic_is_near_and_carries_most(
    cards: list[Card], path_class: str | None, ids: list[int]
) -> None:
    assert nearest(*cards) == (path_class, ids)
