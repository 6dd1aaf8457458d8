from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.errors import InputError, UsageError
from topoprobe.serving.workload.arrivals import poisson_arrivals
from topoprobe.serving.workload.clients import Clients
from topoprobe.serving.workload.load import synthetic_load, trace_load
from topoprobe.serving.workload.request import Lengths, check_lengths, clip, make_requests
from topoprobe.serving.workload.synthetic import TokenRange
from topoprobe.serving.workload.trace import Trace
from topoprobe.units import PS_PER_S

TIMED = Trace("azure", (Lengths(3, 4), Lengths(5, 9)), (0, 700))
UNTIMED = Trace("lengths", (Lengths(3, 4), Lengths(5, 9)), None)


def test_requests_state_one_common_limit() -> None:
    requests = make_requests([Lengths(3, 4), Lengths(5, 9)], (0, 1))
    assert [each.max_tokens for each in requests] == [9, 9]
    assert [each.spec.max_tokens for each in requests] == [9, 9]


@pytest.mark.parametrize("lengths", [(0, 1), (1, -1), (10_000_001, 1)])
def test_unbelievable_lengths_are_refused(lengths: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="expected 1 to 10000000"):
        check_lengths(*lengths)


@given(st.integers(1, 100_000), st.integers(1, 100_000), st.integers(2, 50_000))
def test_clip_keeps_the_total_and_the_proportion(prompt: int, output: int, most: int) -> None:
    clipped = clip(Lengths(prompt, output), most)
    total = clipped.num_prompt_tokens + clipped.num_output_tokens
    assert min(clipped.num_prompt_tokens, clipped.num_output_tokens) >= 1
    assert total <= most
    if prompt + output <= most:
        assert clipped == Lengths(prompt, output)
    else:
        assert total >= most - 1
        share = most * prompt / (prompt + output)
        assert clipped.num_prompt_tokens == pytest.approx(share, abs=1)


def test_poisson_arrivals_have_the_rate_and_repeat() -> None:
    arrivals = poisson_arrivals(20_000, 6.45, seed=5)
    assert arrivals == poisson_arrivals(20_000, 6.45, seed=5) == tuple(sorted(arrivals))
    assert arrivals != poisson_arrivals(20_000, 6.45, seed=6)
    assert 20_000 * PS_PER_S / arrivals[-1] == pytest.approx(6.45, rel=0.03)


@pytest.mark.parametrize("rate", [0, -1, 1e-300, 1e300, float("inf"), float("nan")])
def test_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="is no rate"):
        poisson_arrivals(1, rate, seed=0)


def test_trace_load_keeps_the_times_of_the_trace_unless_a_rate_is_given() -> None:
    assert [each.arrival_ps for each in trace_load(TIMED, "t").requests] == [0, 700]
    load = trace_load(TIMED, "t", rate_per_s=3, seed=8)
    assert tuple(each.arrival_ps for each in load.requests) == poisson_arrivals(2, 3, seed=8)
    assert (load.workload.rate_per_s, load.workload.seed, load.workload.trace) == (3, 8, "t")


def test_load_without_times_needs_a_rate_or_a_concurrency() -> None:
    with pytest.raises(UsageError, match="Nothing says when"):
        trace_load(UNTIMED, "t")
    with pytest.raises(UsageError, match="Nothing says when"):
        synthetic_load(3)
    load = trace_load(UNTIMED, "t", max_concurrency=2)
    assert [each.arrival_ps for each in load.requests] == [0, 0]
    assert load.workload.max_concurrency == 2


def test_synthetic_load_draws_from_its_ranges_and_repeats() -> None:
    prompt, output = TokenRange(3, 5), TokenRange(7, 7)
    load = synthetic_load(300, rate_per_s=2, seed=4, prompt=prompt, output=output)
    assert {each.num_prompt_tokens for each in load.requests} == {3, 4, 5}
    assert {each.num_output_tokens for each in load.requests} == {7}
    assert load == synthetic_load(300, rate_per_s=2, seed=4, prompt=prompt, output=output)
    assert load.workload.name == "synthetic: prompts of 3-5, outputs of 7-7 tokens"


def test_synthetic_load_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        synthetic_load(0, rate_per_s=1)


def test_token_range_reads_one_number_or_two() -> None:
    assert TokenRange.parse("8") == TokenRange(8, 8)
    assert TokenRange.parse(str(TokenRange(8, 90))) == TokenRange(8, 90)


@pytest.mark.parametrize("text", ["", "a", "5-", "-5", "9-3", "0-3", "1-10000001"])
def test_token_range_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no range"):
        TokenRange.parse(text)


def test_clients_hold_requests_back_at_the_limit() -> None:
    clients = Clients(make_requests([Lengths(1, 1)] * 3, (0, 5, 6)), max_concurrency=1)
    assert clients.next_ps() == 0
    clients.submit()
    assert clients.next_ps() is None
    clients.close(20)
    assert clients.next_ps() == 20
    assert clients.submit().request_id == 1
    clients.close(30)
    assert (clients.num_requests, clients.num_closed) == (3, 2)
    clients.submit()
    assert clients.next_ps() is None


def test_clients_without_limit_keep_arrival_times() -> None:
    clients = Clients(make_requests([Lengths(1, 1)] * 2, (3, 5)))
    clients.submit()
    clients.close(4)
    assert clients.next_ps() == 5


def test_concurrency_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="submits nothing"):
        Clients((), max_concurrency=0)
