"""The figures of results that are no ceilings."""

from __future__ import annotations

import msgspec
import pytest

from tests.reports import sample
from topoprobe.cli.figures import handover_lines, other_figures, roofline_lines, step_lines
from topoprobe.cli.measured import result_lines
from topoprobe.records.base import Status
from topoprobe.records.calibration import RooflinePoint
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import (
    Environment,
    Experiment,
    Factor,
    ResultsDocument,
    Sample,
    Series,
)


def series(name: str, unit: str, values: list[float], **factors: Factor) -> Series:
    return Series(
        name=name,
        unit=unit,
        factors={"device": "host", **factors},
        is_better_higher=False,
        status=Status.OK,
        samples=tuple(Sample(value=value, started_s=0.0, duration_s=0.1) for value in values),
    )


def results(*made: Series) -> ResultsDocument:
    experiment = Experiment(
        benchmark="made.up", revision=1, summary="Pretend.", status=Status.OK, series=made
    )
    return ResultsDocument(
        tool=sample.TOOL,
        machine=MachineDocument(tool=sample.TOOL, origin="synthetic", sources=(), nodes=()),
        environment=Environment(python="3"),
        suite="quick",
        started_at="2026-01-01T00:00:00+00:00",
        experiments=(experiment,),
    )


def test_handover_lines_tell_each_kind_of_pair_with_its_range() -> None:
    made = results(
        series("core_to_core", "s", [40e-9, 42e-9, 41e-9], cpu=0, other_cpu=1, shared="core"),
        series("core_to_core", "s", [70e-9], cpu=0, other_cpu=2, shared="node"),
        series("core_to_core", "s", [90e-9], cpu=0, other_cpu=3, shared="node"),
    )
    assert handover_lines(made) == [
        "handover   of a cache line, 41.0 ns between CPUs of one core (1 pair)",
        "           of a cache line, 70.0 to 90.0 ns between CPUs of one node (2 pairs)",
    ]


def test_roofline_lines_tell_both_ends_on_most_threads() -> None:
    points = tuple(
        RooflinePoint(
            dtype="fp32",
            intensity_flop_per_byte=intensity,
            num_threads=threads,
            rate_flop_per_s=sample.measured(rate),
        )
        for intensity, threads, rate in ((0.25, 1, 4e9), (0.25, 2, 7e9), (8, 2, 80e9), (8, 1, 1e9))
    )
    (device,) = sample.vm_calibration().devices
    calibration = msgspec.structs.replace(
        sample.vm_calibration(), devices=(msgspec.structs.replace(device, roofline=points),)
    )
    assert roofline_lines(calibration) == [
        "roofline   fp32 7.00 GFLOP/s at 0.25 flop/B to 80.0 GFLOP/s at 8 flop/B"
    ]


def test_step_lines_tell_the_least_and_the_longest_step() -> None:
    made = results(
        series("model.step", "s", [0.2, 0.22, 0.21], model="tiny-llama", num_tokens=512),
        series("model.step", "s", [0.002], model="tiny-llama", num_tokens=1),
    )
    without_law = msgspec.structs.replace(sample.vm_calibration(), models=())
    assert step_lines(made, without_law) == [
        "steps      tiny-llama: 2.00 ms for 1 token to 210 ms for 512 tokens"
    ]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (series("launch.overhead", "s", [2e-6]), "launch.overhead 2.00 µs"),
        (series("stream.copy", "bytes_per_s", [2e9]), ""),
        (series("latency.load", "bytes_per_s", []), ""),
    ],
    ids=lambda value: value.name if isinstance(value, Series) else None,
)
def test_other_figures_are_those_that_no_line_tells(made: Series, told: str) -> None:
    assert other_figures(results(made).experiments[0]) == told


def test_result_lines_tell_a_figure_of_every_experiment() -> None:
    made = results(
        series("core_to_core", "s", [40e-9] * 3, cpu=0, other_cpu=1, shared="core"),
        series("numa.latency", "s", [90e-9] * 3),
    )
    host = sample.vm_machine()
    text = "\n".join(result_lines(msgspec.structs.replace(made, machine=host)))
    assert "40.0 ns between CPUs" in text
    assert "numa.latency 90.0 ns" in text
