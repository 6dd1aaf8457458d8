"""Time the simulator's loop on "conv1000", on which other simulators were timed too.

The first 1,000 length pairs of the Azure 2023 conversation trace, clipped to 4,096 tokens in
total, Poisson arrivals at 6.45 requests/s; Llama-2-7B on one nominal A100; chunk 512, KV blocks of
16 tokens, first come first served. Prints CPU seconds of the loop (scheduler, world, journal; not
reading the trace, not writing the document), in one run beside the same loop stepped one step at
a time, whose results must be identical.

    python benchmarks/conv1000.py [REPEATS]
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from topoprobe.model.catalogue.devices import NOMINAL_DEVICES  # noqa: E402
from topoprobe.model.deployment import Deployment, deploy_nominal, num_kv_blocks  # noqa: E402
from topoprobe.serving.policies.registry import build_policies, parse_choice  # noqa: E402
from topoprobe.serving.scheduler import Scheduler  # noqa: E402
from topoprobe.serving.simulator.cost import StepLawCost  # noqa: E402
from topoprobe.serving.simulator.simulator import Simulator  # noqa: E402
from topoprobe.serving.summary import summarise  # noqa: E402
from topoprobe.serving.workload.arrivals import poisson_arrivals  # noqa: E402
from topoprobe.serving.workload.clients import Clients  # noqa: E402
from topoprobe.serving.workload.request import Request, clip, make_requests  # noqa: E402
from topoprobe.serving.workload.trace import read_trace  # noqa: E402

TRACE = "traces/AzureLLMInferenceTrace_conv_2023.csv.gz"
NUM_REQUESTS = 1000
RATE_PER_S = 6.45
MAX_TOTAL_TOKENS = 4096
BLOCK_SIZE = 16
POLICY = "batching=chunked:budget=512"
# Loop seconds of other simulators on this workload, measured once on two cores of a 2.5 GHz Xeon.
# They are quoted, not measured in this run.
OTHERS = (("Vidur, sarathi, chunk 512", 2.8, 3.3), ("DynoSim 1.2.1 (wall, Rust)", 0.14, 0.16))


def requests() -> tuple[Request, ...]:
    """Return the workload."""
    folder = Path(os.environ.get("TOPOPROBE_RECORDINGS", str(ROOT.parent / "shared")))
    trace = read_trace((folder / TRACE).read_bytes(), TRACE, limit=NUM_REQUESTS)
    lengths = [clip(each, MAX_TOTAL_TOKENS) for each in trace.lengths]
    return make_requests(lengths, poisson_arrivals(NUM_REQUESTS, RATE_PER_S, seed=0))


def simulator(
    deployment: Deployment, load: tuple[Request, ...], most_steps: int | None
) -> Simulator:
    """Return a fresh simulator of the workload."""
    scheduler = Scheduler(
        num_blocks=num_kv_blocks(deployment, BLOCK_SIZE, None),
        block_size=BLOCK_SIZE,
        policies=build_policies([parse_choice(POLICY)]),
    )
    return Simulator(scheduler, StepLawCost(deployment.law), Clients(load), most_steps=most_steps)


def loop_s(one: Simulator) -> float:
    """Run a simulator to its end and return the CPU seconds that took."""
    gc.collect()
    started = time.process_time()
    one.run()
    return time.process_time() - started


def main() -> None:
    """Time both ways alternately, and print."""
    num_repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    device = next(each for each in NOMINAL_DEVICES if each.name == "a100-80gb-sxm")
    deployment = deploy_nominal(device, "llama-2-7b")
    load = requests()
    fast_s, stepped_s = [], []
    for _ in range(num_repeats):
        fast = simulator(deployment, load, None)
        stepped = simulator(deployment, load, 1)
        fast_s.append(loop_s(fast))
        stepped_s.append(loop_s(stepped))
    if fast.request_times() != stepped.request_times():
        raise SystemExit("fast-forwarded and stepped runs differ")
    steps = fast.step_times()
    summary = summarise(fast.request_times(), steps)
    ours_s, slow_s = statistics.median(fast_s), statistics.median(stepped_s)
    print(
        f"loop        {ours_s:.3f} s CPU, median of {num_repeats} ({min(fast_s):.3f} to "
        f"{max(fast_s):.3f}); {NUM_REQUESTS / ours_s:,.0f} requests/s"
    )
    print(f"stepped     {slow_s:.3f} s CPU, {slow_s / ours_s:.1f} times ours, identical results")
    print(
        f"iterations  {summary.num_steps:,} ({summary.num_steps / ours_s:,.0f} /s) in "
        f"{len(steps):,} segments; {fast.num_events:,} events, {stepped.num_events:,} stepped"
    )
    print(
        f"tokens      {summary.num_prompt_tokens:,} prompt, {summary.num_output_tokens:,} output; "
        f"{summary.num_preemptions} preemptions; {summary.duration_s:.1f} s simulated"
    )
    for name, low_s, high_s in OTHERS:
        ratios = f"{low_s / ours_s:.1f} to {high_s / ours_s:.1f} times ours"
        print(f"quoted      {name}: {low_s} to {high_s} s, {ratios}")


if __name__ == "__main__":
    main()
