from __future__ import annotations

from collections import Counter, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.serving.events import (
    AnyAction,
    AnyEvent,
    Arrived,
    Cancelled,
    Close,
    Interrupt,
    Outcome,
    Plan,
    Preempt,
    ProtocolError,
    RequestSpec,
    RunSegment,
    SegmentDone,
)
from topoprobe.serving.policies.registry import build_policies, parse_choice
from topoprobe.serving.scheduler import Scheduler


def make_scheduler(
    num_blocks: int = 100,
    block_size: int = 4,
    *,
    budget: int = 16,
    seats: int = 8,
    reserve: float = 0,
) -> Scheduler:
    choice = parse_choice(f"batching=chunked:budget={budget},seats={seats},reserve={reserve}")
    return Scheduler(
        num_blocks=num_blocks, block_size=block_size, policies=build_policies([choice])
    )


def arrived(
    request_id: int, num_prompt_tokens: int, max_tokens: int = 10, at_ps: int = 0
) -> Arrived:
    return Arrived(
        at_ps=at_ps,
        request=RequestSpec(
            request_id=request_id, num_prompt_tokens=num_prompt_tokens, max_tokens=max_tokens
        ),
    )


def segment_in(actions: tuple[AnyAction, ...]) -> RunSegment:
    (segment,) = [action for action in actions if isinstance(action, RunSegment)]
    return segment


def done(segment: RunSegment, *ended: int, num_steps: int | None = None) -> SegmentDone:
    return SegmentDone(
        at_ps=0,
        segment_id=segment.segment_id,
        num_steps=segment.max_steps if num_steps is None else num_steps,
        outcomes=tuple(Outcome(request_id=each, num_tokens=1, end="stop") for each in ended),
    )


def shapes(plan: Plan) -> tuple[list[tuple[int, int, int, bool]], tuple[int, ...]]:
    chunks = [(c.request_id, c.num_query, c.num_context, c.is_last) for c in plan.chunks]
    return chunks, plan.decodes


# Chunked prefill ---------------------------------------------------------------


def test_long_prompt_is_cut_to_the_budget() -> None:
    scheduler = make_scheduler(budget=16)
    first = segment_in(scheduler.handle(arrived(0, 40)))
    assert shapes(first.plan) == ([(0, 16, 0, False)], ())
    second = segment_in(scheduler.handle(done(first)))
    assert shapes(second.plan) == ([(0, 16, 16, False)], ())
    third = segment_in(scheduler.handle(done(second)))
    assert shapes(third.plan) == ([(0, 8, 32, True)], ())
    assert third.plan.chunks[0].blocks == tuple(range(10))


def test_decodes_come_first_then_prompts_begun_then_new_ones() -> None:
    scheduler = make_scheduler(budget=16)
    first = segment_in(scheduler.handle(arrived(0, 3)))
    scheduler.handle(arrived(1, 20))
    scheduler.handle(arrived(2, 20))
    second = segment_in(scheduler.handle(done(first)))
    assert shapes(second.plan) == ([(1, 15, 0, False)], (0,))
    third = segment_in(scheduler.handle(done(second)))
    assert shapes(third.plan) == ([(1, 5, 15, True), (2, 10, 0, False)], (0,))
    assert third.plan.num_decode_context == 4


def test_request_beyond_the_seats_waits_until_one_is_free() -> None:
    scheduler = make_scheduler(seats=1)
    first = segment_in(scheduler.handle(arrived(0, 3)))
    assert scheduler.handle(arrived(1, 3)) == ()
    second = segment_in(scheduler.handle(done(first)))
    assert shapes(second.plan) == ([], (0,))
    third = segment_in(scheduler.handle(done(second, 0, num_steps=2)))
    assert shapes(third.plan) == ([(1, 3, 0, True)], ())


def test_admission_leaves_the_reserve_free_unless_nobody_runs() -> None:
    scheduler = make_scheduler(num_blocks=10, reserve=0.5)
    first = segment_in(scheduler.handle(arrived(0, 24, max_tokens=2)))
    assert first.plan.chunks[0].blocks == (0, 1, 2, 3, 4, 5)
    scheduler.handle(arrived(1, 4, max_tokens=2))
    second = segment_in(scheduler.handle(done(first)))
    assert [chunk.request_id for chunk in second.plan.chunks] == [0]


# Segments ----------------------------------------------------------------------


