"""What one GPU gains by pulling 8 GiB from its host over its peers too, on the built-in hgx-h100.

Peers become busy one after the other, then with more copies each, all from the memory of their own
socket. Goal: idle peers give at least 4 times the own path (4.62 and 245 GB/s are published for
eight H20 [mma]); with busier ones the gain falls step by step towards that of the own path and is
never below 1.

    python benchmarks/multipath.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from topoprobe.machine.sources.scan import make_up  # noqa: E402
from topoprobe.machine.view import Machine  # noqa: E402
from topoprobe.measure.flows import Flow, parse_flow_set  # noqa: E402
from topoprobe.model.fabric.machines.detours import ways_between  # noqa: E402
from topoprobe.model.fabric.machines.fabric import MachineFabric  # noqa: E402
from topoprobe.model.fabric.routes import split  # noqa: E402
from topoprobe.model.fabric.timeline import Move  # noqa: E402

NUM_BYTES = 8 << 30
GOAL = 4.0
# Far ones first, so that the near ones that gain most go last.
BUSY_IN_TURN = (4, 5, 6, 7, 1, 2, 3)
COPIES_EACH = (2, 4, 8, 32)


def main() -> None:
    """Print the gain for each number of busy peers."""
    document = make_up("hgx-h100")
    assert document is not None
    fabric = MachineFabric(Machine(document))
    (flow,) = parse_flow_set("host:0 > gpu:0").flows
    ways = ways_between(fabric, flow)
    transfer = Move(fabric.place(flow, "transfer").demand, NUM_BYTES)
    resources = fabric.resources.values()
    loads = [(number, 1) for number in range(len(BUSY_IN_TURN) + 1)]
    loads += [(len(BUSY_IN_TURN), copies) for copies in COPIES_EACH]
    print(
        f"{'busy':>4} {'each':>5} {'ways':>5} {'GB/s':>7} {'own':>6} {'gain':>5} {'ms':>6}  held by"
    )
    gains = []
    for num_busy, copies in loads:
        busy = [
            Move(fabric.place(one, f"busy {number}").demand)
            for number, one in enumerate(_copies(BUSY_IN_TURN[:num_busy] * copies))
        ]
        began_s = time.process_time()
        found = split(resources, ways, transfer, busy)
        took_s = time.process_time() - began_s
        gains.append(found.gain)
        held_by = "its cap" if found.bottleneck is None else fabric.words(found.bottleneck)
        print(
            f"{num_busy:>4} {copies:>5} {len(found.pieces):>5} "
            f"{NUM_BYTES / found.duration_s / 1e9:>7.1f} "
            f"{NUM_BYTES / found.single_s / 1e9:>6.1f} {found.gain:>5.2f} {took_s * 1e3:>6.1f}  "
            f"{held_by}"
        )
    steps = [one - other for one, other in pairwise(gains)]
    print(
        f"idle peers gain x{gains[0]:.2f} (goal {GOAL:g}); least gain x{min(gains):.2f} (never "
        f"below 1); each row loses {min(steps):.2f} to {max(steps):.2f} (never below 0)"
    )


def _copies(gpus: Sequence[int]) -> Sequence[Flow]:
    text = " | ".join(f"host:{gpu // 4} > gpu:{gpu}" for gpu in gpus)
    return parse_flow_set(text).flows if text else ()


if __name__ == "__main__":
    main()
