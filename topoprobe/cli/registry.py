"""The doors to the outer folders, which mypy cannot follow in a checkout (docs/design.md)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from topoprobe.measure.benchmark import Benchmark, GpuChoice
from topoprobe.measure.flows import FlowSet
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.documents import Document
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import ResultsDocument
from topoprobe.records.run import RunDocument


def benchmarks() -> tuple[Benchmark, ...]:
    """Return every benchmark, in the order in which the suite runs them."""
    return cast("tuple[Benchmark, ...]", importlib.import_module("topoprobe.microbench").BENCHMARKS)


def known_revisions() -> dict[str, int]:
    """Return the newest revision of every benchmark, that of given flows included."""
    given = given_flows(FlowSet(()), GpuChoice())
    return {one.name: one.revision for one in (*benchmarks(), given)}


def given_flows(flows: FlowSet, gpus: GpuChoice) -> Benchmark:
    """Return the benchmark that runs a concurrent set the user wrote."""
    module = importlib.import_module("topoprobe.microbench.contention")
    return cast("Benchmark", module.GivenFlows(flows, gpus))


def render_report(
    *,
    machine: MachineDocument | None,
    results: ResultsDocument | None,
    calibration: CalibrationDocument | None,
    run: RunDocument | None,
) -> str:
    """Return the HTML report of the documents that there are."""
    render = cast(
        "Callable[..., str]", importlib.import_module("topoprobe.reports.page").render_page
    )
    return render(machine=machine, results=results, calibration=calibration, run=run)


def report_documents(data: bytes, name: str) -> tuple[Document, ...]:
    """Return the documents of a file: the one it is, or those inside a report.

    Raises
    ------
    InputError
        If it is neither a document nor a report.
    """
    read = cast(
        "Callable[[bytes, str], tuple[Document, ...]]",
        importlib.import_module("topoprobe.reports.embedded").documents_of,
    )
    return read(data, name)
