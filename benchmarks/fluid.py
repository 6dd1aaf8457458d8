"""How fast rates are solved, on built-in machines and pods of them; figures beside their targets.

Run it from the root of the repository: ``python benchmarks/fluid.py``. Times are process CPU time
on one core, medians where something is repeated. Flows are drawn at random: copies between hosts
and GPUs, near and far, between GPUs, and from host to host; a quarter has a cap, and transactions
have 128, 256 or 512 bytes.
"""

from __future__ import annotations

import gc
import itertools
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from topoprobe.machine.sources.scan import make_up  # noqa: E402
from topoprobe.machine.view import Machine  # noqa: E402
from topoprobe.measure.flows import parse_flow_set  # noqa: E402
from topoprobe.model.fabric.demand import Demand  # noqa: E402
from topoprobe.model.fabric.equilibrium import breaches  # noqa: E402
from topoprobe.model.fabric.fluid import Fluid, solve  # noqa: E402
from topoprobe.model.fabric.machines.fabric import FlowFabric, MachineFabric  # noqa: E402
from topoprobe.model.fabric.pods.fabric import PodFabric  # noqa: E402
from topoprobe.model.fabric.pods.grammar import parse_pod  # noqa: E402
from topoprobe.model.fabric.timeline import Timeline  # noqa: E402

MACHINE = "hgx-h100"
NUM_HOSTS = 128
NUM_LOCAL_FLOWS = 78
NUM_FLOWS = 10_000
NUM_DRAWS = 7
NUM_ARRIVALS = 100_000
NUM_IN_FLIGHT = 8
NUM_GPUS = 8
NUM_REPEATS = 30
NUM_TRIES = 5


def main() -> None:
    """Print all figures; end with 1 if one is missed."""
    # Before NumPy is loaded: its threads wait for work in loops, which process CPU time counts.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    held = [
        few_flows(),
        arrivals(),
        many_hosts(),
        one_component(),
    ]
    sys.exit(0 if all(held) else 1)


def few_flows() -> bool:
    """Print how long 16 flows on one machine take."""
    machine = one_machine()
    flows = Flows(machine, random.Random(1))
    sets = [list(itertools.islice(flows.local(""), 16)) for _ in range(NUM_REPEATS)]
    resources = list(machine.resources.values())
    times = []
    for each in sets:
        tries = []
        for _ in range(NUM_TRIES):
            fluid = Fluid(resources)
            for demand in each:
                fluid.add(demand)
            tries.append(seconds(fluid.settle))
        times.append(statistics.median(tries))
        require_fair(machine, fluid, each)
    whole = [seconds(lambda each=each: solve(resources, each)) for each in sets]
    print(f"    one call with {len(resources)} resources: {statistics.median(whole) * 1e6:.0f} us")
    print(f"    mean {statistics.mean(times) * 1e6:.0f} us, most {max(times) * 1e6:.0f} us")
    return told("16 flows on 8 GPUs, all rates", statistics.median(times) * 1e6, 150.0, "us")


def arrivals() -> bool:
    """Print how long flows that come and go take."""
    machine = one_machine()
    flows = Flows(machine, random.Random(2)).local("")
    coming = list(itertools.islice(flows, NUM_ARRIVALS))
    timeline = Timeline(machine.resources.values())
    rng = random.Random(3)
    ended = 0

    def run() -> None:
        nonlocal ended
        for number, demand in enumerate(coming):
            if number >= NUM_IN_FLIGHT:
                soonest = timeline.next_end_s()
                assert soonest is not None
                ended += len(timeline.advance(soonest))
            timeline.start(demand, rng.uniform(1e6, 1e9))
        ended += len(timeline.advance())

    took = seconds(run)
    assert ended == NUM_ARRIVALS
    return told(f"{NUM_ARRIVALS} flows come and go, 8 in flight", took, 15.0, "s")


def many_hosts() -> bool:
    """Print how long one change takes where each host has flows of its own."""
    pod = one_pod()
    flows = Flows(pod, random.Random(4))
    fluid = Fluid(pod.resources.values())
    there = [
        demand
        for host in range(NUM_HOSTS)
        for demand in itertools.islice(flows.local(f"h{host}/"), NUM_LOCAL_FLOWS)
    ]
    for demand in there:
        fluid.add(demand)
    whole = seconds(fluid.settle)
    print(f"    {len(there)} flows on {NUM_HOSTS} hosts from scratch: {whole:.2f} s")
    rng = random.Random(5)
    times = []
    for _ in range(5 * NUM_REPEATS):
        index = rng.randrange(len(there))
        old = there[index]
        host = old.id.partition("/")[0]
        new = next(flows.local(f"{host}/"))

        def change(old: Demand = old, new: Demand = new) -> None:
            fluid.remove(old.id)
            fluid.add(new)
            fluid.settle()

        there[index] = new
        times.append(seconds(change))
    require_fair(pod, fluid, there)
    times.sort()
    late = times[int(0.95 * len(times))]
    print(f"    95th percentile {late * 1e3:.1f} ms, most {times[-1] * 1e3:.1f} ms")
    return told("one of 78 flows per host replaced", statistics.median(times) * 1e3, 5.0, "ms")


