"""Jitter of chunks, and how fast a flow makes room for another."""

from __future__ import annotations

import random

import pytest

from topoprobe.errors import ModelError
from topoprobe.measure.chunks import convergence_s, jitter_ratio, until
from topoprobe.measure.window import Trace, Window


def even(start_s: float, chunk_s: float, count: int) -> list[float]:
    return [start_s + chunk_s * (index + 1) for index in range(count)]


def test_jitter_of_even_chunks_is_one() -> None:
    trace = Trace(0.0, tuple(even(0.0, 0.01, 200)), 1.0)
    assert jitter_ratio(trace, Window(0.0, 2.0)) == pytest.approx(1.0)


def test_jitter_counts_only_chunks_inside_the_window() -> None:
    ends = [*even(0.0, 0.01, 50), *even(0.5, 0.1, 5)]
    assert jitter_ratio(Trace(0.0, tuple(ends), 1.0), Window(0.0, 0.505)) == pytest.approx(1.0)
    assert jitter_ratio(Trace(0.0, tuple(ends), 1.0), Window(0.0, 1.0)) == pytest.approx(10.0)


def test_jitter_of_a_single_chunk_is_unknown() -> None:
    assert jitter_ratio(Trace(0.0, (0.5, 1.5), 1.0), Window(0.0, 1.0)) is None


def slowing(joined_s: float, ramp_s: float, source: random.Random) -> Trace:
    """A flow at 100 chunks a second that falls to half of it, linearly, once another joins."""
    ends, now_s = [], 0.0
    while now_s < 4.0:
        part = min(max((now_s - joined_s) / ramp_s, 0.0), 1.0) if ramp_s else now_s >= joined_s
        now_s += 0.01 / (1.0 - 0.5 * part) * source.lognormvariate(0.0, 0.02)
        ends.append(now_s)
    return Trace(0.0, tuple(ends), 1.0)


@pytest.mark.parametrize("ramp_s", [0.25, 0.5, 1.0])
def test_convergence_is_eight_tenths_of_a_linear_ramp(ramp_s: float) -> None:
    found = convergence_s(slowing(1.0, ramp_s, random.Random(1)), 1.0)
    assert found == pytest.approx(0.8 * ramp_s, abs=0.06)


def test_convergence_of_a_step_is_within_a_few_chunks() -> None:
    found = convergence_s(slowing(1.0, 0.0, random.Random(2)), 1.0)
    assert found is not None
    assert found <= 0.05


def test_convergence_of_an_undisturbed_flow_is_none() -> None:
    assert convergence_s(Trace(0.0, tuple(even(0.0, 0.01, 300)), 1.0), 1.0) is None


def test_convergence_with_too_few_chunks_is_refused() -> None:
    with pytest.raises(ModelError, match="smaller chunks"):
        convergence_s(Trace(0.0, (0.5, 1.0, 1.5), 1.0), 1.0)


def test_convergence_of_a_flow_without_a_chunk_is_not_known() -> None:
    with pytest.raises(ModelError, match="0 chunks before the join"):
        convergence_s(until(Trace(0.0, (2.5,), 1.0), 2.0), 1.0)
    assert jitter_ratio(Trace(0.0, (), 1.0), Window(0.0, 1.0)) is None
