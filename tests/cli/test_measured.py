"""The summary of results: what flows do to each other."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from topoprobe.cli.measured import result_lines
from topoprobe.machine.sources.scan import make_up
from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import Environment, Experiment, ResultsDocument, Sample, Series

TOOL = Tool(tool_version="0")
SET = "host:0 -> core:0 via cpu | host:0 -> core:1 via cpu"


def series(name: str, flow: str, set_text: str, index: int, values: list[float]) -> Series:
    return Series(
        name=name,
        unit="bytes_per_s",
        factors={"device": "host", "set": set_text, "flow": flow, "index": index},
        is_better_higher=True,
        status=Status.OK,
        samples=tuple(Sample(value=value, started_s=0.0, duration_s=0.1) for value in values),
    )


def lines_of(
    shared: list[float],
    set_text: str = SET,
    *more: Series,
    machine: MachineDocument | None = None,
    solo: Sequence[float] = (10e9, 10.1e9, 9.9e9, 10e9, 10e9),
) -> list[str]:
    """Return the summary of two flows of 10 GB/s that give these rates beside each other."""
    flows = set_text.split(" | ")
    members = [
        one
        for index, flow in enumerate(flows)
        for one in (
            series("contention.solo", flow, flow, 0, list(solo)),
            series("contention.shared", flow, set_text, index, shared),
        )
    ]
    return result_lines(document_of([*members, *more], machine))


def document_of(
    members: Sequence[Series], machine: MachineDocument | None = None
) -> ResultsDocument:
    experiment = Experiment(
        benchmark="flows", revision=1, summary="Run.", status=Status.OK, series=tuple(members)
    )
    return ResultsDocument(
        tool=TOOL,
        machine=machine or MachineDocument(tool=TOOL, origin="synthetic", sources=(), nodes=()),
        environment=Environment(python="3"),
        suite="quick",
        started_at="2026-01-01T00:00:00+00:00",
        experiments=(experiment,),
    )


@pytest.mark.parametrize(
    ("shared", "said"),
    [
        ([5e9, 5.1e9, 4.9e9, 5e9, 5e9], "x2.00 slower (1."),
        ([11e9, 9e9, 10.5e9, 9.5e9, 10e9], "unchanged within the noise (0."),
        ([14e9, 6e9, 13e9, 7e9, 10e9], "cannot be told apart from no change (0."),
        ([20e9, 20.1e9, 19.9e9, 20e9, 20e9], "x2.00 faster (1."),
    ],
)
def test_flow_is_called_slower_only_beyond_the_noise(shared: list[float], said: str) -> None:
    flows = [line for line in lines_of(shared) if line.startswith("host:0")]
    assert len(flows) == 2
    assert all(said in line for line in flows)


def test_flows_that_were_measured_alone_only_are_told() -> None:
    document = document_of([series("contention.solo", SET.split(" | ")[0], "", 0, [10e9] * 5)])
    told = "host:0 -> core:0 via cpu: 10.0 GB/s alone; nothing together, see below"
    assert told in result_lines(document)


def test_experiments_that_fared_alike_are_told_in_one_line() -> None:
    skipped = [
        Experiment(
            benchmark=f"cuda.{name}",
            revision=1,
            summary="Run.",
            status=Status.SKIPPED,
            reason="no GPU",
        )
        for name in "abcde"
    ]
    document = msgspec.structs.replace(document_of([]), experiments=tuple(skipped))
    assert result_lines(document) == ["cuda.a and 4 more: skipped; no GPU"]


def test_series_that_were_skipped_keep_their_reason_beside_unstable_ones() -> None:
    (first, second) = (
        msgspec.structs.replace(series(name, "", "", 0, []), status=status, reason=reason)
        for name, status, reason in (
            ("a", Status.UNSTABLE, "it drifts"),
            ("b", Status.SKIPPED, "no wire"),
        )
    )
    (line,) = result_lines(document_of([first, second]))
    assert line == "flows: 1 unstable, 1 skipped; a: it drifts; b: no wire"


def test_flow_with_one_sample_claims_neither_interval_nor_spread() -> None:
    lines = lines_of([5e9], solo=[10e9])
    flows = [line for line in lines if line.startswith("host:0")]
    assert all("x2.00 the time it takes alone (one sample, no interval)" in one for one in flows)
    assert "spread" not in lines[-1]


def test_flow_that_makes_room_says_how_evenly_and_how_fast() -> None:
    flow = SET.split(" | ")[0]
    lines = lines_of(
        [5e9, 5.1e9, 4.9e9],
        SET,
        series("contention.jitter", flow, SET, 0, [1.4, 1.5, 9.0]),
        series("contention.convergence", flow, SET, 0, [0.02, 0.03, 0.04]),
    )
    (first,) = [line for line in lines if line.startswith(flow)]
    assert first.endswith("; chunks p99/p50 1.5; makes room within 30.0 ms")
    assert "largest spread 3.0%" in lines[-1]  # that of the rates, not of the jitter


def test_flow_that_makes_room_at_once_says_so() -> None:
    flow = SET.split(" | ")[0]
    convergence = series("contention.convergence", flow, SET, 0, [0.0, 0.0, 0.01])
    assert any(
        "makes room within one chunk" in one for one in lines_of([5e9] * 3, SET, convergence)
    )


def test_set_below_one_switch_says_how_much_of_it_was_reached() -> None:
    text = "host:0 -> gpu:0 via sm, txn=32 | host:0 -> gpu:1 via sm, txn=32"
    lines = lines_of([5e9, 5.1e9, 4.9e9], text, machine=make_up("dgx-v100"))
    assert "of bytes on the wire: Jain 1.000" in lines[-3]
    assert lines[-2].startswith("together 63% of the nominal capacity of")