def one_component() -> bool:
    """Print how long many flows take that are all joined by what they share."""
    pod = one_pod()
    kinds: dict[str, dict[str, float]] = {
        "mixed": {},
        "128 bytes each": {"txn_bytes": 128.0},
        "128 bytes each, no caps": {"txn_bytes": 128.0, "cap_bytes_per_s": math.inf},
    }
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for seed in range(6, 6 + NUM_DRAWS):
        drawn = list(itertools.islice(Flows(pod, random.Random(seed)).anywhere(), NUM_FLOWS))
        for kind, same in kinds.items():
            demands = [replace(demand, **same) for demand in drawn]
            fluid = Fluid(pod.resources.values())
            for demand in demands:
                fluid.add(demand)
            gc.collect()  # what making them up left behind
            times[kind].append(seconds(fluid.settle) * 1e3)
            require_fair(pod, fluid, demands)
            fluid.set_cap(demands[0].id, 1e9)
            joined = len(fluid.settle())
            print(f"    seed {seed}, {kind}: {times[kind][-1]:.0f} ms, {joined} in one component")
    for kind, each in times.items():
        print(f"    {kind}: median {statistics.median(each):.0f} ms, most {max(each):.0f} ms")
    every = list(itertools.chain.from_iterable(times.values()))
    name = f"{NUM_FLOWS} flows between {NUM_HOSTS} hosts, {len(every)} draws"
    return told(name, statistics.median(every), 250.0, "ms")


class Flows:
    """Flows at random, each with an id of its own."""

    def __init__(self, fabric: FlowFabric, rng: random.Random) -> None:
        self._fabric = fabric
        self._rng = rng
        self._known: dict[str, Demand] = {}
        self._numbers = itertools.count()

    def local(self, host: str) -> Iterator[Demand]:
        """Yield flows within a host."""
        rng = self._rng
        while True:
            gpu, other = rng.sample(range(NUM_GPUS), 2)
            numa = rng.randrange(2)
            yield self._placed(
                host,
                rng.choice(
                    (
                        f"{host}host:{numa} -> {host}gpu:{gpu} via ce",
                        f"{host}gpu:{gpu} -> {host}host:{numa} via ce",
                        f"{host}gpu:{gpu} -> {host}gpu:{other} via ce",
                    )
                ),
            )

    def anywhere(self) -> Iterator[Demand]:
        """Yield flows within and between hosts."""
        rng = self._rng
        while True:
            here, there = (f"h{host}/" for host in rng.sample(range(NUM_HOSTS), 2))
            if rng.random() < 0.7:
                yield next(self.local(here))
            else:
                source, target = rng.randrange(NUM_GPUS), rng.randrange(NUM_GPUS)
                yield self._placed(here, f"{here}gpu:{source} -> {there}gpu:{target} via nic")

    def _placed(self, host: str, text: str) -> Demand:
        if text not in self._known:
            (flow,) = parse_flow_set(text).flows
            self._known[text] = self._fabric.place(flow, text).demand
        demand = self._known[text]
        rng = self._rng
        size = min(demand.txn_bytes, rng.choice((128.0, 256.0, 512.0)))
        cap = rng.choice((float("inf"),) * 3 + (rng.uniform(2e9, 30e9),))
        return replace(
            demand,
            id=f"{host}{next(self._numbers)}",
            txn_bytes=size,
            cap_bytes_per_s=min(cap, demand.cap_bytes_per_s),
        )


def one_machine() -> MachineFabric:
    """Return the fabric of the built-in machine."""
    return MachineFabric(built_in(MACHINE))


def one_pod() -> PodFabric:
    """Return the fabric of hosts on rails with a spine."""
    return PodFabric(parse_pod(f"{NUM_HOSTS} x {MACHINE} : rail 400gb, spine 2:1"), built_in)


def built_in(name: str) -> Machine:
    """Return a built-in machine."""
    document = make_up(name)
    assert document is not None
    return Machine(document)


def seconds(work: Callable[[], object]) -> float:
    """Process CPU time that something takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def require_fair(fabric: FlowFabric, fluid: Fluid, demands: list[Demand]) -> None:
    """Check that rates are in equilibrium, outside of what is timed."""
    rates = {name: got.rate_bytes_per_s for name, got in fluid.allocations().items()}
    found = breaches(fabric.resources.values(), demands, rates)
    if found:
        sys.exit(f"Rates are not fair: {found[0]}")


def told(name: str, value: float, most: float, unit: str) -> bool:
    """Print a figure beside its target."""
    verdict = "" if value <= most else "  MISSED"
    print(f"{name}: {value:.3g} {unit} (at most {most:g}){verdict}", flush=True)
    return value <= most


if __name__ == "__main__":
    main()
