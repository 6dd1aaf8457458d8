from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from benchmarks.trees import random_tree
from topoprobe.model.fabric.arbiter import Arbiter, Flow, Port
from topoprobe.model.fabric.crowd.fairness import unheld
from topoprobe.model.fabric.crowd.table import tabulate
from topoprobe.model.fabric.demand import Demand, Use
from topoprobe.model.fabric.equilibrium import unheld as unheld_of
from topoprobe.model.fabric.resource import Resource

SIZES = (64.0, 256.0)


def waiting(seed: int) -> dict[Flow, list[Arbiter]]:
    """All flows of a random tree, with all that they cross."""
    tree = random_tree(random.Random(seed), SIZES, (0.0, 1.0), max_links=20, max_flows=40)
    resources = {each.id: each for each in tree.resources}
    arbiters = {name: Arbiter(each) for name, each in resources.items()}
    ways = {}
    for demand in tree.demands:
        flow = Flow(demand, resources)
        ways[flow] = [arbiters[name] for name in flow.takes]
        alone = [arbiters[name].capacity_per_s / takes for name, takes in flow.takes.items()]
        flow.limit_bytes_per_s = min([flow.cap_bytes_per_s, *alone])
        for arbiter in ways[flow]:
            arbiter.add(flow)
    return ways


def ports_of(port: Port, depth: int) -> list[tuple[int, list[str]]]:
    inner = [each for child in port.ports for each in ports_of(child, depth + 1)]
    return [(depth, sorted(flow.demand.id for flow in port.behind)), *inner]


@pytest.mark.parametrize("seed", range(20))
def test_ports_of_a_table_are_those_of_its_arbiters(seed: int) -> None:
    ways = waiting(seed)
    flows = list(ways)
    table, arbiters = tabulate(ways)
    for number, arbiter in enumerate(arbiters):
        found = []
        for depth, ports in enumerate(table.arbiters.ports):
            for port in np.flatnonzero(ports.arbiters == number):
                behind = ports.entries[ports.groups == port]
                found.append((depth, sorted(flows[each].demand.id for each in table.flows[behind])))
        assert sorted(found) == sorted(ports_of(arbiter.root, 0))


@pytest.mark.parametrize("seed", range(20))
def test_answers_to_wants_that_are_met_are_fair_at_each_arbiter(seed: int) -> None:
    ways = waiting(seed)
    flows = list(ways)
    table, arbiters = tabulate(ways)
    rng = np.random.default_rng(seed)
    wants = table.limits[table.flows] * rng.uniform(0.1, 1.0, len(table.flows))
    answers, content = table.arbiters.divide(wants, np.zeros(len(wants), dtype=bool))
    assert content.any()
    for number, arbiter in enumerate(arbiters):
        rates = {}
        for entry in np.flatnonzero(table.arbiters.at == number):
            flow = flows[table.flows[entry]]
            flow.limit_bytes_per_s = float(wants[entry])
            rates[flow] = float(min(wants[entry], answers[entry]))
        assert unheld_of([arbiter], rates) == []


@pytest.mark.parametrize("seed", range(20))
def test_part_of_a_table_divides_as_the_whole(seed: int) -> None:
    table, arbiters = tabulate(waiting(seed))
    rng = np.random.default_rng(seed)
    wants = table.limits[table.flows] * rng.uniform(0.1, 1.0, len(table.flows))
    nobody = np.zeros(len(wants), dtype=bool)
    answers, _ = table.arbiters.divide(wants, nobody)
    keep = rng.uniform(size=len(arbiters)) < 0.5
    part, entries = table.arbiters.part(keep)
    assert entries.tolist() == np.flatnonzero(keep[table.arbiters.at]).tolist()
    there, _ = part.divide(wants[entries], nobody[entries])
    assert there == pytest.approx(answers[entries])


@pytest.mark.parametrize("seed", range(40))
def test_rates_are_fair_in_a_table_where_they_are_fair(seed: int) -> None:
    ways = waiting(seed)
    table, arbiters = tabulate(ways)
    rng = np.random.default_rng(seed)
    for most in (0.2, 0.5, 1.2):
        rates = table.limits * rng.uniform(0.1, most, len(table.limits))
        rates[rng.uniform(size=len(rates)) < 0.2] = 1e3
        expected = set(unheld_of(arbiters, dict(zip(ways, rates.tolist(), strict=True))))
        too_much = {flow for flow, rate in zip(ways, rates, strict=True) if rate > limit_of(flow)}
        found = {flow for flow, free in zip(ways, unheld(table, rates), strict=True) if free}
        assert found == expected | too_much


def limit_of(flow: Flow) -> float:
    return flow.limit_bytes_per_s * (1.0 + 1e-9)


def test_arbiter_where_guesses_go_round_is_divided() -> None:
    # If all who are wrong change at once, some guesses lead to each other and never to an answer.
    resources = {name: Resource(name, "pcie", 60.0) for name in ("nic", "memory", "wire")}
    wanted = {
        ("nic", 128.0): 18.0,
        ("nic", 64.0): 7.0,
        ("memory", 256.0): 18.0,
        ("memory", 128.0): 20.0,
    }
    wire = Arbiter(resources["wire"])
    for (port, size), rate in wanted.items():
        along = (Use(port, 1.0), Use("wire", 1.0))
        flow = Flow(Demand(f"{port} {size}", along, txn_bytes=size), resources)
        flow.limit_bytes_per_s = rate
        wire.add(flow)
    table, _ = tabulate({flow: [wire] for flow in wire.flows})
    for guess in itertools.product((False, True), repeat=len(wanted)):
        answers, _ = table.arbiters.divide(table.limits, np.array(guess))
        rates = np.minimum(answers, table.limits).tolist()
        assert unheld_of([wire], dict(zip(wire.flows, rates, strict=True))) == []