def test_decode_segment_is_long_and_names_blocks_in_the_order_of_need() -> None:
    scheduler = make_scheduler(block_size=4)
    first = segment_in(scheduler.handle(arrived(0, 6)))
    scheduler.handle(arrived(1, 4))
    second = segment_in(scheduler.handle(done(first)))
    third = segment_in(scheduler.handle(done(second)))
    # 0 has 7 tokens in 2 blocks, 1 has 4 tokens in 1: 1 needs a block now, 0 in one step.
    assert third.plan.growths[:4] == ((1, 3), (0, 4), (1, 5), (0, 6))
    assert third.max_steps > 100


def test_blocks_not_reached_are_promised_again() -> None:
    scheduler = make_scheduler(block_size=4)
    first = segment_in(scheduler.handle(arrived(0, 4)))
    second = segment_in(scheduler.handle(done(first)))
    third = segment_in(scheduler.handle(done(second, num_steps=5)))
    assert second.plan.growths[:3] == ((0, 1), (0, 2), (0, 3))
    assert third.plan.growths[:2] == ((0, 3), (0, 4))


def test_arrival_that_finds_room_interrupts_once() -> None:
    scheduler = make_scheduler()
    first = segment_in(scheduler.handle(arrived(0, 4)))
    second = segment_in(scheduler.handle(done(first)))
    assert scheduler.handle(arrived(1, 4)) == (Interrupt(segment_id=second.segment_id),)
    assert scheduler.handle(arrived(2, 4)) == ()
    third = segment_in(scheduler.handle(done(second, num_steps=1)))
    assert [chunk.request_id for chunk in third.plan.chunks] == [1, 2]


def test_arrival_that_finds_no_room_does_not_interrupt() -> None:
    scheduler = make_scheduler(num_blocks=4)
    first = segment_in(scheduler.handle(arrived(0, 12, max_tokens=2)))
    scheduler.handle(done(first))
    assert scheduler.handle(arrived(1, 8, max_tokens=2)) == ()


def test_arrival_behind_others_does_not_interrupt() -> None:
    scheduler = make_scheduler(num_blocks=4)
    first = segment_in(scheduler.handle(arrived(0, 8, max_tokens=2)))
    scheduler.handle(done(first))
    scheduler.handle(arrived(1, 12, max_tokens=2))
    assert scheduler.handle(arrived(2, 1, max_tokens=2)) == ()


# Preemption --------------------------------------------------------------------


def test_newest_gives_way_when_blocks_run_out_and_is_prefilled_with_its_output() -> None:
    scheduler = make_scheduler(num_blocks=6, block_size=4)
    first = segment_in(scheduler.handle(arrived(0, 8, max_tokens=16)))
    scheduler.handle(arrived(1, 8, max_tokens=16))
    second = segment_in(scheduler.handle(done(first)))
    third = segment_in(scheduler.handle(done(second)))
    assert third.max_steps == 3  # 0 has 9 tokens in 3 blocks, 1 has 8 in 2: one block is left
    actions = scheduler.handle(done(third))
    assert actions[0] == Preempt(request_id=1)
    fourth = segment_in(actions)
    assert shapes(fourth.plan) == ([], (0,))
    scheduler.handle(arrived(2, 1))
    fifth = segment_in(scheduler.handle(done(fourth, 0, num_steps=1)))
    # 8 prompt tokens, one from the prefill and three decoded: 12 are computed again, and before
    # anything of those who never ran.
    assert shapes(fifth.plan) == ([(1, 12, 0, True), (2, 1, 0, True)], ())


def test_request_that_outgrows_its_limit_is_the_drivers_fault() -> None:
    scheduler = make_scheduler(num_blocks=2, block_size=4)
    segment = segment_in(scheduler.handle(arrived(0, 4, max_tokens=5)))
    segment = segment_in(scheduler.handle(done(segment)))
    with pytest.raises(ProtocolError, match="outgrew"):
        scheduler.handle(done(segment))


# Closing -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_prompt_tokens", "max_tokens", "reason"),
    [(0, 1, "0 prompt tokens"), (1, 0, "may output 0"), (9, 8, "KV pool holds 15")],
)
def test_request_that_can_never_run_is_rejected(
    num_prompt_tokens: int, max_tokens: int, reason: str
) -> None:
    scheduler = make_scheduler(num_blocks=5, block_size=3)
    (action,) = scheduler.handle(arrived(0, num_prompt_tokens, max_tokens))
    assert isinstance(action, Close)
    assert action.status == "rejected"
    assert reason in action.reason


def test_request_that_just_fits_is_taken() -> None:
    scheduler = make_scheduler(num_blocks=5, block_size=3)
    segment_in(scheduler.handle(arrived(0, 9, 7)))


