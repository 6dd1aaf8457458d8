from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.serving.blocks import BlockPool
from topoprobe.serving.events import ProtocolError


def test_allocate_fresh_pool_gives_blocks_in_order() -> None:
    assert BlockPool(4).allocate(3) == [0, 1, 2]


def test_release_makes_first_released_block_the_next_one() -> None:
    pool = BlockPool(5)
    table = pool.allocate(3)
    pool.release(table)
    assert pool.allocate(3) == table


def test_upcoming_blocks_are_what_allocate_then_gives() -> None:
    pool = BlockPool(6)
    pool.release(pool.allocate(4)[1:])
    upcoming = pool.upcoming(4)
    assert pool.num_free == 5
    assert pool.allocate(4) == upcoming


def test_allocate_more_than_free_is_refused_and_takes_nothing() -> None:
    pool = BlockPool(2)
    with pytest.raises(ProtocolError, match="3 KV blocks were asked for and 2 are free"):
        pool.allocate(3)
    assert pool.num_free == 2


def test_shared_block_is_free_when_last_holder_lets_go() -> None:
    pool = BlockPool(3)
    table = pool.allocate(2)
    pool.share(table)
    pool.share(table[:1])
    pool.release(table)
    assert pool.num_used == 2
    pool.release(table)
    assert pool.num_used == 1
    pool.release(table[:1])
    assert pool.num_used == 0


def test_release_twice_is_refused() -> None:
    pool = BlockPool(2)
    table = pool.allocate(1)
    pool.release(table)
    with pytest.raises(ProtocolError, match="released twice"):
        pool.release(table)


@given(st.lists(st.tuples(st.sampled_from(["allocate", "share", "release"]), st.integers(0, 7))))
def test_pool_conserves_blocks_and_counts_holders(steps: list[tuple[str, int]]) -> None:
    pool = BlockPool(8)
    holders: dict[int, int] = {}
    peak = 0
    for operation, number in steps:
        held = sorted(holders)
        if operation == "allocate" and number <= pool.num_free:
            taken = pool.allocate(number)
            assert len(set(taken)) == number
            assert not set(taken) & set(held)
            holders.update(dict.fromkeys(taken, 1))
        elif operation == "share" and held:
            pool.share(held[:number])
            for block in held[:number]:
                holders[block] += 1
        elif operation == "release" and held:
            pool.release(held[:number])
            for block in held[:number]:
                holders[block] -= 1
        holders = {block: count for block, count in holders.items() if count}
        peak = max(peak, len(holders))
        assert pool.num_used == len(holders)
        assert sorted(pool.upcoming(pool.num_free)) == sorted(set(range(8)) - set(holders))
    assert pool.peak_used == peak
