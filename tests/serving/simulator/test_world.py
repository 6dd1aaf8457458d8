from __future__ import annotations

from topoprobe.serving.events import Chunk, Outcome, Plan
from topoprobe.serving.simulator.world import World
from topoprobe.serving.workload.request import Lengths, make_requests


def prefill(*request_ids: int, is_last: bool = True) -> Plan:
    chunks = tuple(
        Chunk(request_id=each, num_query=1, num_context=0, blocks=(), is_last=is_last)
        for each in request_ids
    )
    return Plan(chunks=chunks, decodes=(), num_decode_context=0, growths=())


DECODE = Plan(chunks=(), decodes=(0,), num_decode_context=0, growths=())


def world_of(*num_output_tokens: int) -> World:
    world = World()
    for request in make_requests([Lengths(1, each) for each in num_output_tokens],
                                 [0] * len(num_output_tokens)):  # fmt: skip
        world.arrive(request)
    return world


def test_prefill_yields_the_first_token() -> None:
    world = world_of(1, 4)
    assert world.advance(prefill(0, 1, is_last=False), 1) == ()
    assert world.steps_to_end() is None
    assert world.advance(prefill(0, 1), 1) == (Outcome(request_id=0, num_tokens=1, end="stop"),)
    assert world.steps_to_end() == 3


def test_answer_as_long_as_the_limit_ends_by_length() -> None:
    world = world_of(3, 2)
    world.advance(prefill(1), 1)
    world.advance(prefill(0), 1)
    assert world.advance(DECODE, 2) == (Outcome(request_id=0, num_tokens=3, end="length"),)


def test_preempted_request_ends_once_even_if_prefilled_in_the_next_step() -> None:
    world = world_of(5)
    world.advance(prefill(0), 1)
    world.advance(DECODE, 1)
    assert world.steps_to_end() == 3
    world.preempt(0)
    assert world.steps_to_end() is None
    # One token by the prefill, in the step in which a decode would have yielded it: the end is
    # where it was, and two entries of the heap say so.
    assert world.advance(prefill(0), 1) == ()
    assert world.steps_to_end() == 2
    assert [each.request_id for each in world.advance(DECODE, 2)] == [0]


def test_closed_request_ends_no_more() -> None:
    world = world_of(5, 9)
    world.advance(prefill(0, 1), 1)
    world.close(0)
    assert world.steps_to_end() == 8
