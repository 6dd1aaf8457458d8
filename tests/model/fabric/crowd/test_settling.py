from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest

from benchmarks import fluid
from benchmarks.fluid import Flows, one_machine
from benchmarks.trees import random_tree
from topoprobe.errors import ModelError
from topoprobe.model.fabric import settling
from topoprobe.model.fabric.crowd import settling as crowd
from topoprobe.model.fabric.demand import Demand, Use
from topoprobe.model.fabric.equilibrium import breaches
from topoprobe.model.fabric.fluid import solve
from topoprobe.model.fabric.resource import Resource


@pytest.fixture
def all_are_crowds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "NUM_CROWD", 2)


@pytest.mark.parametrize("seed", range(40))
def test_rates_of_a_crowd_are_those_of_few(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = random_tree(random.Random(seed), (64.0, 256.0), (0.0, 1.0), max_links=30, max_flows=60)
    resources, demands = tree.resources, tree.demands
    few = {name: got.rate_bytes_per_s for name, got in solve(resources, demands).items()}
    monkeypatch.setattr(settling, "NUM_CROWD", 2)
    crowded = {name: got.rate_bytes_per_s for name, got in solve(resources, demands).items()}
    assert breaches(resources, demands, crowded) == []
    assert crowded == pytest.approx(few)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("is_equal", [False, True])
def test_a_thousand_flows_on_a_machine_get_fair_rates(seed: int, is_equal: bool) -> None:
    machine = one_machine()
    demands = list(itertools.islice(Flows(machine, random.Random(seed)).local(""), 1000))
    if is_equal:
        demands = [replace(each, txn_bytes=128.0) for each in demands]
    resources = list(machine.resources.values())
    rates = {name: got.rate_bytes_per_s for name, got in solve(resources, demands).items()}
    assert breaches(resources, demands, rates) == []


def test_flows_whose_wants_swing_in_a_ring_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    # With steps that are all alike they swing without end.
    monkeypatch.setattr(fluid, "NUM_HOSTS", 8)
    pod = fluid.one_pod()
    flows = itertools.islice(Flows(pod, random.Random(920)).anywhere(), 800)
    demands = [
        replace(each, txn_bytes=min(each.txn_bytes, 256.0), cap_bytes_per_s=math.inf)
        for each in flows
    ]
    resources = list(pod.resources.values())
    rates = {name: got.rate_bytes_per_s for name, got in solve(resources, demands).items()}
    assert breaches(resources, demands, rates) == []


@pytest.mark.usefixtures("all_are_crowds")
def test_flows_that_are_tied_all_round_a_ring_get_their_halves() -> None:
    # Each wire is used up by halves, and "thin" is used up beside, by coincidence.
    resources = [Resource(name, "pcie", 10.0) for name in ("thin", "a", "b", "c")]
    demands = [
        Demand("1", (Use("thin", 1.0), Use("a", 1.0))),
        Demand("2", (Use("a", 1.0), Use("b", 1.0))),
        Demand("3", (Use("b", 1.0), Use("c", 1.0))),
        Demand("4", (Use("c", 1.0), Use("thin", 1.0)), cap_bytes_per_s=9.0),
    ]
    rates = {name: got.rate_bytes_per_s for name, got in solve(resources, demands).items()}
    assert breaches(resources, demands, rates) == []
    assert rates == pytest.approx(dict.fromkeys("1234", 5.0))


@pytest.mark.usefixtures("all_are_crowds")
def test_where_several_rates_are_fair_some_are_found() -> None:
    # A pair and a single that share an egress wire and part after it, crosswise: what the pair
    # has more at one egress the single has less, and so round the ring.
    resources = [Resource(name, "pcie", 6.0) for name in ("out1", "out2", "in1", "in2")]
    demands = [
        *(Demand(f"a{each}", (Use("out1", 1.0), Use("in2", 1.0))) for each in range(2)),
        Demand("a", (Use("out1", 1.0), Use("in1", 1.0))),
        *(Demand(f"b{each}", (Use("out2", 1.0), Use("in1", 1.0))) for each in range(2)),
        Demand("b", (Use("out2", 1.0), Use("in2", 1.0))),
    ]
    rates = {name: got.rate_bytes_per_s for name, got in solve(resources, demands).items()}
    assert breaches(resources, demands, rates) == []
    assert sum(rates[name] for name in ("a0", "a1", "a")) == pytest.approx(6.0)


@pytest.mark.usefixtures("all_are_crowds")
def test_flows_without_an_end_to_their_bargain_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crowd, "NEAR_RATIOS", ())
    wire = Resource("wire", "pcie", 10.0)
    demands = [Demand(name, (Use("wire", 1.0),)) for name in ("a", "b")]
    with pytest.raises(ModelError, match=r"No fair rates were found for 2 flows.*\(a, b, \.\.\.\)"):
        solve([wire], demands)