def test_cancelled_waiting_request_is_closed_at_once() -> None:
    scheduler = make_scheduler(seats=1)
    scheduler.handle(arrived(0, 4))
    scheduler.handle(arrived(1, 4))
    (action,) = scheduler.handle(Cancelled(at_ps=0, request_id=1))
    assert action == Close(request_id=1, status="cancelled", reason="the client went away")


def test_cancelled_running_request_is_closed_at_the_next_boundary() -> None:
    scheduler = make_scheduler()
    first = segment_in(scheduler.handle(arrived(0, 4)))
    second = segment_in(scheduler.handle(done(first)))
    assert scheduler.handle(Cancelled(at_ps=0, request_id=0)) == (
        Interrupt(segment_id=second.segment_id),
    )
    (action,) = scheduler.handle(done(second, num_steps=1))
    assert isinstance(action, Close)
    assert action.status == "cancelled"
    assert scheduler.batch.pool.num_used == 0


def test_cancelled_request_that_ends_meanwhile_is_finished() -> None:
    scheduler = make_scheduler()
    first = segment_in(scheduler.handle(arrived(0, 4)))
    scheduler.handle(Cancelled(at_ps=0, request_id=0))
    (action,) = scheduler.handle(done(first, 0))
    assert isinstance(action, Close)
    assert action.status == "finished"


def test_late_cancellation_is_ignored() -> None:
    scheduler = make_scheduler()
    assert scheduler.handle(Cancelled(at_ps=0, request_id=7)) == ()


def test_worker_failure_closes_who_was_on_it() -> None:
    scheduler = make_scheduler(seats=1)
    first = segment_in(scheduler.handle(arrived(0, 4)))
    scheduler.handle(arrived(1, 4))
    failure = SegmentDone(at_ps=0, segment_id=first.segment_id, num_steps=0, ok=False)
    close, segment = scheduler.handle(failure)
    assert close == Close(request_id=0, status="failed", reason="the worker failed")
    assert isinstance(segment, RunSegment)
    assert segment.plan.chunks[0].request_id == 1


# What cannot have happened -----------------------------------------------------


def test_events_that_cannot_be_are_refused() -> None:
    scheduler = make_scheduler()
    first = segment_in(scheduler.handle(arrived(0, 4, at_ps=5)))
    for event, message in (
        (arrived(1, 4, at_ps=4), "in the order of time"),
        (arrived(0, 4, at_ps=5), "arrived twice"),
        (SegmentDone(at_ps=5, segment_id=9, num_steps=1), "segment 0 is in flight"),
        (SegmentDone(at_ps=5, segment_id=0, num_steps=2), "it was to take 1 to 1"),
        (SegmentDone(at_ps=5, segment_id=0, num_steps=0), "it was to take 1 to 1"),
    ):
        with pytest.raises(ProtocolError, match=message):
            scheduler.handle(event)
    stranger = done(first, 3)
    with pytest.raises(ProtocolError, match="only those of its plan"):
        scheduler.handle(
            SegmentDone(at_ps=5, segment_id=0, num_steps=1, outcomes=stranger.outcomes)
        )


# Properties --------------------------------------------------------------------


