# ruff: noqa: E402
"""The real driver: the same scheduler, the same events as the simulator."""

from __future__ import annotations

from itertools import count

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra topoprobe[torch])")

from topoprobe.model.cost import StepFeatures, StepLaw
from topoprobe.records.calibration import ModelShape
from topoprobe.serving.events import Arrived, Cancelled, Close, Interrupt, Preempt, SegmentDone
from topoprobe.serving.policies.registry import build_policies, parse_choice
from topoprobe.serving.runner.clock import LogicalClock, WallClock
from topoprobe.serving.runner.driver import Driver
from topoprobe.serving.runner.executor import Executor, Generation
from topoprobe.serving.runner.run import forced_generation
from topoprobe.serving.runner.worker import open_worker
from topoprobe.serving.scheduler import Scheduler
from topoprobe.serving.simulator.cost import StepLawCost
from topoprobe.serving.simulator.simulator import Simulator
from topoprobe.serving.workload.load import Load, synthetic_load
from topoprobe.serving.workload.request import Request
from topoprobe.serving.workload.synthetic import TokenRange

SHAPE = ModelShape(
    name="test",
    num_layers=2,
    hidden_size=32,
    intermediate_size=48,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    vocab_size=61,
    dtype="fp32",
    dtype_bytes=4,
)
LAW = StepLaw(
    fixed_ps=3_000_001,
    per_sequence_ps=100_003,
    per_token_ps=70_001,
    per_pair_ps=11,
    stream_ps=900_007,
    per_context_ps=503,
)
PLENTY, SCARCE = 200, 20
PROMPTS, OUTPUTS = TokenRange(3, 90), TokenRange(1, 40)


def closed_loop(num_requests: int = 14) -> Load:
    return synthetic_load(num_requests, seed=1, max_concurrency=5, prompt=PROMPTS, output=OUTPUTS)


def poisson() -> Load:
    # About ten requests in the time that one of them takes.
    return synthetic_load(14, seed=2, rate_per_s=1e5, prompt=PROMPTS, output=OUTPUTS)


def sparse() -> Load:
    return synthetic_load(6, seed=3, rate_per_s=2e3, prompt=PROMPTS, output=OUTPUTS)


def scheduler(num_blocks: int) -> Scheduler:
    policies = build_policies([parse_choice("batching=chunked:budget=32,seats=8")])
    return Scheduler(num_blocks=num_blocks, block_size=16, policies=policies)


@pytest.fixture(scope="module")
def executor() -> Executor:
    return open_worker(SHAPE, num_blocks=PLENTY, max_positions=256)


class Recorder:
    """Remembers the generations that it makes."""

    def __init__(self) -> None:
        self.made: dict[int, Generation] = {}

    def __call__(self, request: Request) -> Generation:
        self.made[request.request_id] = forced_generation(SHAPE)(request)
        return self.made[request.request_id]

    def outputs(self) -> dict[int, list[int]]:
        return {request_id: each.output for request_id, each in self.made.items()}


def drive(executor, load, clock, num_blocks=PLENTY, should_stop=lambda: False):
    log, recorder = [], Recorder()
    driver = Driver(
        scheduler(num_blocks),
        executor,
        load.clients(),
        clock,
        generation_of=recorder,
        should_stop=should_stop,
        log=log,
    )
    driver.run()
    return driver, log, recorder


def actions_of(log):
    return [action for _, actions in log for action in actions]


@pytest.mark.parametrize("load", [closed_loop, poisson, sparse])
@pytest.mark.parametrize("num_blocks", [PLENTY, SCARCE])
def test_logical_clock_run_equals_the_simulator(executor, load, num_blocks):
    driver, log, _ = drive(executor, load(), LogicalClock(LAW), num_blocks)
    simulated: list = []
    simulator = Simulator(scheduler(num_blocks), StepLawCost(LAW), load().clients(), log=simulated)
    simulator.run()
    assert log == simulated
    assert driver.request_times() == simulator.request_times()
    assert driver.step_times() == simulator.step_times()


