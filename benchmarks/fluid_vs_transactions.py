"""How well the fluid model agrees with the simulation of packets, on random trees.

Run it from the root of the repository: ``python benchmarks/fluid_vs_transactions.py``. Every tree
has PCIe links of random widths and generations, a memory at its root, and endless flows to, from
and between its nodes, some with caps. The rates of both models are compared flow by flow, once with
equal transactions and once with sizes of 64 to 512 bytes mixed. Seeds with a flow beyond the bound
are listed with that flow, what holds it back in each model, and whether flows that come to its
bottleneck through one port part behind it, as in a third of the trees.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.trees import Tree, random_tree  # noqa: E402
from topoprobe.measure.devices.cpu.fabric import event_loop  # noqa: E402
from topoprobe.model.fabric.fluid import solve  # noqa: E402
from topoprobe.model.fabric.transactions.loop import Loop  # noqa: E402
from topoprobe.model.fabric.transactions.simulation import simulate_transactions  # noqa: E402

NUM_TREES = 200
DURATION_S = 1e-3
KINDS = (
    ("equal transactions of 256 bytes", (256.0,), 0.03),
    ("mixed transactions of 64 to 512 bytes", (64.0, 128.0, 256.0, 512.0), 0.08),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """What both models say of one flow."""

    seed: int
    flow: str
    fluid: float
    packets: float
    bottlenecks: tuple[str | None, str | None]
    parts: bool

    @property
    def ratio(self) -> float:
        """Relative to the fluid's rate."""
        return abs(self.packets / self.fluid - 1.0)


def main() -> None:
    """Print the distributions; end with 1 if a tree is beyond its bound."""
    held = [compare(name, sizes, bound) for name, sizes, bound in KINDS]
    sys.exit(0 if all(held) else 1)


def compare(name: str, sizes: Sequence[float], bound: float) -> bool:
    """Print how far the models are apart on trees with transactions of some sizes."""
    began = time.process_time()
    loop = event_loop()
    trees = [
        differences(seed, random_tree(random.Random(seed), sizes), loop)
        for seed in range(NUM_TREES)
    ]
    worst = [max(tree, key=lambda each: each.ratio) for tree in trees]
    every = sorted(each.ratio for tree in trees for each in tree)
    print(f"{name}: {len(trees)} trees, {len(every)} flows, {time.process_time() - began:.0f} s")
    for label, ratios in (("flows", every), ("worst flow per tree", [w.ratio for w in worst])):
        ratios = sorted(ratios)
        p95 = ratios[int(0.95 * (len(ratios) - 1))]
        print(
            f"  {label:20s} median {statistics.median(ratios):.2%}, p95 {p95:.2%}, "
            f"max {ratios[-1]:.2%}"
        )
    beyond = [each for each in worst if each.ratio > bound]
    num_parts = sum(any(each.parts for each in tree) for tree in trees)
    print(f"  beyond {bound:.0%}: {len(beyond)} trees; flows part in {num_parts}")
    for each in beyond:
        fluid, packets = each.bottlenecks
        print(
            f"    seed {each.seed}: {each.flow} {each.fluid / 1e9:.2f} GB/s ({fluid}) beside "
            f"{each.packets / 1e9:.2f} ({packets}), {each.ratio:.1%}; "
            + ("its port's flows part behind it" if each.parts else "nobody parts behind it")
        )
    return not beyond


def differences(
    seed: int, tree: Tree, loop: Loop, duration_s: float = DURATION_S
) -> list[Difference]:
    """Solve and simulate one tree."""
    fluid = solve(tree.resources, tree.demands)
    ways = {each.id: [use.resource for use in each.along] for each in tree.demands}
    packets = simulate_transactions(
        tree.resources, tree.demands, duration_s=duration_s, seed=seed, loop=loop
    )
    return [
        Difference(
            seed,
            name,
            got.rate_bytes_per_s,
            packets[name].rate_bytes_per_s,
            (got.bottleneck, packets[name].bottleneck),
            _parts(ways, name, got.bottleneck),
        )
        for name, got in fluid.items()
    ]


def _parts(ways: dict[str, list[str]], flow: str, bottleneck: str | None) -> bool:
    """Whether flows that come to a flow's bottleneck through its port go on to different places."""
    if bottleneck is None:
        return False
    around = {name: _around(way, bottleneck) for name, way in ways.items() if bottleneck in way}
    port, _ = around[flow]
    return (
        port is not None and len({after for before, after in around.values() if before == port}) > 1
    )


def _around(way: list[str], name: str) -> tuple[str | None, str | None]:
    padded = [None, *way, None]
    at = padded.index(name)
    return padded[at - 1], padded[at + 1]


if __name__ == "__main__":
    main()
