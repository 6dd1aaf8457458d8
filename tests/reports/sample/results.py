"""Results of the virtual machine."""

from __future__ import annotations

import random

from topoprobe.records.base import Status
from topoprobe.records.machine import (
    MachineDocument,
)
from topoprobe.records.results import (
    Conditions,
    Environment,
    Experiment,
    ResultsDocument,
    Sample,
    Series,
)

from .estimates import TOOL
from .machines import vm_machine


def vm_results(machine: MachineDocument | None = None) -> ResultsDocument:
    """Return results with every status."""
    experiments = (
        Experiment(
            benchmark="cpu.stream",
            revision=1,
            summary="Measure sustained memory rates.",
            status=Status.OK,
            elapsed_s=21.4,
            series=tuple(
                _series(f"stream.{kernel}", "bytes_per_s", 19.8e9, {"threads": 2, "variant": v})
                for kernel in ("copy", "triad")
                for v in ("numpy", "numba")
            ),
        ),
        Experiment(
            benchmark="cpu.contention",
            revision=2,
            summary="Run flows together.",
            status=Status.UNSTABLE,
            reason="2 of 10 series never settled",
            elapsed_s=31.0,
            series=(
                _series("contention.solo", "per_s", 8.3e6, {"flow": "chase"}),
                _series(
                    "contention.shared",
                    "per_s",
                    2.6e6,
                    {"flow": "chase"},
                    Status.UNSTABLE,
                    "its median is known to ±6.1% only, not to ±2%",
                ),
            ),
        ),
        Experiment(
            benchmark="cuda.triad",
            revision=1,
            summary="Measure GPU memory rates.",
            status=Status.SKIPPED,
            reason="this machine has no NVIDIA driver",
            series=(),
        ),
        Experiment(
            benchmark="disk",
            revision=1,
            summary="Read and write a scratch file.",
            status=Status.FAILED,
            reason="no space left on the device",
            elapsed_s=0.2,
        ),
    )
    return ResultsDocument(
        tool=TOOL,
        machine=machine or vm_machine(),
        environment=Environment(
            kernel="6.1.0-31-amd64",
            python="3.11.2",
            affinity_cpus=(0, 1),
            governor="performance",
            transparent_huge_pages="madvise",
            packages={"numpy": "2.3.1", "torch": "2.13.0"},
        ),
        suite="quick",
        started_at="2026-11-20T17:40:05+00:00",
        experiments=experiments,
    )


def _series(
    name: str,
    unit: str,
    value: float,
    factors: dict[str, str | int | float],
    status: Status = Status.OK,
    reason: str | None = None,
) -> Series:
    noise = random.Random(f"{name} {factors}")
    return Series(
        name=name,
        unit=unit,
        factors={"device": "host", **factors},
        is_better_higher=True,
        status=status,
        reason=reason,
        samples=tuple(
            Sample(
                value=value * (0.8 if index == 0 else noise.gauss(1, 0.012)),
                started_s=index * 0.4,
                duration_s=0.4,
                is_warmup=index < 2,
                conditions=Conditions(other_cpu_ratio=0.01, steal_ratio=noise.random() * 0.05),
            )
            for index in range(14)
        ),
    )