def test_loads_of_the_comparison_interrupt_and_preempt(executor):
    _, log, _ = drive(executor, poisson(), LogicalClock(LAW), SCARCE)
    kinds = {type(action) for action in actions_of(log)}
    assert {Interrupt, Preempt} <= kinds


@pytest.mark.parametrize("load", [closed_loop, poisson])
def test_wall_clock_log_replayed_into_a_fresh_scheduler_gives_the_same_actions(executor, load):
    _, log, _ = drive(executor, load(), WallClock(), SCARCE)
    fresh = scheduler(SCARCE)
    assert [(event, fresh.handle(event)) for event, _ in log] == log


def test_preemption_does_not_change_a_token(executor):
    _, _, plenty = drive(executor, poisson(), LogicalClock(LAW), PLENTY)
    _, log, scarce = drive(executor, poisson(), LogicalClock(LAW), SCARCE)
    assert any(isinstance(action, Preempt) for action in actions_of(log))
    assert scarce.outputs() == plenty.outputs()


def test_served_tokens_match_dense_greedy(executor, dense):
    _, _, recorder = drive(executor, poisson(), LogicalClock(LAW), SCARCE)
    weights = executor.model.weights
    for generation in list(recorder.made.values())[:4]:
        prompt = generation.tokens[: generation.num_prompt_tokens]
        expected = dense.dense_greedy(SHAPE, weights, prompt, generation.num_output_tokens)
        assert generation.output == expected


def test_every_request_is_served_at_its_length(executor):
    load = poisson()
    driver, log, _ = drive(executor, load, WallClock())
    times = driver.request_times()
    assert [each.num_output_tokens for each in times] == [
        request.num_output_tokens for request in load.requests
    ]
    assert all(each.arrived_s <= each.first_token_s <= each.finished_s for each in times)
    closed = [action.request_id for action in actions_of(log) if isinstance(action, Close)]
    assert sorted(closed) == list(range(len(load.requests)))


def test_stopped_run_closes_every_request_that_it_took_once(executor):
    asked = count()
    driver, log, _ = drive(
        executor, closed_loop(), LogicalClock(LAW), should_stop=lambda: next(asked) > 25
    )
    assert driver.is_stopped
    arrived = [event.request.request_id for event, _ in log if isinstance(event, Arrived)]
    closed = [action for action in actions_of(log) if isinstance(action, Close)]
    assert sorted(action.request_id for action in closed) == arrived
    assert len(arrived) < 14
    assert {action.status for action in closed} == {"finished", "cancelled"}
    assert any(isinstance(event, Cancelled) for event, _ in log)
    assert isinstance(log[-1][0], SegmentDone)


def test_run_without_a_stop_is_not_stopped(executor):
    driver, _, _ = drive(executor, closed_loop(2), LogicalClock(LAW))
    assert not driver.is_stopped


def test_wall_clock_counts_from_its_making_and_naps():
    readings = iter([5_000, 5_000, 2_000_005_000])
    slept = []
    clock = WallClock(read_ns=lambda: next(readings), sleep=slept.append)
    clock.wait_until(3 * 10**10)
    assert slept == [pytest.approx(0.03)]
    assert clock.now_ps() == 2 * 10**12


def test_wall_clock_sleeps_a_nap_at_a_time():
    slept = []
    clock = WallClock(read_ns=lambda: 0, sleep=slept.append)
    clock.wait_until(10**13)
    assert slept == [0.1]


def test_wall_clock_does_not_sleep_for_what_is_past():
    slept = []
    clock = WallClock(read_ns=iter([0, 10**9]).__next__, sleep=slept.append)
    clock.wait_until(10**11)
    assert slept == []


def test_logical_clock_moves_by_the_law():
    clock = LogicalClock(LAW)
    features = StepFeatures(2, 5, 15, 40)
    assert clock.end_step(features) == LAW.step_ps(features)
    clock.wait_until(1)
    assert clock.now_ps() == LAW.step_ps(features)
