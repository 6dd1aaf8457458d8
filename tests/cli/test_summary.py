"""The lines that a terminal shows of the documents."""

from __future__ import annotations

import pytest

from tests.reports import sample
from topoprobe.cli.summary import contention_lines
from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import CalibrationDocument, Contention, SlowdownMatrix


def slowdown(value: float, low: float, high: float, n: int = 5) -> Estimate:
    return Estimate(value=value, low=low, high=high, source=Source.MEASURED, n=n, evidence="sample")


@pytest.mark.parametrize(
    ("sure", "line"),
    [
        (
            slowdown(1.19, 1.07, 2.25),
            "worst pair: stream runs x1.19 slower beside gemm (1.07-2.25)",
        ),
        (slowdown(1.19, 0.99, 2.25), "no pair slows measurably"),
        (slowdown(1.19, 1.19, 1.19, n=1), "no pair slows measurably"),
    ],
)
def test_contention_lines_of_a_pair_within_noise_do_not_call_it_slowed(
    sure: Estimate, line: str
) -> None:
    noise = slowdown(1.32, 0.97, 1.68)
    matrix = SlowdownMatrix(
        flows=("stream", "gemm"), slowdown_victim_aggressor=((None, sure), (None, noise))
    )
    calibration = CalibrationDocument(
        tool=sample.TOOL,
        machine=sample.vm_machine(),
        contention=(Contention(resource="memory:host", slowdown=matrix),),
    )
    (found,) = contention_lines(calibration)
    assert found.endswith(line)


def test_contention_lines_put_predicted_beside_measured_slowdowns() -> None:
    *_, found = contention_lines(sample.vm_calibration())
    assert "6 slowdowns, median error 6.5% (56.0% if none were expected)" in found
    assert found.endswith("worst: memcpy of 4 flows x2.50, measured x2.13")
