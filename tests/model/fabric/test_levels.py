from __future__ import annotations

import pytest

from topoprobe.model.fabric.arbiter import Arbiter, Flow
from topoprobe.model.fabric.demand import Demand, Use
from topoprobe.model.fabric.levels import answers_at
from topoprobe.model.fabric.resource import Resource

WIRES = {name: Resource(name, "pcie", size) for name, size in (("one", 12.0), ("two", 9.0))}
BOTH = (Use("one", 1.0), Use("two", 1.0))


def placed(*demands: Demand) -> tuple[dict[str, Arbiter], dict[str, Flow]]:
    arbiters = {name: Arbiter(resource) for name, resource in WIRES.items()}
    flows = {each.id: Flow(each, WIRES) for each in demands}
    for flow in flows.values():
        flow.limit_bytes_per_s = min(
            flow.cap_bytes_per_s, *(WIRES[name].capacity_per_s for name in flow.takes)
        )
        for name in flow.takes:
            arbiters[name].add(flow)
    return arbiters, flows


def limits(flows: dict[str, Flow]) -> dict[Flow, float]:
    return {flow: flow.limit_bytes_per_s for flow in flows.values()}


def test_right_guess_gives_nobody_less_elsewhere() -> None:
    arbiters, flows = placed(
        Demand("a", BOTH), Demand("b", BOTH[1:]), Demand("c", BOTH[:1]), Demand("d", BOTH[1:])
    )
    at = {flow: arbiters["one" if name == "c" else "two"] for name, flow in flows.items()}
    answers = answers_at(list(arbiters.values()), at, limits(flows))
    assert answers is not None
    found = {
        arbiter.id: {flow.demand.id: answer for flow, answer in each.items()}
        for arbiter, each in answers.items()
    }
    assert found["two"] == pytest.approx({"a": 3.0, "b": 3.0, "d": 3.0})
    # "c" takes what "a" leaves, and "a" could have as many turns as that.
    assert found["one"] == pytest.approx({"a": 9.0, "c": 9.0})


def test_arbiter_that_holds_nobody_and_has_too_little_divides_what_it_has() -> None:
    arbiters, flows = placed(Demand("a", BOTH[1:]), Demand("b", BOTH[1:], cap_bytes_per_s=2.0))
    answers = answers_at([arbiters["two"]], dict.fromkeys(flows.values()), limits(flows))
    assert answers is not None
    assert answers[arbiters["two"]][flows["a"]] == pytest.approx(7.0)


def test_guess_whose_arbiters_say_the_same_decides_nothing() -> None:
    uses = (Use("one", 4.0), Use("two", 3.0))
    arbiters, flows = placed(Demand("a", uses), Demand("b", uses))
    guess = dict(zip(flows.values(), arbiters.values(), strict=True))
    assert answers_at(list(arbiters.values()), guess, limits(flows)) is None


def test_guess_that_the_slightest_change_leads_away_from_is_not_right() -> None:
    # Each holds one flow and gives the other twice as much: if one had more, the other had less,
    # so that there was more for the first.
    arbiters, flows = placed(
        Demand("a", (Use("one", 1.0), Use("two", 2.0))),
        Demand("b", (Use("one", 2.0), Use("two", 1.0))),
    )
    guess = dict(zip(flows.values(), arbiters.values(), strict=True))
    assert answers_at(list(arbiters.values()), guess, limits(flows)) is None
    other = dict(zip(flows.values(), reversed(arbiters.values()), strict=True))
    assert answers_at(list(arbiters.values()), other, limits(flows)) is not None
