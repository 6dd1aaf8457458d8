from __future__ import annotations

import random

import pytest

from benchmarks.trees import random_tree
from topoprobe.model.fabric import settling
from topoprobe.model.fabric.equilibrium import breaches
from topoprobe.model.fabric.fluid import solve


@pytest.mark.parametrize("seed", range(20))
def test_rates_of_a_crowd_are_those_of_few(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = random_tree(random.Random(seed), (64.0, 256.0), (0.0, 1.0), max_links=30, max_flows=60)
    few = {name: got.rate_bytes_per_s for name, got in solve(*_parts(tree)).items()}
    monkeypatch.setattr(settling, "NUM_CROWD", 2)
    crowded = {name: got.rate_bytes_per_s for name, got in solve(*_parts(tree)).items()}
    assert breaches(*_parts(tree), crowded) == []
    assert crowded == pytest.approx(few)


def _parts(tree):  # type: ignore[no-untyped-def]
    return tree.resources, tree.demands
