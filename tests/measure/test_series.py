"""Collecting series on a fake clock."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

import pytest

from tests.measure.support import Bench
from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Interrupted
from topoprobe.measure.series import Quantity, Trial, collect, require_any, skipped
from topoprobe.measure.statistics import steady_values
from topoprobe.records.base import Status


def trial(bench: Bench, values: Iterable[float], name: str = "a", cost_s: float = 1.0) -> Trial:
    source = iter(values)

    def measure() -> float:
        bench.clock.now_s += cost_s
        return next(source)

    return Trial.of(Quantity(name, "s", {"device": "host"}), measure)


def test_collect_steady_values_drops_only_the_first() -> None:
    bench = Bench()
    (series,) = collect(bench.context(), [trial(bench, itertools.repeat(2.0))])
    assert series.status is Status.OK
    assert [sample.is_warmup for sample in series.samples] == [True] + [False] * 5
    assert series.samples[0].conditions is not None
    assert [sample.started_s for sample in series.samples] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_collect_drifting_start_is_kept_as_warmup() -> None:
    bench = Bench()
    values = [9.0, 8.0, 6.0, 4.0, *itertools.repeat(3.0, 10)]
    (series,) = collect(bench.context(), [trial(bench, values)])
    assert steady_values(series) == (3.0,) * 5
    assert [sample.value for sample in series.samples[:4]] == [9.0, 8.0, 6.0, 4.0]


def test_collect_never_steady_is_unstable_with_the_reason_and_keeps_samples() -> None:
    bench = Bench()
    (series,) = collect(
        bench.context(max_series_s=8.0), [trial(bench, itertools.cycle([1.0, 2.0]))]
    )
    assert series.status is Status.UNSTABLE
    assert series.reason == (
        "its median is known to ±50.0% only, not to ±2%, from 7 samples that lie "
        "between -50.0% and +0.0% of it"
    )
    assert series.tolerance_ratio == 0.02
    assert len(steady_values(series)) == 7


def test_collect_never_steady_gives_up_after_twice_the_samples() -> None:
    bench = Bench()
    (series,) = collect(bench.context(num_samples=4), [trial(bench, itertools.cycle([1.0, 2.0]))])
    assert len(series.samples) == 8


def test_collect_noisy_values_takes_more_samples_until_the_median_is_known() -> None:
    bench = Bench()
    values = [1.0, 1.0, 1.05, 1.0, 0.95, *[1.0] * 9]
    (series,) = collect(bench.context(), [trial(bench, values)])
    assert series.status is Status.OK
    assert 6 < len(series.samples) < 10


def test_collect_joint_quantities_are_judged_one_by_one_on_the_same_samples() -> None:
    bench = Bench()
    noisy = itertools.cycle([1.0, 2.0])
    quantities = (Quantity("x", "s", {}), Quantity("y", "s", {}))
    x, y = collect(bench.context(), [Trial(quantities, lambda: (1.0, next(noisy)))])
    assert (x.status, y.status) == (Status.OK, Status.UNSTABLE)
    assert len(x.samples) == len(y.samples) == 10


def test_collect_trial_that_fails_late_keeps_its_samples_and_is_failed() -> None:
    bench = Bench()
    values = itertools.repeat(1.0, 3)

    def measure() -> float:
        return next(values)

    (series,) = collect(bench.context(), [Trial.of(Quantity("x", "s", {}), measure)])
    assert (series.status, series.reason) == (Status.FAILED, "StopIteration")
    assert [sample.is_warmup for sample in series.samples] == [True, False, False]


def test_collect_failing_trial_is_failed_and_rivals_go_on() -> None:
    bench = Bench()

    def fail() -> float:
        raise MeasurementFailed("the wire is cut")

    broken = Trial.of(Quantity("b", "s", {}), fail)
    bad, good = collect(bench.context(), [broken, trial(bench, itertools.repeat(1.0))])
    assert (bad.status, bad.reason, bad.samples) == (Status.FAILED, "the wire is cut", ())
    assert good.status is Status.OK


def test_collect_rivals_alternate() -> None:
    bench = Bench()
    first, second = collect(
        bench.context(),
        [trial(bench, itertools.repeat(1.0), "a"), trial(bench, itertools.repeat(1.0), "b")],
    )
    rounds = sorted(
        (sample.started_s, series.name) for series in (first, second) for sample in series.samples
    )
    pairs = [{rounds[i][1], rounds[i + 1][1]} for i in range(0, len(rounds), 2)]
    assert pairs == [{"a", "b"}] * 6


def test_collect_joint_quantities_share_samples() -> None:
    bench = Bench()
    quantities = (Quantity("x", "s", {}), Quantity("y", "ratio", {}, is_better_higher=False))
    x, y = collect(bench.context(), [Trial(quantities, lambda: (1.0, 2.0))])
    assert steady_values(x) == (1.0,) * 5
    assert steady_values(y) == (2.0,) * 5
    assert not y.is_better_higher


def test_collect_stop_raises_and_keeps_what_was_measured() -> None:
    bench = Bench()
    context = bench.context(should_stop=lambda: bench.clock.now_s >= 2.0)
    with pytest.raises(Interrupted):
        collect(context, [trial(bench, itertools.repeat(1.0))])
    assert [len(series.samples) for series in bench.kept] == [2]
    assert bench.kept[0].reason == "1 sample after warm-up; expected at least 3"


def test_require_any_without_samples_gives_the_first_reason() -> None:
    series = skipped(Quantity("x", "s", {}), "numba is not installed")
    with pytest.raises(MeasurementFailed, match="numba is not installed"):
        require_any([series])


def test_collect_lets_every_trial_prove_itself_once_after_its_last_sample() -> None:
    bench = Bench()
    good, bad = (trial(bench, itertools.repeat(2.0), name=name) for name in ("good", "bad"))
    proofs: list[int] = []

    def refute() -> None:
        raise MeasurementFailed("the last copy arrived wrong")

    series = collect(
        bench.context(),
        [
            dataclasses.replace(good, prove=lambda: proofs.append(1)),
            dataclasses.replace(bad, prove=refute),
        ],
    )
    assert [one.status for one in series] == [Status.OK, Status.FAILED]
    assert series[1].reason == "the last copy arrived wrong"
    assert len(series[1].samples) == 6
    assert proofs == [1]
