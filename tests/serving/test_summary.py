from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.errors import ModelError
from topoprobe.records.run import RequestTimes, StepTimes
from topoprobe.serving.summary import distribution, percentile, summarise

FINISHED = RequestTimes(
    request_id=0,
    status="finished",
    num_prompt_tokens=10,
    num_output_tokens=5,
    arrived_s=1.0,
    first_scheduled_s=1.5,
    first_token_s=2.0,
    finished_s=4.0,
)
REJECTED = RequestTimes(
    request_id=1,
    status="rejected",
    reason="too long",
    num_prompt_tokens=99,
    num_output_tokens=0,
    arrived_s=1.0,
)
STEP = StepTimes(
    worker_id=0,
    segment_id=0,
    started_s=1.5,
    ended_s=6.0,
    num_steps=7,
    num_sequences=1,
    num_tokens=1,
)


def test_summary_follows_the_definitions() -> None:
    summary = summarise([FINISHED, REJECTED], [STEP], peak_kv_blocks=3)
    assert summary.duration_s == 5.0
    assert (summary.num_requests, summary.num_finished, summary.num_steps) == (2, 1, 7)
    assert summary.num_prompt_tokens == 10
    assert summary.request_throughput_per_s == 1 / 5
    assert summary.output_throughput_tokens_per_s == 5 / 5
    assert summary.total_throughput_tokens_per_s == 15 / 5
    assert summary.ttft_s is not None
    assert summary.ttft_s.mean == 1.0
    assert summary.tpot_s is not None
    assert summary.tpot_s.p99 == 2.0 / 4
    assert summary.e2e_s is not None
    assert summary.e2e_s.max == 3.0
    assert summary.peak_kv_blocks == 3


def test_summary_without_finished_requests_has_no_latencies() -> None:
    summary = summarise([REJECTED], [])
    assert (summary.ttft_s, summary.tpot_s, summary.e2e_s) == (None, None, None)
    assert summary.duration_s == summary.request_throughput_per_s == 0.0


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=50))
def test_percentiles_agree_with_the_standard_library(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    found = distribution(values)
    assert found is not None
    assert [found.p50, found.p90, found.p99] == pytest.approx([cuts[49], cuts[89], cuts[98]])
    assert found.max == max(values)


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="does not exist"):
        percentile([], 50)
    with pytest.raises(ModelError, match="does not exist"):
        percentile([1.0], 101)
