from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.errors import UsageError
from topoprobe.model.catalogue.devices import NOMINAL_DEVICES
from topoprobe.model.cost import StepLaw
from topoprobe.model.deployment import deploy_nominal
from topoprobe.serving.events import AnyEvent, Chunk, RunSegment
from topoprobe.serving.policies.registry import build_policies, parse_choice
from topoprobe.serving.scheduler import Scheduler
from topoprobe.serving.simulator.cost import StepLawCost
from topoprobe.serving.simulator.simulator import LogEntry, Simulator
from topoprobe.serving.workload.arrivals import poisson_arrivals
from topoprobe.serving.workload.clients import Clients
from topoprobe.serving.workload.request import Lengths, Request, make_requests
from topoprobe.serving.workload.trace import read_trace
from topoprobe.units import PS_PER_S

LAW = StepLaw(
    fixed_ps=1000,
    per_sequence_ps=100,
    per_token_ps=10,
    per_pair_ps=3,
    stream_ps=200,
    per_context_ps=7,
)

LAW_OF_1000 = StepLaw(
    fixed_ps=1000, per_sequence_ps=0, per_token_ps=0, per_pair_ps=0, stream_ps=0, per_context_ps=0
)
"""Every step takes 1000 ps."""


def make_scheduler(
    num_blocks: int, block_size: int, *, budget: int = 16, seats: int = 4
) -> Scheduler:
    choice = parse_choice(f"batching=chunked:budget={budget},seats={seats},reserve=0")
    return Scheduler(
        num_blocks=num_blocks, block_size=block_size, policies=build_policies([choice])
    )


def run(
    scheduler: Scheduler,
    requests: tuple[Request, ...],
    *,
    law: StepLaw = LAW,
    most_steps: int | None = None,
    max_concurrency: int | None = None,
) -> tuple[Simulator, list[LogEntry]]:
    log: list[LogEntry] = []
    clients = Clients(requests, max_concurrency)
    simulator = Simulator(scheduler, StepLawCost(law), clients, most_steps=most_steps, log=log)
    simulator.run()
    return simulator, log


def chunks_in(log: list[LogEntry]) -> list[Chunk]:
    return [
        chunk
        for _, actions in log
        for action in actions
        if isinstance(action, RunSegment)
        for chunk in action.plan.chunks
    ]


def scarce_load() -> tuple[Request, ...]:
    """Four requests that come together and do not fit together."""
    return make_requests([Lengths(6, 12)] * 4, (0, 0, 10, 5000))


# By hand -----------------------------------------------------------------------


