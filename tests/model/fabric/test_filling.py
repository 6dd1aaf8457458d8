from __future__ import annotations

from collections.abc import Sequence

import pytest

from topoprobe.model.fabric.arbiter import Arbiter, Flow
from topoprobe.model.fabric.demand import Demand, Use
from topoprobe.model.fabric.filling import Filling
from topoprobe.model.fabric.resource import BYTE_FAIR, Resource, Sharing


def filled(resources: Sequence[Resource], demands: Sequence[Demand]) -> tuple[Filling, list[Flow]]:
    known = {each.id: each for each in resources}
    arbiters = {name: Arbiter(each) for name, each in known.items()}
    flows = [Flow(each, known) for each in demands]
    ways = {flow: [arbiters[name] for name in flow.takes] for flow in flows}
    for flow, at in ways.items():
        flow.limit_bytes_per_s = min(
            flow.cap_bytes_per_s, *(known[arbiter.id].capacity_per_s for arbiter in at)
        )
        for arbiter in at:
            arbiter.add(flow)
    return Filling(ways), flows


def names(filling: Filling) -> dict[str, str | None]:
    return {flow.demand.id: at and at.id for flow, at in filling.held.items()}


def test_bottlenecks_are_found_one_after_the_other() -> None:
    resources = [Resource(name, "pcie", size) for name, size in (("one", 9.0), ("two", 12.0))]
    both = (Use("one", 1.0), Use("two", 1.0))
    filling, flows = filled(
        resources,
        [
            Demand("a", both[:1]),
            Demand("b", both[:1]),
            Demand("c", both),
            Demand("d", both[1:]),
            Demand("e", both[1:], cap_bytes_per_s=1.0),
        ],
    )
    assert not filling.waiting
    assert names(filling) == {"a": "one", "b": "one", "c": "one", "d": "two", "e": None}
    assert [filling.rates[flow] for flow in flows] == pytest.approx([3.0, 3.0, 3.0, 8.0, 1.0])


def circle() -> tuple[Filling, list[Flow]]:
    # The wire gives "small" a fifth, the memory gives both the same: each waits for the other.
    resources = [
        Resource("wire", "pcie", 10.0, Sharing(1.0)),
        Resource("memory", "memory", 9.0, BYTE_FAIR),
        Resource("apart", "memory", 4.0, BYTE_FAIR),
    ]
    wire, memory = (Use("wire", 1.0),), (Use("memory", 1.0),)
    return filled(
        resources,
        [
            Demand("small", wire, memory, txn_bytes=64.0),
            Demand("large", wire, memory, txn_bytes=256.0),
            Demand("other", (Use("apart", 1.0),)),
        ],
    )


def test_flows_of_arbiters_that_wait_for_each_other_are_left() -> None:
    filling, (small, large, other) = circle()
    assert filling.waiting == {small: 9.0, large: 9.0}
    assert filling.rates == {other: 4.0}
    assert names(filling) == {"small": "wire", "large": "memory", "other": None}


def test_guess_goes_on_where_arbiters_wait_for_each_other() -> None:
    filling, (small, large, _) = circle()
    guess = filling.guess([small, large])
    assert not filling.waiting
    # To "large" the wire offers 8 and the memory 4.5, to "small" 2 and 4.5.
    assert {flow.demand.id: at and at.id for flow, at in guess.items()} == {
        "small": "wire",
        "large": "memory",
    }
    assert [filling.rates[flow] for flow in (small, large)] == pytest.approx([2.0, 4.5])
