from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.trees import random_tree
from tests.model.fabric.made_up import made_up
from topoprobe.errors import ModelError
from topoprobe.measure.flows import parse_flow_set
from topoprobe.model.fabric.demand import Demand, Use, Way
from topoprobe.model.fabric.machines.detours import ways_between
from topoprobe.model.fabric.machines.fabric import MachineFabric
from topoprobe.model.fabric.resource import Resource
from topoprobe.model.fabric.routes import Split, split
from topoprobe.model.fabric.timeline import Move, ends


def wires(**capacities: float) -> list[Resource]:
    return [Resource(name, "pcie", size) for name, size in capacities.items()]


def way(name: str, *uses: str, per_byte: float = 1.0) -> Way:
    return Way(name, tuple(Use(each, per_byte) for each in uses))


TRANSFER = Move(Demand("t", (), cap_bytes_per_s=1e12), 60.0)


def parts(found: Split) -> dict[str, float]:
    return {piece.way.name: piece.num_bytes for piece in found.pieces}


def test_bytes_go_as_the_rates_of_ways_that_share_nothing() -> None:
    found = split(wires(a=4.0, b=2.0), [way("own", "a"), way("over", "b")], TRANSFER)
    assert parts(found) == pytest.approx({"own": 40.0, "over": 20.0})
    assert (found.duration_s, found.gain) == (pytest.approx(10.0), pytest.approx(1.5))
    assert found.bottleneck == "a"


def test_way_that_only_takes_from_a_better_one_is_left_out() -> None:
    ways = [way("own", "a"), way("twice", "a", per_byte=2.0)]
    found = split(wires(a=4.0), ways, TRANSFER)
    assert parts(found) == pytest.approx({"own": 60.0})
    assert found.gain == 1.0


def test_split_takes_in_that_a_flow_in_its_way_will_end() -> None:
    busy = Move(Demand("busy", (Use("b", 1.0),)), 10.0)
    found = split(wires(a=4.0, b=4.0), [way("own", "a"), way("over", "b")], TRANSFER, [busy])
    # 2 of b's 4 until the other has moved 10, by 5 s; then all: 6 * 5 + 8 * 3.75.
    assert found.duration_s == pytest.approx(8.75)
    assert parts(found) == pytest.approx({"own": 35.0, "over": 25.0})


@given(st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_split_is_never_slower_than_the_best_single_way(rng: random.Random) -> None:
    tree = random_tree(rng, (128.0, 256.0))
    demands = rng.sample(tree.demands, len(tree.demands))
    ways = [Way(each.id, each.along) for each in demands[:4]]
    beside = [Move(each, rng.choice((1e9, float("inf")))) for each in demands[4:]]
    transfer = Move(replace(demands[0], id="t"), 1e9)
    found = split(tree.resources, ways, transfer, beside)
    assert sum(parts(found).values()) == pytest.approx(1e9)
    for each in ways:
        alone = replace(transfer.demand, along=each.along, beside=each.beside)
        took = ends(tree.resources, [Move(alone, 1e9), *beside])["t"]
        assert took is not None
        assert found.duration_s <= took * (1 + 1e-9)
        assert found.single_s <= took * (1 + 1e-9)


@pytest.mark.parametrize(
    ("ways", "transfer", "says"),
    [
        ([], TRANSFER, "has the ways none"),
        ([way("own", "a"), way("own", "b")], TRANSFER, "a name of its own"),
        ([way("own", "a")], replace(TRANSFER, num_bytes=float("inf")), "inf bytes"),
        ([way("own", "a")], replace(TRANSFER, num_bytes=-1.0), "-1 bytes"),
        ([way("own", "c")], TRANSFER, "no resource c"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(ways: list[Way], transfer: Move, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        split(wires(a=1.0, b=1.0), ways, transfer)


def test_pull_over_idle_peers_gains_fourfold_and_less_as_they_get_busy() -> None:
    fabric = MachineFabric(made_up("hgx-h100"))
    (flow,) = parse_flow_set("host:0 -> gpu:0 via ce").flows
    ways = ways_between(fabric, flow)
    transfer = Move(fabric.place(flow, "pull").demand, 8 * 2**30)
    gains = []
    for num_flows in (0, 1, 2, 4, 8):
        beside = [
            Move(fabric.place(each, f"{each} {copy}").demand)
            for peer in range(1, 8)
            for copy in range(num_flows)
            for each in parse_flow_set(f"host:{peer // 4} -> gpu:{peer} via ce").flows
        ]
        gains.append(split(fabric.resources.values(), ways, transfer, beside).gain)
    assert gains[0] >= 4.0
    assert gains == sorted(gains, reverse=True)


def test_split_falls_back_to_its_own_path_as_the_others_get_busy() -> None:
    ways = [way("own", "a"), way("over b", "b"), way("over c", "c")]
    gains = []
    for num_flows in (0, 1, 3, 9, 99):
        beside = [
            Move(Demand(f"{name}{copy}", (Use(name, 1.0),)))
            for name in ("b", "c")
            for copy in range(num_flows)
        ]
        gains.append(split(wires(a=4.0, b=4.0, c=4.0), ways, TRANSFER, beside).gain)
    assert gains == pytest.approx([1 + 2 / (1 + num) for num in (0, 1, 3, 9, 99)])
