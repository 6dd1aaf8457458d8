from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.trees import Tree, random_tree
from topoprobe.model.fabric.demand import Demand, Use
from topoprobe.model.fabric.equilibrium import breaches
from topoprobe.model.fabric.fluid import Fluid, solve
from topoprobe.model.fabric.resource import Resource, Sharing

SIZES = (64.0, 128.0, 256.0, 512.0)
LAWS = (0.0, 0.5, 1.0)
TREES = st.randoms(use_true_random=False).map(lambda rng: random_tree(rng, SIZES, LAWS))


def rates(tree: Tree) -> dict[str, float]:
    found = solve(tree.resources, tree.demands)
    return {name: each.rate_bytes_per_s for name, each in found.items()}


@given(TREES)
@settings(max_examples=200, deadline=None)
def test_rates_are_fair_and_within_every_capacity(tree: Tree) -> None:
    assert breaches(tree.resources, tree.demands, rates(tree)) == []


@given(TREES, st.floats(0.01, 100.0))
@settings(max_examples=60, deadline=None)
def test_rates_scale_with_capacities_and_caps(tree: Tree, factor: float) -> None:
    scaled = Tree(
        tuple(
            replace(each, capacity_per_s=each.capacity_per_s * factor) for each in tree.resources
        ),
        tuple(
            replace(each, cap_bytes_per_s=each.cap_bytes_per_s * factor) for each in tree.demands
        ),
    )
    assert rates(scaled) == pytest.approx({name: r * factor for name, r in rates(tree).items()})