class NaiveDriver:
    """A driver that counts token by token what the scheduler keeps in closed form.

    It obeys a scheduler, lets `choose` decide what the world does, and checks at every event that
    the plan follows the rules, that nobody holds another's block and none is lost.
    """

    def __init__(self, scheduler: Scheduler, budget: int, seats: int) -> None:
        self.scheduler = scheduler
        self.budget = budget
        self.seats = seats
        self.specs: dict[int, RequestSpec] = {}
        self.num_output: Counter[int] = Counter()
        self.num_cached: Counter[int] = Counter()
        self.tables: dict[int, list[int]] = {}
        self.closed: Counter[int] = Counter()
        self.segment: RunSegment | None = None
        self.now_ps = 0

    def tell(self, event: AnyEvent) -> None:
        if isinstance(event, Arrived):
            self.specs[event.request.request_id] = event.request
        for action in self.scheduler.handle(event):
            if isinstance(action, RunSegment):
                assert self.segment is None
                self.segment = action
                self.check_plan(action.plan)
            elif isinstance(action, Close):
                self.closed[action.request_id] += 1
                assert self.closed[action.request_id] == 1
                self.tables.pop(action.request_id, None)
            elif isinstance(action, Preempt):
                del self.tables[action.request_id]
                self.num_cached[action.request_id] = 0
            else:
                assert self.segment is not None
                assert action.segment_id == self.segment.segment_id
        self.check_blocks()

    def check_plan(self, plan: Plan) -> None:
        size = self.scheduler.batch.block_size
        assert len(plan.decodes) + sum(chunk.num_query for chunk in plan.chunks) <= self.budget
        assert plan.num_decode_context == sum(self.num_cached[each] for each in plan.decodes)
        members = [*plan.decodes, *(chunk.request_id for chunk in plan.chunks)]
        assert len(set(members)) == len(members) <= self.seats
        assert not any(self.closed[each] for each in members)
        for chunk in plan.chunks:
            each = chunk.request_id
            known = self.specs[each].num_prompt_tokens + self.num_output[each]
            assert chunk.num_context == self.num_cached[each]
            assert chunk.num_query >= 1
            assert chunk.is_last == (chunk.num_context + chunk.num_query == known)
            assert len(chunk.blocks) == -(-known // size)
            self.tables[each] = list(chunk.blocks)
        for each in plan.decodes:
            known = self.specs[each].num_prompt_tokens + self.num_output[each]
            assert self.num_cached[each] == known - 1

    def check_blocks(self) -> None:
        running = self.scheduler.batch.running
        held = [block for request in running.values() for block in request.blocks]
        pool = self.scheduler.batch.pool
        assert len(held) == len(set(held)) == pool.num_used
        assert sorted(held + pool.upcoming(pool.num_free)) == list(range(pool.num_blocks))
        for each, table in self.tables.items():
            assert running[each].blocks == table

    def run_segment(self, num_steps: int, stops: set[int]) -> None:
        """Do up to `num_steps` steps; requests in `stops` end as soon as they can."""
        segment = self.segment
        assert segment is not None
        growths = deque(segment.plan.growths)
        size = self.scheduler.batch.block_size
        ended: list[int] = []
        steps_done = 0
        while not ended and steps_done < min(num_steps, segment.max_steps):
            needy = [
                each
                for each in segment.plan.decodes
                if self.num_cached[each] == len(self.tables[each]) * size
            ]
            for _ in needy:
                each, block = growths.popleft()
                assert each in needy
                self.tables[each].append(block)
            grown = list(segment.plan.decodes)
            for each in segment.plan.decodes:
                self.num_cached[each] += 1
            for chunk in segment.plan.chunks:
                self.num_cached[chunk.request_id] += chunk.num_query
                if chunk.is_last:
                    grown.append(chunk.request_id)
            for each in grown:
                self.num_output[each] += 1
                if each in stops or self.num_output[each] == self.specs[each].max_tokens:
                    ended.append(each)
            steps_done += 1
        self.segment = None
        self.tell(
            SegmentDone(
                at_ps=self.now_ps,
                segment_id=segment.segment_id,
                num_steps=steps_done,
                outcomes=tuple(
                    Outcome(request_id=each, num_tokens=self.num_output[each], end="stop")
                    for each in ended
                ),
            )
        )

    def fail_segment(self) -> None:
        segment = self.segment
        assert segment is not None
        self.segment = None
        self.tell(
            SegmentDone(at_ps=self.now_ps, segment_id=segment.segment_id, num_steps=0, ok=False)
        )


DECK = ("arrive",) * 8 + ("run",) * 8 + ("cancel",) * 2 + ("fail",)
OPERATIONS = st.lists(
    st.tuples(st.integers(0, len(DECK) - 1), st.integers(0, 12), st.integers(1, 20)),
    min_size=30,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(
    operations=OPERATIONS,
    num_blocks=st.integers(12, 24),
    block_size=st.integers(1, 3),
    seats=st.integers(1, 5),
    extra_budget=st.integers(0, 12),
    reserve=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_every_request_is_closed_once_and_blocks_are_conserved(
    operations: list[tuple[int, int, int]],
    num_blocks: int,
    block_size: int,
    seats: int,
    extra_budget: int,
    reserve: float,
) -> None:
    budget = seats + extra_budget
    scheduler = make_scheduler(num_blocks, block_size, budget=budget, seats=seats, reserve=reserve)
    driver = NaiveDriver(scheduler, budget, seats)
    num_arrived = 0
    for card, first, second in operations:
        driver.now_ps += 1
        operation = DECK[card]
        if operation == "arrive":
            driver.tell(arrived(num_arrived, first, second, driver.now_ps))
            num_arrived += 1
        elif operation == "cancel":
            driver.tell(Cancelled(at_ps=driver.now_ps, request_id=first + second // 2))
        elif driver.segment is not None and operation == "run":
            driver.run_segment(first + 1, {second})
        elif driver.segment is not None:
            driver.fail_segment()
    while driver.segment is not None:
        driver.run_segment(1 << 30, set())
    assert driver.closed == Counter(range(num_arrived))
    assert scheduler.batch.pool.num_used == 0
