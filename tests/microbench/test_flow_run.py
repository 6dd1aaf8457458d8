"""What a run of a concurrent set tells beside its rates, on traces that are known."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.measure.support import Bench
from topoprobe.measure.concurrent import Lane
from topoprobe.measure.series import Quantity, collect
from topoprobe.measure.window import Trace
from topoprobe.microbench import flow_run
from topoprobe.microbench.flow_run import FlowRun
from topoprobe.records.base import Status
from topoprobe.records.results import Series


def even(start_s: float, chunk_s: float, end_s: float) -> Trace:
    count = round((end_s - start_s) / chunk_s)
    return Trace(start_s, tuple(start_s + chunk_s * (n + 1) for n in range(count)), 1.0)


def halving(joined_s: float, end_s: float) -> Trace:
    before, after = even(0.0, 0.01, joined_s), even(joined_s, 0.02, end_s)
    return Trace(0.0, before.ends_s + after.ends_s, 1.0)


def told(
    monkeypatch: pytest.MonkeyPatch, traces: list[list[Trace]], delays_s: list[float]
) -> dict[tuple[str, Any], Series]:
    """Run three times over known traces; return the series by name and index."""
    monkeypatch.setattr(flow_run, "trace_flows", lambda *lanes, **options: traces)
    lanes: Any = [(Lane(None, None, print, 1.0, delay_s=delay_s),) for delay_s in delays_s]  # type: ignore[arg-type]
    quantities = tuple(
        Quantity("contention.shared", "per_s", {"index": n}) for n in range(len(lanes))
    )
    bench = Bench()
    run = FlowRun(quantities, tuple(lanes), 2.0, bench.context())
    measured = collect(bench.context(num_samples=3), [run.trial()])
    return {(one.name, one.factors["index"]): one for one in (*measured, *run.told(measured))}


def test_run_tells_jitter_beside_every_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    uneven = Trace(0.0, (0.1, 0.2, 0.3, 0.8, 0.9, 1.0), 1.0)
    found = told(monkeypatch, [[even(0.0, 0.01, 1.0)], [uneven]], [0.0, 0.0])
    rates, jitter = found["contention.shared", 1], found["contention.jitter", 1]
    assert (jitter.unit, jitter.status) == ("ratio", Status.OK)
    assert [one.started_s for one in jitter.samples] == [one.started_s for one in rates.samples]
    assert jitter.samples[0].value == pytest.approx(5.0)
    assert found["contention.jitter", 0].samples[0].value == pytest.approx(1.0)
    assert not any(name == "contention.convergence" for name, _ in found)


def test_run_tells_how_fast_a_flow_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = [[halving(1.0, 2.0)], [even(1.0, 0.02, 2.0)]]
    found = told(monkeypatch, traces, [0.0, 1.0])
    convergence = found["contention.convergence", 0]
    assert convergence.unit == "s"
    assert convergence.samples[0].value <= 0.05  # a step, as fast as chunks can tell
    assert ("contention.convergence", 1) not in found


def test_run_says_why_there_is_no_convergence(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = [[even(0.0, 0.01, 2.0)], [even(1.0, 0.01, 2.0)]]
    convergence = told(monkeypatch, traces, [0.0, 1.0])["contention.convergence", 0]
    assert (convergence.status, convergence.samples) == (Status.SKIPPED, ())
    assert "no rate changed" in (convergence.reason or "")


def test_run_of_one_chunk_has_no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    jitter = told(monkeypatch, [[Trace(0.0, (1.0,), 1.0)]], [0.0])["contention.jitter", 0]
    assert jitter.status is Status.SKIPPED
    assert "fewer than two chunks" in (jitter.reason or "")


def test_run_with_a_lane_without_a_chunk_in_the_window_is_a_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Trace(0.0, (2.5,), 1.0)
    found = told(monkeypatch, [[slow], [even(1.0, 0.02, 2.0)]], [0.0, 1.0])
    assert len(found["contention.shared", 0].samples) == 4
    assert found["contention.convergence", 0].status is Status.SKIPPED


def test_run_that_became_no_sample_lends_its_chunks_to_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The conditions of one of two runs that differ cannot be read."""
    uneven = [(0.1, 0.2, 0.3, 0.4, 0.5 + late, 1.0 + late) for late in (0.1, 0.2, 0.3, 0.4)]
    turns = iter([[[Trace(0.0, ends, 1.0)]] for ends in uneven])
    monkeypatch.setattr(flow_run, "trace_flows", lambda *lanes, **options: next(turns))
    lane: Any = Lane(None, None, print, 1.0)  # type: ignore[arg-type]
    bench = Bench()
    quantity = Quantity("contention.shared", "per_s", {"index": 0})
    run = FlowRun((quantity,), ((lane,),), 2.0, bench.context())
    trial = run.trial()
    trial.measure()  # as if what is read after it had failed
    measured = collect(bench.context(num_samples=3, max_series_s=0.0), [trial])
    (jitter,) = run.told(measured)
    assert [one.value for one in measured[0].samples] == [pytest.approx(6 / 1.2)]
    assert [one.value for one in jitter.samples] == [pytest.approx(0.5 / 0.1)]


def test_run_beside_a_rate_that_did_not_settle_says_whose_reason_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = itertools.cycle([(0.1, 0.2, 0.3, 1.0), (0.1, 0.2, 0.3, 2.0)])
    monkeypatch.setattr(
        flow_run, "trace_flows", lambda *lanes, **options: [[Trace(0.0, next(ends), 1.0)]]
    )
    bench = Bench()
    quantity = Quantity("contention.shared", "per_s", {"index": 0})
    lane: Any = Lane(None, None, print, 1.0)  # type: ignore[arg-type]
    run = FlowRun((quantity,), ((lane,),), 2.0, bench.context())
    measured = collect(bench.context(num_samples=3), [run.trial()])
    (jitter,) = run.told(measured)
    assert jitter.status is Status.UNSTABLE
    assert jitter.reason == f"beside a rate that did not settle: {measured[0].reason}"
