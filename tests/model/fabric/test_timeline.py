from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.trees import Tree, random_tree
from topoprobe.errors import ModelError
from topoprobe.model.fabric.demand import Demand, Use
from topoprobe.model.fabric.fluid import solve
from topoprobe.model.fabric.resource import Resource
from topoprobe.model.fabric.timeline import Move, Timeline, ends

LINK = [Resource("link", "pcie", 10.0)]
TREES = st.randoms(use_true_random=False).map(lambda rng: random_tree(rng, (128.0, 256.0)))


def flow(name: str) -> Demand:
    return Demand(name, (Use("link", 1.0),))


def test_ends_of_flows_that_join_and_leave_are_those_by_hand() -> None:
    moves = [Move(flow("a"), 20.0), Move(flow("b"), 20.0, 1.0), Move(flow("c"), start_s=100.0)]
    # a alone moves 10 by 1 s, then shares 5 and 5 until it has the rest by 3 s; b ends alone.
    assert ends(LINK, moves) == {"a": pytest.approx(3.0), "b": pytest.approx(4.0), "c": None}


def test_changes_of_caps_and_capacities_count_from_when_they_happen() -> None:
    timeline = Timeline(LINK)
    timeline.start(flow("a"), 30.0)
    timeline.advance(1.0)
    timeline.set_cap("a", 5.0)
    timeline.advance(2.0)
    timeline.set_capacity("link", 2.5)
    assert timeline.next_end_s() == pytest.approx(2.0 + 15.0 / 2.5)
    assert timeline.stop("a") == pytest.approx(15.0)
    assert timeline.next_end_s() is None


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_byte_arrives_once_and_time_only_goes_forward(seed: int) -> None:
    rng = random.Random(seed)
    tree = random_tree(rng, (128.0, 256.0))
    timeline = Timeline(tree.resources)
    waiting = {demand.id: (demand, rng.uniform(1e6, 1e9)) for demand in tree.demands}
    sizes = {name: size for name, (_, size) in waiting.items()}
    moved = dict.fromkeys(sizes, 0.0)
    times = [0.0]
    flying: set[str] = set()
    while waiting or flying:
        if waiting and (not flying or rng.random() < 0.5):
            name = rng.choice(sorted(waiting))
            timeline.start(*waiting.pop(name))
            flying.add(name)
        begin = timeline.now_s
        first = timeline.next_end_s()
        assert first is not None
        until = min(first, begin + rng.uniform(0.0, 0.1))
        for name, got in timeline.allocations().items():
            moved[name] += got.rate_bytes_per_s * (until - begin)
        for end in timeline.advance(until):
            times.append(end.end_s)
            flying.remove(end.flow_id)
        times.append(timeline.now_s)
    assert times == sorted(times)
    assert moved == pytest.approx(sizes, rel=1e-9)


@given(TREES)
@settings(max_examples=30, deadline=None)
def test_endless_flows_keep_the_rates_of_the_fluid(tree: Tree) -> None:
    timeline = Timeline(tree.resources)
    for demand in tree.demands:
        timeline.start(demand)
    assert timeline.advance() == []
    timeline.advance(2.0)
    assert timeline.allocations() == solve(tree.resources, tree.demands)
    for name, got in timeline.allocations().items():
        assert timeline.moved_bytes(name) == pytest.approx(2.0 * got.rate_bytes_per_s)


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda timeline: timeline.start(flow("b"), -1.0), "has -1 bytes to move"),
        (lambda timeline: timeline.start(flow("b"), 0.0), "expected more than none"),
        (lambda timeline: timeline.start(flow("a"), 1.0), "a flow a already"),
        (lambda timeline: timeline.advance(0.5), "0.5 s has passed"),
        (lambda timeline: timeline.stop("b"), "no flow b"),
        (lambda timeline: timeline.moved_bytes("b"), "no flow b"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(act, says) -> None:  # type: ignore[no-untyped-def]
    timeline = Timeline(LINK)
    timeline.start(flow("a"), 100.0)
    timeline.advance(1.0)
    with pytest.raises(ModelError, match=says):
        act(timeline)
