from __future__ import annotations

import pytest

from topoprobe.records.run import Distribution, Summary
from topoprobe.serving.comparison import compare


def summary(tokens_per_s: float, ttft_s: float | None = None) -> Summary:
    times = None if ttft_s is None else Distribution(mean=ttft_s, p50=0, p90=0, p99=0, max=0)
    return Summary(
        duration_s=1.0,
        num_requests=1,
        num_finished=1,
        num_prompt_tokens=1,
        num_output_tokens=1,
        num_steps=1,
        num_preemptions=0,
        request_throughput_per_s=1.0,
        output_throughput_tokens_per_s=tokens_per_s,
        total_throughput_tokens_per_s=1.0,
        ttft_s=times,
    )


def test_error_is_that_of_the_median_repeat() -> None:
    (one,) = compare(summary(110.0), [summary(90.0), summary(100.0), summary(300.0)])
    assert one.metric == "output_throughput_tokens_per_s"
    assert one.measured == (90.0, 100.0, 300.0)
    assert one.error_ratio == pytest.approx(0.1)
    assert one.spread_ratio == pytest.approx(2.1)


def test_error_within_the_bound_holds() -> None:
    (one,) = compare(summary(114.0), [summary(100.0)])
    assert one.is_within
    assert one.spread_ratio is None


def test_error_beyond_bound_and_spread_does_not_hold() -> None:
    (one,) = compare(summary(130.0), [summary(100.0), summary(101.0), summary(102.0)])
    assert not one.is_within


def test_error_within_a_large_spread_holds() -> None:
    (one,) = compare(summary(130.0), [summary(80.0), summary(100.0), summary(120.0)])
    assert one.is_within


def test_metric_that_one_side_lacks_is_left_out() -> None:
    names = [one.metric for one in compare(summary(1.0, 0.5), [summary(1.0)])]
    assert names == ["output_throughput_tokens_per_s"]
    names = [one.metric for one in compare(summary(1.0, 0.5), [summary(1.0, 0.4)])]
    assert names == ["output_throughput_tokens_per_s", "mean_ttft_s"]


def test_no_repeats_give_no_comparison() -> None:
    assert compare(summary(1.0), []) == ()
