from __future__ import annotations

import random

import numpy as np
import pytest

from benchmarks.trees import random_tree
from topoprobe.model.fabric.arbiter import Arbiter, Flow, Port
from topoprobe.model.fabric.crowd.fairness import unheld
from topoprobe.model.fabric.crowd.table import tabulate
from topoprobe.model.fabric.equilibrium import unheld as unheld_of

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
        for depth, ports in enumerate(table.ports):
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
    answers, content = table.divide(wants, np.zeros(len(wants), dtype=bool))
    assert content.any()
    for number, arbiter in enumerate(arbiters):
        rates = {}
        for entry in np.flatnonzero(table.ports[0].groups == number):
            flow = flows[table.flows[entry]]
            flow.limit_bytes_per_s = float(wants[entry])
            rates[flow] = float(min(wants[entry], answers[entry]))
        assert unheld_of([arbiter], rates) == []


@pytest.mark.parametrize("seed", range(20))
def test_part_of_a_table_divides_as_the_whole(seed: int) -> None:
    table, _ = tabulate(waiting(seed))
    rng = np.random.default_rng(seed)
    wants = table.limits[table.flows] * rng.uniform(0.1, 1.0, len(table.flows))
    nobody = np.zeros(len(wants), dtype=bool)
    answers, _ = table.divide(wants, nobody)
    part, entries = table.part(rng.uniform(size=len(table.capacities)) < 0.5, answers)
    there, _ = part.divide(wants[entries], nobody[entries])
    assert there == pytest.approx(answers[entries])
    left = np.setdiff1d(np.arange(len(wants)), entries)
    for number, flow in enumerate(dict.fromkeys(table.flows[table.by_flow].tolist())):
        if flow in table.flows[entries]:
            elsewhere = answers[left[table.flows[left] == flow]]
            expected = min([table.limits[number], *elsewhere])
            at = np.flatnonzero(np.unique(table.flows[entries]) == flow)[0]
            assert part.limits[at] == expected


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
