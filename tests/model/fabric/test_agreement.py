from __future__ import annotations

import random

import pytest

from benchmarks.fluid_vs_transactions import KINDS, differences
from benchmarks.trees import random_tree
from topoprobe.measure.devices.cpu.fabric import event_loop


# In the last four, flows that share a bottleneck's port part behind it.
@pytest.mark.parametrize("seed", [*range(12), 26, 33, 73, 130])
@pytest.mark.parametrize(("sizes", "bound"), [kind[1:] for kind in KINDS])
def test_rates_of_random_trees_agree_with_packets(
    seed: int, sizes: tuple[float, ...], bound: float
) -> None:
    tree = random_tree(random.Random(seed), sizes)
    found = differences(seed, tree, event_loop(), duration_s=2e-4)
    assert max(each.ratio for each in found) <= bound
