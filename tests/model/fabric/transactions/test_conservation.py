"""What no simulation may break, whatever crosses whatever."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topoprobe.model.fabric.resource import BYTE_FAIR, OLDEST_FIRST, PER_TRANSACTION, Resource
from topoprobe.model.fabric.transactions.loop import run
from topoprobe.model.fabric.transactions.plan import plan
from topoprobe.model.fabric.transactions.simulation import Simulated, simulate
from topoprobe.model.fabric.transactions.stream import Hop, Stream

NAMES = ("a", "b", "c", "d")
LONG_S = 1.0
"""Longer than all that finite streams here can take."""


@st.composite
def fabrics(draw: st.DrawFn) -> tuple[list[Resource], list[Stream]]:
    """Return resources, and finite streams of writes and reads over any ways among them."""
    resources = [
        Resource(
            id=name,
            kind="pcie",
            capacity_per_s=draw(st.floats(1e9, 100e9)),
            sharing=draw(st.sampled_from([PER_TRANSACTION, BYTE_FAIR, OLDEST_FIRST])),
            latency_s=draw(st.sampled_from([0.0, 20e-9, 500e-9])),
        )
        for name in NAMES
    ]
    ways = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)
    streams = []
    for index in range(draw(st.integers(1, 5))):
        is_read = draw(st.booleans())
        request = tuple(Hop(name, 24.0, 0.0) for name in draw(ways)) if is_read else ()
        streams.append(
            Stream(
                id=f"s{index}",
                packets=tuple(draw(st.lists(st.sampled_from([64.0, 200.0, 256.0]), min_size=1,
                                            max_size=4))),
                payload=tuple(Hop(name, 24.0) for name in draw(ways)),
                request=request,
                max_open=draw(st.one_of(st.none(), st.integers(1, 40))),
                cap_bytes_per_s=draw(st.sampled_from([float("inf"), 2e9])),
                start_s=draw(st.sampled_from([0.0, 1e-6])),
                num_transactions=draw(st.integers(1, 60)),
            )
        )  # fmt: skip
    return resources, streams


def finish(resources: list[Resource], streams: list[Stream]) -> Simulated:
    return simulate(resources, streams, duration_s=LONG_S, warm_up_s=0.0)


@given(fabrics())
@settings(max_examples=60, deadline=None)
def test_all_that_is_issued_arrives_and_no_sooner_than_it_can(
    fabric: tuple[list[Resource], list[Stream]],
) -> None:
    resources, streams = fabric
    known = {resource.id: resource for resource in resources}
    outcomes = finish(resources, streams).outcomes
    for stream in streams:
        got = outcomes[stream.id]
        assert stream.num_transactions is not None
        assert got.num_issued == got.num_finished == stream.num_transactions
        assert got.num_packets == stream.num_transactions * len(stream.packets)
        moved = stream.num_transactions * stream.transaction_bytes
        assert got.rate_bytes_per_s * LONG_S == pytest.approx(moved)
        idle_s = sum(known[hop.resource].latency_s for hop in stream.hops)
        idle_s += sum(
            hop.units(stream.packets[0], first=True) / known[hop.resource].capacity_per_s
            for hop in stream.hops
        )
        assert got.latency_s is not None
        assert got.end_s is not None
        assert got.latency_s >= idle_s * (1 - 1e-4)
        busiest_s = max(
            sum(hop.units(size, first=at == 0) for at, size in enumerate(stream.packets))
            * stream.num_transactions
            / known[hop.resource].capacity_per_s
            for hop in stream.payload
        )
        assert got.end_s >= stream.start_s + busiest_s * (1 - 1e-4)


@given(fabrics())
@settings(max_examples=60, deadline=None)
def test_resources_are_busy_for_exactly_what_was_sent(
    fabric: tuple[list[Resource], list[Stream]],
) -> None:
    resources, streams = fabric
    busy = finish(resources, streams).busy_ratio
    for resource in resources:
        sent = 0.0
        for stream in streams:
            assert stream.num_transactions is not None
            for at, hop in enumerate(stream.hops):
                if hop.resource != resource.id:
                    continue
                sizes = stream.packets if at >= len(stream.request) else (64.0,)
                sent += stream.num_transactions * sum(
                    hop.units(size, first=index == 0) for index, size in enumerate(sizes)
                )
        if sent:
            expected = sent / resource.capacity_per_s / LONG_S
            assert busy[resource.id] == pytest.approx(expected, rel=1e-3)


@given(fabrics(), st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_credits_stay_within_tight_buffers_and_all_come_back(
    fabric: tuple[list[Resource], list[Stream]], num_spare: int
) -> None:
    resources, streams = fabric
    roomy = plan(resources, streams)
    # Room for one transaction of each queue, the least with which nothing can lock up.
    own = [min(size, most) for size, most in zip(roomy.queue_own, roomy.queue_most, strict=True)]
    most = max(roomy.queue_most)
    common = [num_spare * most for _ in roomy.port_common]
    tight = roomy._replace(queue_own=own, port_common=common)
    counts = run(tight, 0, round(LONG_S * 1e15))
    assert all(0 <= peak <= limit for peak, limit in zip(counts.port_peak, common, strict=True))
    for queue, peak in enumerate(counts.queue_peak):
        assert 0 <= peak <= own[queue] + common[roomy.queue_port[queue]]
    assert all(left == 0 for left in counts.queue_left)
    assert counts.stream_finished == [stream.num_transactions for stream in streams]


@given(fabrics(), st.sampled_from([2.0, 5.0]))
@settings(max_examples=30, deadline=None)
def test_faster_everything_is_sooner_by_as_much(
    fabric: tuple[list[Resource], list[Stream]], factor: float
) -> None:
    resources, streams = fabric
    slower = [
        replace(
            resource,
            capacity_per_s=resource.capacity_per_s / factor,
            latency_s=resource.latency_s * factor,
        )
        for resource in resources
    ]
    delayed = [
        replace(
            stream,
            start_s=stream.start_s * factor,
            cap_bytes_per_s=stream.cap_bytes_per_s / factor,
        )
        for stream in streams
    ]
    fast, slow = finish(resources, streams).outcomes, finish(slower, delayed).outcomes
    for name, got in fast.items():
        end_s = slow[name].end_s
        assert got.end_s is not None
        assert end_s is not None
        # Rounding to femtoseconds may swap packets that arrive together.
        assert end_s / factor == pytest.approx(got.end_s, rel=0.05)
