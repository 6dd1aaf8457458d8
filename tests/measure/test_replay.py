"""Recorded samples, pushed through the real statistics, give the recorded verdicts."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.measure.replay import replay
from tests.measure.support import Bench
from topoprobe.measure.benchmark import Interrupted
from topoprobe.measure.series import Quantity, Trial, collect, skipped
from topoprobe.records.base import Status
from topoprobe.records.documents import decode_as
from topoprobe.records.results import ResultsDocument, Series

RECORDED = Path(__file__).resolve().parents[1] / "data/results/cpu-latency.json"

SAMPLES = st.lists(
    st.tuples(st.floats(0.5, 2.0), st.floats(0.9, 1.1), st.floats(1e-3, 5.0)),
    min_size=1,
    max_size=25,
)


def told(series: Series) -> Series:
    """Leave out what a clock that counts in floating point rounds."""
    samples = tuple(
        msgspec.structs.replace(one, started_s=round(one.started_s, 9), duration_s=0.0)
        for one in series.samples
    )
    return msgspec.structs.replace(series, samples=samples)


def in_brief(series: Series) -> Series:
    """Leave out also how a reason describes the samples, in which versions differ."""
    reason = series.reason and series.reason.partition(" samples")[0]
    return msgspec.structs.replace(told(series), reason=reason)


def test_a_recorded_run_is_judged_again_as_it_was() -> None:
    document = decode_as(RECORDED.read_bytes(), ResultsDocument)
    recorded = document.experiments[0].series
    assert {one.status for one in recorded} == {Status.OK, Status.UNSTABLE}
    assert any(one.reason and "drifts" in one.reason for one in recorded)
    assert any(sum(sample.is_warmup for sample in one.samples) > 1 for one in recorded)
    assert [in_brief(one) for one in replay(recorded)] == [in_brief(one) for one in recorded]


@settings(deadline=None)
@given(SAMPLES, st.integers(1, 12), st.floats(0.5, 40.0), st.integers(1, 40))
def test_any_series_is_judged_again_as_it_was(
    samples: list[tuple[float, float, float]], num_wanted: int, limit_s: float, num_allowed: int
) -> None:
    """Stopped by its samples, by its time, by the person, or by a failure after the last sample."""
    bench = Bench()
    source = iter(samples)
    taken = itertools.count(1)

    def measure() -> tuple[float, float]:
        wide, narrow, cost_s = next(source)
        bench.clock.now_s += cost_s
        return wide, narrow

    quantities = (Quantity("wide", "s", {}), Quantity("narrow", "ratio", {}))
    context = bench.context(
        num_samples=num_wanted,
        max_series_s=limit_s,
        should_stop=lambda: next(taken) > num_allowed,
    )
    with contextlib.suppress(Interrupted):
        collect(context, [Trial(quantities, measure)], tolerance_ratio=0.1)
    assert [told(one) for one in replay(bench.kept)] == [told(one) for one in bench.kept]


def test_what_was_skipped_stays_so() -> None:
    series = [skipped(Quantity(name, "s", {}), "no GPU") for name in "xy"]
    assert replay(series) == series
