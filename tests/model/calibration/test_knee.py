"""The knee of made-up loaded-latency curves."""

from __future__ import annotations

import pytest

from topoprobe.model.calibration.knee import knee_load
from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import LoadedLatencyPoint


def curve(*points: tuple[float, float]) -> list[LoadedLatencyPoint]:
    """Loads in GB/s with latencies in ns."""

    def estimate(value: float) -> Estimate:
        return Estimate(
            value=value, low=value, high=value, source=Source.MEASURED, n=5, evidence=""
        )

    return [
        LoadedLatencyPoint(
            load_bytes_per_s=estimate(load * 1e9), latency_s=estimate(latency * 1e-9)
        )
        for load, latency in points
    ]


def test_knee_is_interpolated_between_the_levels_around_it() -> None:
    found = knee_load(curve((10, 100), (400, 110), (800, 140), (1000, 180), (1010, 300)))
    assert found is not None
    assert found.value == pytest.approx(850e9)
    assert (found.low, found.high) == (800e9, 1000e9)
    assert found.source is Source.DERIVED


@pytest.mark.parametrize("points", [[], [(10.0, 100.0)], [(10.0, 100.0), (1000.0, 149.0)]])
def test_curve_that_never_rises_so_far_has_no_knee(points: list[tuple[float, float]]) -> None:
    assert knee_load(curve(*points)) is None
