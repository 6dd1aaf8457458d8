"""CPU time of `topoprobe scan`, as a ratio to starting the interpreter.

Run it from the root of the repository: ``python benchmarks/scan_time.py [RECORDING ...]``. Each
line is the median of nine runs, user and system time together; the limit is the one that the
project holds itself to.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NUM_RUNS = 9
RECORDED_LIMIT_S = 0.20
LIVE_LIMIT_S = 0.35
DEFAULTS = (
    "nccl-xml/ndv4-topo.xml",
    "nccl-xml/oci-H100-topology.xml",
    "hwloc-xml/g4dnmetal.xml",
    "hwloc-xml/tuo.SPX.xml",
)


def cpu_seconds(arguments: Sequence[str]) -> float:
    """Return the median CPU time of a Python process with these arguments.

    Parameters
    ----------
    arguments : sequence of str
        What follows the interpreter on the command line.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    times = []
    for _ in range(NUM_RUNS):
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(arguments)} ended with code {process.returncode}")
        times.append(usage.ru_utime + usage.ru_stime)
    return statistics.median(times)


def main() -> None:
    """Print one line per command."""
    folder = Path(os.environ.get("TOPOPROBE_RECORDINGS", "../shared")) / "topologies"
    recordings = sys.argv[1:] or [str(folder / name) for name in DEFAULTS]
    floor = cpu_seconds(["-c", "pass"])
    print(f"{'python -c pass':<44} {floor:6.3f} s    1.0 x floor")
    for name in recordings:
        if Path(name).is_file():
            report(f"scan {Path(name).name} --json", [name, "--json"], floor, RECORDED_LIMIT_S)
        else:
            print(f"{name}: absent, not measured")
    report("scan --json (live)", ["--json"], floor, LIVE_LIMIT_S)
    report("scan (live, drawn)", [], floor, LIVE_LIMIT_S)


def report(label: str, arguments: Sequence[str], floor: float, limit: float) -> None:
    """Measure one scan and print it beside the floor and its limit."""
    seconds = cpu_seconds(["-m", "topoprobe", "scan", *arguments])
    verdict = "ok" if seconds <= limit else "TOO SLOW"
    print(
        f"{label:<44} {seconds:6.3f} s  {seconds / floor:5.1f} x floor  limit {limit} s  {verdict}"
    )


if __name__ == "__main__":
    main()