def test_lone_request_takes_the_sum_of_its_steps() -> None:
    requests = make_requests([Lengths(20, 3)], (50,))
    simulator, _ = run(make_scheduler(100, 4), requests)
    (times,) = simulator.request_times()
    first = 1000 + 100 + 200 + 3 * (16 * 17 // 2)  # 16 tokens of prompt
    second = 1000 + 100 + 200 + 3 * (4 * 16 + 4 * 5 // 2)  # 4 more after them
    decodes = 2 * (1000 + 100 + 200) + 7 * (20 + 21)
    assert times.status == "finished"
    assert times.num_output_tokens == 3
    assert times.arrived_s == times.first_scheduled_s == 50 / PS_PER_S
    assert times.first_token_s == (50 + first + second) / PS_PER_S
    assert times.finished_s == (50 + first + second + decodes) / PS_PER_S


def test_arrival_inside_a_segment_joins_at_the_next_step_boundary() -> None:
    requests = make_requests([Lengths(1, 1000), Lengths(1, 1)], (0, 9000))
    simulator, _ = run(make_scheduler(1000, 4), requests, law=LAW_OF_1000)
    times = simulator.request_times()[1]
    assert times.first_scheduled_s == 9000 / PS_PER_S
    assert times.first_token_s == 10000 / PS_PER_S


def test_arrival_at_the_end_of_a_segment_is_part_of_the_next_one() -> None:
    requests = make_requests([Lengths(1, 1000), Lengths(1, 1)], (0, 1000))
    simulator, _ = run(make_scheduler(1000, 4), requests, law=LAW_OF_1000)
    assert simulator.request_times()[1].first_scheduled_s == 1000 / PS_PER_S


def test_arrival_between_boundaries_waits_for_the_next_one() -> None:
    requests = make_requests([Lengths(1, 1000), Lengths(1, 1)], (0, 9001))
    simulator, _ = run(make_scheduler(1000, 4), requests, law=LAW_OF_1000)
    assert simulator.request_times()[1].first_scheduled_s == 10000 / PS_PER_S


def test_preempted_request_keeps_its_tokens_and_counts_it() -> None:
    simulator, _ = run(make_scheduler(10, 4), scarce_load())
    times = simulator.request_times()
    assert sum(each.num_preemptions for each in times) > 0
    assert [each.num_output_tokens for each in times] == [12] * 4
    assert [each.status for each in times] == ["finished"] * 4


def test_long_decode_is_few_events() -> None:
    requests = make_requests([Lengths(10, 100_000)], (0,))
    simulator, _ = run(make_scheduler(10_000, 16), requests)
    assert simulator.num_events < 110
    assert sum(step.num_steps for step in simulator.step_times()) == 100_000


def test_closed_loop_never_has_more_open_than_asked_for() -> None:
    requests = make_requests([Lengths(5, 1 + k % 7) for k in range(40)], (0,) * 40)
    simulator, _ = run(make_scheduler(100, 4), requests, max_concurrency=3)
    times = simulator.request_times()
    ends = [each.finished_s for each in times]
    for each in times:
        open_now = sum(
            1
            for other, end in zip(times, ends, strict=True)
            if end is not None and other.arrived_s <= each.arrived_s < end
        )
        assert open_now <= 3
    assert times[3].arrived_s == sorted(end for end in ends if end is not None)[0]


def test_segments_of_no_steps_are_refused() -> None:
    with pytest.raises(UsageError, match="do nothing"):
        run(make_scheduler(10, 4), scarce_load(), most_steps=0)


# Against theory ----------------------------------------------------------------


def test_single_seat_queue_follows_lindley_and_pollaczek_khinchine() -> None:
    service_ps = 1000
    num_requests = 20_000
    arrivals = poisson_arrivals(num_requests, 0.6 * PS_PER_S / service_ps, seed=1)
    requests = make_requests([Lengths(1, 1)] * num_requests, arrivals)
    simulator, _ = run(make_scheduler(4, 4, seats=1), requests, law=LAW_OF_1000)
    free_ps = 0
    waits_ps = []
    for each, arrival_ps in zip(simulator.request_times(), arrivals, strict=True):
        start_ps = max(free_ps, arrival_ps)
        assert each.first_scheduled_s == start_ps / PS_PER_S
        waits_ps.append(start_ps - arrival_ps)
        free_ps = start_ps + service_ps
    mean_wait_ps = 0.6 * service_ps / (2 * (1 - 0.6))  # M/D/1
    assert sum(waits_ps) / num_requests == pytest.approx(mean_wait_ps, rel=0.05)


# Fast-forward and replay -------------------------------------------------------

LOADS = st.lists(
    st.tuples(st.integers(1, 14), st.integers(1, 25), st.integers(0, 12_000)),
    min_size=1,
    max_size=14,
)


@settings(max_examples=150, deadline=None)
@given(
    load=LOADS,
    num_blocks=st.integers(14, 30),
    block_size=st.integers(1, 4),
    seats=st.integers(1, 6),
    extra_budget=st.integers(0, 12),
    max_concurrency=st.sampled_from([None, 1, 3]),
    most_steps=st.sampled_from([1, 2, 5]),
)
def test_stepped_and_fast_forwarded_runs_are_identical(
    load: list[tuple[int, int, int]],
    num_blocks: int,
    block_size: int,
    seats: int,
    extra_budget: int,
    max_concurrency: int | None,
    most_steps: int,
) -> None:
    arrivals = sorted(arrival for _, _, arrival in load)
    requests = make_requests([Lengths(prompt, output) for prompt, output, _ in load], arrivals)
    results = []
    for steps in (None, most_steps):
        scheduler = make_scheduler(num_blocks, block_size, budget=seats + extra_budget, seats=seats)
        simulator, log = run(scheduler, requests, most_steps=steps, max_concurrency=max_concurrency)
        times = [event.at_ps for event, _ in log]
        assert times == sorted(times)
        results.append((simulator.request_times(), chunks_in(log), scheduler.batch.num_steps))
    assert results[0] == results[1]
    assert len(results[0][0]) == len(requests)


def test_stepped_and_fast_forwarded_runs_are_identical_when_blocks_run_out() -> None:
    fast, fast_log = run(make_scheduler(10, 4), scarce_load())
    stepped, stepped_log = run(make_scheduler(10, 4), scarce_load(), most_steps=1)
    assert sum(each.num_preemptions for each in fast.request_times()) > 0
    assert fast.request_times() == stepped.request_times()
    assert chunks_in(fast_log) == chunks_in(stepped_log)
    assert fast.num_events < stepped.num_events


@pytest.mark.parametrize("num_blocks", [500, 6976])
def test_real_trace_is_identical_stepped_and_fast_forwarded(
    num_blocks: int, recordings: Path
) -> None:
    data = (recordings / "traces/AzureLLMInferenceTrace_conv_2023.csv.gz").read_bytes()
    trace = read_trace(data, limit=150)
    requests = make_requests(trace.lengths, poisson_arrivals(150, 8, seed=2))
    device = next(each for each in NOMINAL_DEVICES if each.name == "a100-80gb-sxm")
    law = deploy_nominal(device, "llama-2-7b").law
    results = []
    for most_steps in (None, 1):
        scheduler = make_scheduler(num_blocks, 16, budget=512, seats=128)
        simulator, _ = run(scheduler, requests, law=law, most_steps=most_steps)
        results.append(simulator.request_times())
    assert results[0] == results[1]
    has_preempted = sum(each.num_preemptions for each in results[0]) > 0
    assert has_preempted == (num_blocks == 500)


def test_log_replayed_into_a_fresh_scheduler_gives_identical_actions() -> None:
    _, log = run(make_scheduler(10, 4), scarce_load())
    stored = msgspec.json.encode([event for event, _ in log])
    events = msgspec.json.decode(stored, type=list[AnyEvent])
    fresh = make_scheduler(10, 4)
    assert [fresh.handle(event) for event in events] == [actions for _, actions in log]