@given(TREES, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_rates_do_not_depend_on_the_order_of_flows(tree: Tree, rng: random.Random) -> None:
    shuffled = Tree(
        tuple(rng.sample(tree.resources, len(tree.resources))),
        tuple(rng.sample(tree.demands, len(tree.demands))),
    )
    assert rates(shuffled) == pytest.approx(rates(tree))


@given(TREES, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_rates_after_changes_are_those_from_scratch(tree: Tree, rng: random.Random) -> None:
    fluid = Fluid(tree.resources)
    there: dict[str, Demand] = {}
    capacities = {each.id: each for each in tree.resources}
    for _ in range(12):
        demand = rng.choice(tree.demands)
        kind = rng.randrange(4)
        if kind == 0:
            chosen = rng.choice(tree.resources)
            capacities[chosen.id] = replace(chosen, capacity_per_s=rng.uniform(1e9, 60e9))
            fluid.set_capacity(chosen.id, capacities[chosen.id].capacity_per_s)
        elif demand.id not in there:
            fluid.add(demand)
            there[demand.id] = demand
        elif kind == 1:
            fluid.remove(demand.id)
            del there[demand.id]
        else:
            there[demand.id] = replace(demand, cap_bytes_per_s=rng.uniform(1e8, 30e9))
            fluid.set_cap(demand.id, there[demand.id].cap_bytes_per_s)
        fluid.settle()
    kept = {name: each.rate_bytes_per_s for name, each in fluid.allocations().items()}
    assert kept == pytest.approx(rates(Tree(tuple(capacities.values()), tuple(there.values()))))


def test_settle_tells_only_the_flows_that_a_change_can_touch() -> None:
    fluid = Fluid([Resource(name, "pcie", 10.0) for name in ("left", "right")])
    for name, where in (("a", "left"), ("b", "left"), ("c", "right"), ("d", "right")):
        fluid.add(Demand(name, (Use(where, 1.0),)))
    assert set(fluid.settle()) == {"a", "b", "c", "d"}
    assert fluid.settle() == ()
    fluid.set_cap("d", 1.0)
    assert set(fluid.settle()) == {"c", "d"}


def test_flows_that_share_only_what_cannot_run_out_are_solved_apart() -> None:
    fluid = Fluid([Resource("a", "pcie", 1.0), Resource("b", "pcie", 1.0), Resource("m", "m", 9.0)])
    for name, where in (("x", "a"), ("y", "a"), ("z", "b")):
        fluid.add(Demand(name, (Use(where, 1.0), Use("m", 1.0))))
    fluid.settle()
    fluid.remove("y")
    assert fluid.settle() == ("x",)


def test_arbiters_that_wait_for_each_other_settle_on_what_both_allow() -> None:
    # k leaves after "first", where i and k are behind one port and j behind another; "second" has
    # i and j only. "first" gives i less than j, "second" would give both the same.
    wires = {"port": 100.0, "first": 4.0, "second": 3.0, "end": 100.0}
    resources = [Resource(name, "pcie", size) for name, size in wires.items()]
    flows = [
        Demand("i", (Use("port", 1.0), Use("first", 1.0), Use("second", 1.0))),
        Demand("k", (Use("port", 1.0), Use("first", 1.0), Use("end", 1.0))),
        Demand("j", (Use("first", 1.0), Use("second", 1.0))),
    ]
    found = {name: each.rate_bytes_per_s for name, each in solve(resources, flows).items()}
    assert found == pytest.approx({"i": 1.0, "k": 1.0, "j": 2.0})


def test_laws_that_contradict_each_other_give_what_is_fair_to_both_flows() -> None:
    # Each resource prefers the other flow, so that many rates are fair; half each is the one that
    # does not depend on the order of flows.
    resources = [Resource("one", "m", 6.0), Resource("two", "m", 6.0)]
    flows = [
        Demand("a", (), (Use("one", 1.0), Use("two", 2.0)), txn_bytes=1.0),
        Demand("b", (), (Use("one", 2.0), Use("two", 1.0)), txn_bytes=1.0),
    ]
    found = {name: each.rate_bytes_per_s for name, each in solve(resources, flows).items()}
    assert found == pytest.approx({"a": 2.0, "b": 2.0})


@given(TREES, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_breaches_are_found_in_rates_that_are_not_fair(tree: Tree, rng: random.Random) -> None:
    fair = rates(tree)
    victim = rng.choice(list(fair))
    less = fair | {victim: fair[victim] * 0.9}
    assert any(victim in each and "holds it back" in each for each in breaches(*_with(tree, less)))
    more = fair | {victim: fair[victim] * 1.1}
    assert breaches(*_with(tree, more)) != []


def _with(
    tree: Tree, found: dict[str, float]
) -> tuple[tuple[Resource, ...], tuple[Demand, ...], dict[str, float]]:
    return tree.resources, tree.demands, found


def test_port_with_one_law_keeps_it_inside_a_resource_with_another() -> None:
    resources = [Resource("port", "pcie", 100.0), Resource("link", "x", 12.0, Sharing(0.0))]
    flows = [
        Demand("large", (Use("port", 1.0), Use("link", 1.0)), txn_bytes=200.0),
        Demand("small", (Use("port", 1.0), Use("link", 1.0)), txn_bytes=100.0),
        Demand("other", (Use("link", 1.0),), txn_bytes=50.0),
    ]
    found = {name: each.rate_bytes_per_s for name, each in solve(resources, flows).items()}
    assert found == pytest.approx({"large": 4.0, "small": 2.0, "other": 6.0})


@pytest.mark.parametrize("seed", range(40))
def test_shares_that_contradict_each_other_settle_all_the_same(seed: int) -> None:
    # Any resources in any order, with any law: far from what machines have.
    rng = random.Random(seed)
    resources = [
        Resource(f"r{each}", "wire", rng.uniform(1e9, 3e10), Sharing(rng.choice(LAWS)))
        for each in range(rng.randint(2, 8))
    ]
    flows = []
    for each in range(rng.randint(2, 14)):
        some = rng.sample(resources, rng.randint(1, min(5, len(resources))))
        uses = [Use(one.id, rng.choice((1.0, 1.34, 0.047, 0.5))) for one in some]
        way = rng.randint(0, len(uses))
        size = rng.choice(SIZES)
        flows.append(Demand(f"f{each}", tuple(uses[:way]), tuple(uses[way:]), size))
    found = {name: got.rate_bytes_per_s for name, got in solve(resources, flows).items()}
    assert breaches(resources, flows, found) == []


def test_rates_are_fair_where_offers_behind_a_port_fall() -> None:
    # Filling is not enough: once "small" is held at "third", its turns at "first" go to "large",
    # which takes more of it in them, and "left" has more than it would be offered there then.
    sizes = {"up": 30.0, "down": 30.0, "first": 15.0, "second": 60.0, "third": 3.75}
    resources = [
        Resource(name, "pcie", size, Sharing(0.5 if name == "up" else 1.0))
        for name, size in sizes.items()
    ]

    def flow(name: str, *way: str, txn: float, cap: float = float("inf")) -> Demand:
        uses = tuple(Use(each, 1.0 + 24.0 / txn) for each in way)
        return Demand(name, uses, txn_bytes=txn, cap_bytes_per_s=cap)

    demands = [
        flow("large", "up", "first", txn=256.0),
        flow("small", "up", "first", "second", "third", txn=64.0),
        flow("left", "down", "first", "second", "third", txn=64.0),
        flow("right", "down", "first", "second", txn=256.0, cap=13.2),
    ]
    found = {name: got.rate_bytes_per_s for name, got in solve(resources, demands).items()}
    assert breaches(resources, demands, found) == []
