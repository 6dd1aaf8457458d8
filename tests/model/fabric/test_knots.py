from __future__ import annotations

import pytest

from topoprobe.model.fabric.demand import Demand, Use
from topoprobe.model.fabric.equilibrium import breaches
from topoprobe.model.fabric.fluid import solve
from topoprobe.model.fabric.resource import BYTE_FAIR, Resource


def read(name: str, *way: str, txn: float = 256.0, beside: str | None = None) -> Demand:
    requests = () if beside is None else (Use(beside, 24 / 512),)
    return Demand(name, tuple(Use(each, 1.0) for each in way), requests, txn, float("inf"), 55.5e9)


def test_requests_that_take_many_turns_and_few_bytes_settle_with_writes() -> None:
    # What the requests of "near" may take changes by 23 times what the write changes by.
    resources = [
        Resource("memory", "memory", 241e9, BYTE_FAIR),
        Resource("socket", "upi", 101.7e9, BYTE_FAIR),
        Resource("wire", "pcie", 59.86e9),
    ]
    demands = [
        read("near", "memory", "socket", txn=128.0, beside="wire"),
        read("far a", "memory", "socket"),
        read("far b", "memory", "socket"),
        read("local", "memory"),
        Demand("write", (Use("wire", 1.0938), Use("memory", 1.34))),
        Demand("slow", (Use("memory", 1.34),), cap_bytes_per_s=9.2e9),
    ]
    found = {name: got.rate_bytes_per_s for name, got in solve(resources, demands).items()}
    assert breaches(resources, demands, found) == []
    taken = sum(found[name] for name in ("near", "far a", "far b"))
    assert taken == pytest.approx(101.7e9)


def test_two_wires_with_the_same_flows_do_not_take_each_other_for_the_bottleneck() -> None:
    # The second one is a hair wider for one flow and narrower for the other: neither is implied.
    resources = [Resource(name, "pcie", 10.0) for name in ("one", "two")]
    demands = [
        Demand("a", (Use("one", 1.0), Use("two", 0.9999))),
        Demand("b", (Use("one", 0.9999), Use("two", 1.0))),
    ]
    found = {name: got.rate_bytes_per_s for name, got in solve(resources, demands).items()}
    assert breaches(resources, demands, found) == []
    assert found == pytest.approx({"a": 5.0, "b": 5.0}, rel=1e-3)
