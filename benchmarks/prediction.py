"""How well a saturated real run is predicted: throughput, mean TTFT and mean TPOT.

Times single steps of the bundled model (`model.steps`), fits the step-cost law, simulates a closed
loop with it, then serves the same loop for real three times. The steps are never those of the
loop. Goal: each error within max(15 %, run-to-run spread).

    python benchmarks/prediction.py [ROUNDS [THREADS]]

A round begins with the steps anew; with several the last line says in how many all three held.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from topoprobe import __version__  # noqa: E402
from topoprobe.cli.registry import benchmarks  # noqa: E402
from topoprobe.machine.sources.scan import scan_live  # noqa: E402
from topoprobe.measure.devices.session import budget_here, run_suite  # noqa: E402
from topoprobe.measure.suite import select  # noqa: E402
from topoprobe.model.calibration.build import calibrate  # noqa: E402
from topoprobe.model.deployment import deploy_calibrated  # noqa: E402
from topoprobe.records.base import Tool  # noqa: E402
from topoprobe.records.calibration import CalibrationDocument  # noqa: E402
from topoprobe.records.run import RunDocument  # noqa: E402
from topoprobe.serving.runner.run import RunSettings, real_run  # noqa: E402
from topoprobe.serving.workload.load import synthetic_load  # noqa: E402
from topoprobe.serving.workload.synthetic import TokenRange  # noqa: E402

MODEL = "tiny-llama"
NUM_REQUESTS = 16
CONCURRENCY = 8
PROMPT = TokenRange(32, 512)
OUTPUT = TokenRange(200, 256)
NUM_REPEATS = 3
TOOL = Tool(tool_version=__version__)


def measure() -> CalibrationDocument:
    """Time the steps and fit the law."""
    chosen = select(benchmarks(), ["model.steps"])
    began_s = time.perf_counter()
    results = run_suite(scan_live(captured_at=None), chosen, budget_here("quick"))
    print(f"model.steps took {time.perf_counter() - began_s:.1f} s", flush=True)
    return calibrate(results, tool=TOOL)


def serve(calibration: CalibrationDocument, seed: int) -> RunDocument:
    """Serve the closed loop, predicted beforehand."""
    cost = next(each for each in calibration.models if each.model.name == MODEL)
    print(
        f"law: {cost.num_fit_shapes} shapes, {cost.num_threads} threads; on "
        f"{cost.num_validation_shapes} others off by {cost.mean_error_ratio:.1%} on average, "
        f"{cost.max_error_ratio:.1%} at most",
        flush=True,
    )
    load = synthetic_load(
        NUM_REQUESTS, seed=seed, max_concurrency=CONCURRENCY, prompt=PROMPT, output=OUTPUT
    )
    return real_run(
        cost.model,
        load,
        RunSettings(num_threads=cost.num_threads or 1, num_repeats=NUM_REPEATS),
        tool=TOOL,
        deployment=deploy_calibrated(calibration, MODEL),
    )


def report(document: RunDocument) -> bool:
    """Print predicted beside measured; tell whether every error is within its bound."""
    print(f"{'':31}{'predicted':>10}  {'measured (3 repeats)':<29}{'spread':>7}{'error':>8}")
    for one in document.comparisons:
        measured = " ".join(f"{value:9.4g}" for value in one.measured)
        verdict = "within" if one.is_within else "OUTSIDE max(15 %, spread)"
        print(
            f"{one.metric:<31}{one.predicted:10.4g}  {measured:<29}"
            f"{one.spread_ratio or 0.0:7.1%}{one.error_ratio:+8.1%}  {verdict}",
            flush=True,
        )
    return all(one.is_within for one in document.comparisons)


def main() -> None:
    """Run the rounds."""
    num_rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    if len(sys.argv) > 2:  # the benchmark leaves one CPU free
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[: int(sys.argv[2]) + 1])
    held = 0
    for index in range(num_rounds):
        held += report(serve(measure(), seed=index))
        print(f"all within in {held} of {index + 1} rounds\n", flush=True)


if __name__ == "__main__":
    main()
