"""Ways over peers: what they cross, and what they gain."""

from __future__ import annotations

import pytest

from tests.model.fabric.made_up import made_up
from topoprobe.errors import ModelError
from topoprobe.measure.flows import Flow, parse_flow_set
from topoprobe.model.fabric.demand import Demand, Way
from topoprobe.model.fabric.fluid import solve
from topoprobe.model.fabric.machines.detours import ways_between
from topoprobe.model.fabric.machines.fabric import MachineFabric


@pytest.fixture(scope="module")
def h100() -> MachineFabric:
    return MachineFabric(made_up("hgx-h100"))


def flow(text: str) -> Flow:
    (one,) = parse_flow_set(text).flows
    return one


def total(fabric: MachineFabric, ways: tuple[Way, ...]) -> tuple[float, set[str | None]]:
    """Rate of all ways together, and what holds them back."""
    demands = [Demand(way.name, way.along, way.beside) for way in ways]
    got = solve(fabric.resources.values(), demands).values()
    return sum(one.rate_bytes_per_s for one in got), {one.bottleneck for one in got}


def test_ways_are_the_own_path_and_one_over_each_peer(h100: MachineFabric) -> None:
    ways = ways_between(h100, flow("host:0 > gpu:2"))
    names = ["own path", *(f"over gpu:{peer}" for peer in (0, 1, 3, 4, 5, 6, 7))]
    assert [way.name for way in ways] == names
    kinds = [h100.resources[use.resource].kind for use in ways[-1].along]
    assert kinds == [
        "memory", "inter_socket", "pcie", "pcie", "engine", "memory",
        "memory", "engine", *["nvlink"] * 8, "memory",
    ]  # fmt: skip
    assert ways[-1].beside != ()


def test_ways_out_of_a_gpu_end_at_the_host(h100: MachineFabric) -> None:
    (_, way, *_) = ways_between(h100, flow("gpu:2 > host:0"))
    assert way.along[-1].resource == "memory:numa:0"
    engines = [use.resource for use in way.along if use.resource.startswith("engine")]
    assert [name.rpartition(":")[2] for name in engines] == ["out", "out"]


# Published: 4.62 times and 245 GB/s on eight H20 with idle peers.
def test_ways_together_fill_the_hosts_memory(h100: MachineFabric) -> None:
    ways = ways_between(h100, flow("host:0 > gpu:0"))
    alone, _ = total(h100, ways[:1])
    together, held_by = total(h100, ways)
    assert together > 4.0 * alone
    assert together == pytest.approx(241e9)
    assert held_by == {"memory:numa:0", "wire@package:0-package:1:a_to_b"}


def test_ways_without_direct_links_are_the_own_path() -> None:
    fabric = MachineFabric(made_up("8x4090"))
    assert [way.name for way in ways_between(fabric, flow("host:0 > gpu:0"))] == ["own path"]


@pytest.mark.parametrize("text", ["gpu:0 > gpu:1", "host:0 > gpu:0 via sm", "nic:0 > gpu:0"])
def test_ways_of_anything_but_a_host_copy_are_refused(h100: MachineFabric, text: str) -> None:
    with pytest.raises(ModelError, match="cannot be split over peers"):
        ways_between(h100, flow(text))
