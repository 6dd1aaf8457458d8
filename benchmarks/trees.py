"""Random trees of PCIe links with flows in them, for comparing models of how these share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from topoprobe.machine.pcie import GENERATIONS
from topoprobe.measure.fairness import HEADER_BYTES
from topoprobe.model.fabric.demand import Demand, Use
from topoprobe.model.fabric.packets import EFFICIENCY
from topoprobe.model.fabric.resource import Resource, Sharing

WIDTHS = (4, 8, 16)
MEMORY_BYTES_PER_S = (20e9, 60e9, 200e9)


@dataclass(frozen=True, slots=True)
class Tree:
    """Links, the memory at their root, and flows between its leaves and to and from the memory."""

    resources: tuple[Resource, ...]
    demands: tuple[Demand, ...]


def random_tree(
    rng: random.Random,
    txn_bytes: Sequence[float] = (256.0,),
    exponents: Sequence[float] = (1.0,),
    max_links: int = 12,
    max_flows: int = 12,
) -> Tree:
    """Make a tree up.

    Parameters
    ----------
    rng : random.Random
        Where chance comes from.
    txn_bytes : sequence of float
        Sizes of transactions, of which each flow has one.
    exponents : sequence of float
        Sharing laws, of which each resource has one.
    max_links, max_flows : int
        Sizes.
    """
    num_nodes = rng.randint(2, max_links + 1)
    parents = [0, *(rng.randrange(node) for node in range(1, num_nodes))]
    resources = [_resource(rng, "memory", rng.choice(MEMORY_BYTES_PER_S), exponents)]
    for node in range(1, num_nodes):
        lanes = rng.choice(WIDTHS)
        rate = lanes * rng.choice(GENERATIONS[2:5]).lane_bytes_per_s * EFFICIENCY
        resources += [_resource(rng, f"{way}{node}", rate, exponents) for way in ("up", "down")]
    demands = []
    for index in range(rng.randint(1, max_flows)):
        source, target = rng.sample(range(num_nodes), 2)
        size = rng.choice(txn_bytes)
        cap = rng.choice((float("inf"), float("inf"), rng.uniform(1e9, 30e9)))
        along = tuple(
            Use(name, 1.0 + HEADER_BYTES / size) for name in _way(parents, source, target)
        )
        demands.append(Demand(f"flow{index}", along, txn_bytes=size, cap_bytes_per_s=cap))
    return Tree(tuple(resources), tuple(demands))


def _resource(
    rng: random.Random, name: str, capacity_per_s: float, exponents: Sequence[float]
) -> Resource:
    kind = "memory" if name == "memory" else "pcie"
    return Resource(name, kind, capacity_per_s, Sharing(rng.choice(exponents)))


def _way(parents: Sequence[int], source: int, target: int) -> list[str]:
    up, down = _climb(parents, source), _climb(parents, target)
    common = set(up) & set(down)
    way = [f"up{node}" for node in up if node not in common]
    way += [f"down{node}" for node in reversed(down) if node not in common]
    return ["memory"] * (source == 0) + way + ["memory"] * (target == 0)


def _climb(parents: Sequence[int], node: int) -> list[int]:
    passed = []
    while node:
        passed.append(node)
        node = parents[node]
    return passed
