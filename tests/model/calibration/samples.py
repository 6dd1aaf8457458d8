"""Results documents with known answers."""

from __future__ import annotations

from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import Gpu, Host, Link, LinkKind, MachineDocument, Numa, Package
from topoprobe.records.results import (
    Conditions,
    Environment,
    Experiment,
    Factor,
    ResultsDocument,
    Sample,
    Series,
)

TOOL = Tool(tool_version="0")
MACHINE = MachineDocument(
    tool=TOOL,
    origin="synthetic",
    sources=("test",),
    nodes=(
        Host(id="host", name="box"),
        Package(id="package0", name="Test CPU", parent="host", os_index=0, num_cores=2),
        Numa(id="numa0", name="NUMA 0", parent="package0", os_index=0, memory_bytes=1 << 34),
        Gpu(id="gpu0", name="Test GPU", parent="host", memory_bytes=1 << 35),
    ),
    links=(Link(id="pcie0", kind=LinkKind.PCIE, a="host", b="gpu0", wire="pcie0"),),
)
JITTER = (0.99, 1.0, 1.01, 1.0, 0.995, 1.005)


def series(
    name: str,
    value: float,
    unit: str = "bytes_per_s",
    *,
    status: Status = Status.OK,
    reason: str | None = None,
    other_cpu_ratio: float = 0.0,
    warmup: float | None = None,
    **factors: Factor,
) -> Series:
    """One series whose steady samples scatter by a percent around `value`."""
    samples = [
        Sample(
            value=value * jitter,
            started_s=0.0,
            duration_s=0.1,
            conditions=Conditions(other_cpu_ratio=other_cpu_ratio),
        )
        for jitter in JITTER
    ]
    if warmup is not None:
        samples.insert(0, Sample(value=warmup, started_s=0.0, duration_s=0.1, is_warmup=True))
    return Series(
        name=name,
        unit=unit,
        factors={"device": "host", **factors},
        is_better_higher=unit != "s",
        status=status,
        reason=reason,
        samples=() if status in (Status.SKIPPED, Status.FAILED) else tuple(samples),
    )


def results(*members: Series, extra: tuple[Experiment, ...] = ()) -> ResultsDocument:
    """One experiment with these series."""
    experiment = Experiment(
        benchmark="test.bench",
        revision=3,
        summary="Measure something.",
        status=Status.OK,
        series=members,
    )
    return ResultsDocument(
        tool=TOOL,
        machine=MACHINE,
        environment=Environment(python="3.11"),
        suite="quick",
        started_at="2026-01-01T00:00:00+00:00",
        experiments=(experiment, *extra),
    )
