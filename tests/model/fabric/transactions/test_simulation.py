"""Shares and latencies of streams, packet by packet, against what arbiters must give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from topoprobe.errors import ModelError
from topoprobe.measure.fairness import jain_ratio
from topoprobe.model.fabric.demand import Demand, Use
from topoprobe.model.fabric.packets import Link
from topoprobe.model.fabric.resource import (
    BYTE_FAIR,
    OLDEST_FIRST,
    PER_TRANSACTION,
    Resource,
    Sharing,
)
from topoprobe.model.fabric.transactions.plan import PortSetting
from topoprobe.model.fabric.transactions.simulation import (
    settled_transactions,
    simulate,
    simulate_transactions,
)
from topoprobe.model.fabric.transactions.stream import Hop, Stream

GEN5 = Link(5, 16)
NEAR = 0.02


def wire(name: str, sharing: Sharing = PER_TRANSACTION, latency_s: float = 100e-9) -> Resource:
    return Resource(name, "pcie", GEN5.wire_bytes_per_s, sharing, latency_s=latency_s)


def writer(
    name: str, size: int, way: Sequence[str], outstanding_bytes: float = float("inf")
) -> Demand:
    uses = tuple(Use(each, GEN5.per_byte_written(size)) for each in way)
    return Demand(name, uses, txn_bytes=size, outstanding_bytes=outstanding_bytes)


def rates(
    resources: Sequence[Resource], demands: Sequence[Demand], duration_s: float = 40e-6
) -> list[float]:
    outcomes = simulate_transactions(resources, demands, duration_s=duration_s)
    return [outcomes[each.id].rate_bytes_per_s for each in demands]


@pytest.mark.parametrize(("small", "factor", "jain"), [(128, 2.0, 0.90), (64, 4.0, 0.735)])
def test_shares_per_transaction_follow_the_size(small: int, factor: float, jain: float) -> None:
    big, little = rates([wire("up")], [writer("a", 256, ["up"]), writer("b", small, ["up"])])
    assert big / little == pytest.approx(factor, rel=NEAR)
    assert jain_ratio([big, little]) == pytest.approx(jain, rel=0.01)


@pytest.mark.parametrize(("small", "factor"), [(128, 1.09), (64, 1.26)])
def test_shares_by_bytes_differ_by_headers_only(small: int, factor: float) -> None:
    big, little = rates(
        [wire("up", BYTE_FAIR)], [writer("a", 256, ["up"]), writer("b", small, ["up"])]
    )
    assert big / little == pytest.approx(factor, rel=NEAR)


@pytest.mark.parametrize("sharing", [PER_TRANSACTION, BYTE_FAIR])
def test_cascade_shares_one_port_among_all_behind_it(sharing: Sharing) -> None:
    resources = [wire(name, sharing) for name in ("root", "switch", "d0", "d1", "d2", "d3")]
    direct = writer("g0", 256, ["d0", "root"])
    behind = [writer(f"g{i}", 256, [f"d{i}", "switch", "root"]) for i in (1, 2, 3)]
    got = rates(resources, [direct, *behind])
    assert [rate / 1e9 for rate in got] == pytest.approx([27.4, 9.1, 9.1, 9.1], rel=NEAR)


def test_oldest_first_follows_what_is_queued() -> None:
    depths = (64 * 1024, 16 * 1024, 16 * 1024)
    flows = [
        writer(f"f{i}", size, ["up"], depth)
        for i, (size, depth) in enumerate(zip((256, 256, 128), depths, strict=True))
    ]
    got = rates([wire("up", OLDEST_FIRST, 0.0)], flows, duration_s=400e-6)
    assert got[0] / got[1] == pytest.approx(4.0, rel=NEAR)
    assert got[0] / got[2] == pytest.approx(4.0, rel=NEAR)


def test_shares_follow_weights() -> None:
    flows = [writer("a", 256, ["up"]), writer("b", 256, ["up"])]
    got = simulate_transactions(
        [wire("up")], flows, duration_s=40e-6, settings=[PortSetting("up", "a", weight=3.0)]
    )
    ratio = got["a"].rate_bytes_per_s / got["b"].rate_bytes_per_s
    assert ratio == pytest.approx(3.0, rel=NEAR)


def test_share_between_per_transaction_and_bytes_is_the_power_in_between() -> None:
    half = Sharing(0.5)
    big, little = rates([wire("up", half)], [writer("a", 256, ["up"]), writer("b", 64, ["up"])])
    assert (big / 256 * 280) / (little / 64 * 88) == pytest.approx((280 / 88) ** 0.5, rel=NEAR)


def test_writes_alone_reach_the_closed_form() -> None:
    (rate,) = rates([wire("up")], [writer("a", 128, ["up"])])
    assert rate == pytest.approx(GEN5.write_bytes_per_s(128), rel=0.005)


def reader(name: str, max_open: int | None) -> Stream:
    return Stream(
        id=name,
        packets=(256.0, 256.0),
        request=(Hop("up", per_packet=24.0, per_byte=0.0),),
        payload=(Hop("down", per_packet=20.0),),
        max_open=max_open,
    )


def test_reads_with_many_tags_reach_the_closed_form() -> None:
    got = simulate([wire("up"), wire("down")], [reader("r", 256)], duration_s=40e-6)
    expected = GEN5.read_bytes_per_s(512)
    assert got.outcomes["r"].rate_bytes_per_s == pytest.approx(expected, rel=0.005)
    assert got.outcomes["r"].bottleneck == "down"


def test_reads_with_few_tags_are_limited_by_the_round_trip() -> None:
    slow = [wire("up", latency_s=400e-9), wire("down", latency_s=600e-9)]
    got = simulate(slow, [reader("r", 8)], duration_s=60e-6).outcomes["r"]
    assert got.latency_s == pytest.approx(1e-6, rel=0.05)
    expected = GEN5.read_bytes_per_s(512, outstanding_bytes=8 * 512, round_trip_s=got.latency_s)
    assert got.rate_bytes_per_s == pytest.approx(expected, rel=NEAR)
    assert got.bottleneck is None


def test_reads_and_writes_share_the_way_out() -> None:
    write = Stream("w", (256.0,), (Hop("up", per_packet=24.0),))
    got = simulate([wire("up"), wire("down")], [write, reader("r", 256)], duration_s=40e-6)
    taken = got.outcomes["w"].rate_bytes_per_s * 280 / 256
    taken += got.outcomes["r"].rate_bytes_per_s * 24 / 512
    assert taken == pytest.approx(GEN5.wire_bytes_per_s, rel=0.005)


def test_unlike_destinations_do_not_block_each_other() -> None:
    resources = [wire("shared"), wire("fast"), Resource("slow", "pcie", 1e9)]
    flows = [writer("a", 256, ["shared", "slow"]), writer("b", 256, ["shared", "fast"])]
    slow, fast = rates(resources, flows, duration_s=100e-6)
    assert slow == pytest.approx(1e9 * 256 / 280, rel=NEAR)
    assert slow + fast == pytest.approx(GEN5.write_bytes_per_s(256), rel=NEAR)


def test_streams_without_credit_keep_their_shares_beside_one_that_flows() -> None:
    resources = [wire("shared"), Resource("slow", "pcie", 1e9), wire("other")]
    flows = [writer(f"f{at}", size, ["shared", "slow"]) for at, size in enumerate((256, 64, 256))]
    flows.append(writer("passing", 256, ["shared", "other"]))
    got = rates(resources, flows, duration_s=400e-6)
    total = 1e9 / (280 + 88 + 280)
    expected = [256 * total, 64 * total, 256 * total]
    assert got[:3] == pytest.approx(expected, rel=NEAR)


def test_port_that_also_sends_elsewhere_gets_its_share_of_scarce_credit() -> None:
    resources = [wire("leaf"), wire("shared"), Resource("slow", "pcie", 1e9)]
    flows = [
        writer("alone", 256, ["shared", "slow"]),
        writer("beside", 256, ["leaf", "shared", "slow"]),
        writer("passing", 256, ["leaf", "shared"]),
    ]
    alone, beside, passing = rates(resources, flows, duration_s=400e-6)
    assert alone == pytest.approx(beside, rel=NEAR)
    assert alone + beside + passing == pytest.approx(GEN5.write_bytes_per_s(256), rel=NEAR)


def test_bottleneck_is_where_packets_pile_up_and_not_before() -> None:
    resources = [wire("shared"), Resource("slow", "pcie", 1e9)]
    flows = [writer("a", 256, ["shared", "slow"]), writer("b", 256, ["shared"])]
    got = simulate_transactions(resources, flows, duration_s=100e-6)
    assert got["a"].bottleneck == "slow"
    assert got["b"].bottleneck == "shared"


def test_two_ways_that_are_held_up_leave_room_for_a_third() -> None:
    names = ("slow", "slower")
    resources = [wire("first"), wire("shared"), *(Resource(each, "pcie", 1e9) for each in names)]
    way = ["first", "shared"]
    flows = [writer("a", 256, [*way, "slow"]), writer("b", 256, [*way, "slower"])]
    got = rates(resources, [*flows, writer("c", 256, way)], duration_s=400e-6)
    assert got[0] == pytest.approx(1e9 * 256 / 280, rel=NEAR)
    assert sum(got) == pytest.approx(GEN5.write_bytes_per_s(256), rel=NEAR)


def test_streams_that_part_later_share_by_packets_where_they_meet() -> None:
    resources = [wire(name) for name in ("first", "a", "b")]
    resources.append(Resource("narrow", "pcie", 10e9))
    flows = [
        writer("f", 256, ["first", "narrow", "a"]),
        writer("g", 64, ["first", "narrow", "b"]),
    ]
    big, little = rates(resources, flows, duration_s=400e-6)
    assert big / little == pytest.approx(4.0, rel=NEAR)


def test_small_buffer_throttles_a_long_link() -> None:
    resources = [wire("first", latency_s=1e-6), wire("second")]
    got = simulate_transactions(
        resources,
        [writer("a", 256, ["first", "second"])],
        duration_s=100e-6,
        settings=[PortSetting("second", "first", buffer_bytes=8192)],
    )
    # 32 packets per loop: out to the buffer, through the next link, and the credit back.
    packet_s = 280 / GEN5.wire_bytes_per_s
    assert got["a"].rate_bytes_per_s == pytest.approx(8192 / (2e-6 + 2 * packet_s), rel=NEAR)


def test_engine_that_counts_transactions_feeds_a_link() -> None:
    engine = Resource("engine", "engine", 10e6)
    hops = (Hop("engine", 0.0, 0.0, per_transaction=1.0), Hop("up", 24.0))
    got = simulate([engine, wire("up")], [Stream("w", (256.0, 256.0), hops)], duration_s=100e-6)
    assert got.outcomes["w"].rate_bytes_per_s == pytest.approx(512 * 10e6, rel=0.01)
    assert got.outcomes["w"].bottleneck == "engine"


def test_cap_holds() -> None:
    flow = Demand("a", (Use("up", 1.0),), txn_bytes=256, cap_bytes_per_s=3e9)
    got = simulate_transactions([wire("up")], [flow], duration_s=100e-6)
    assert got["a"].rate_bytes_per_s == pytest.approx(3e9, rel=0.01)
    assert got["a"].bottleneck is None


def test_cap_is_not_passed_by_a_packet_more_in_the_window() -> None:
    flow = Demand("a", (Use("up", 1.0),), txn_bytes=256, cap_bytes_per_s=1e9)
    got = simulate_transactions([wire("up")], [flow], duration_s=40e-6)
    assert got["a"].rate_bytes_per_s == 1e9
    assert got["a"].bottleneck is None


def test_turns_that_a_slow_link_cannot_use_go_to_others() -> None:
    memory = Resource("memory", "memory", 241e9, BYTE_FAIR, latency_s=346e-9)
    resources = [memory, Resource("between", "inter_socket", 101.7e9, BYTE_FAIR, latency_s=54e-9)]
    resources += [wire(f"gpu{at}") for at in range(8)]
    ways = [["memory", f"gpu{at}"] for at in range(4)]
    ways += [["memory", "between", f"gpu{at}"] for at in range(4, 8)]
    flows = [Demand(f"f{at}", tuple(Use(each, 1.0) for each in way)) for at, way in enumerate(ways)]
    got = settled_transactions(resources, flows)
    near = [got[f"f{at}"] for at in range(4)]
    far = [got[f"f{at}"] for at in range(4, 8)]
    assert sum(each.rate_bytes_per_s for each in near + far) == pytest.approx(241e9, rel=0.005)
    assert sum(each.rate_bytes_per_s for each in far) == pytest.approx(101.7e9, rel=0.005)
    assert {each.bottleneck for each in near} == {"memory"}
    assert {each.bottleneck for each in far} == {"between"}


def test_slow_flow_is_watched_for_long_enough_to_count() -> None:
    flows = [replace(writer("a", 256, ["up"]), cap_bytes_per_s=0.3e9), writer("b", 256, ["slow"])]
    got = settled_transactions([wire("up"), Resource("slow", "pcie", 0.3e9)], flows)
    assert got["a"].num_packets >= 100
    assert got["b"].rate_bytes_per_s == pytest.approx(0.3e9 * 256 / 280, rel=0.01)


def test_cap_above_its_share_changes_nothing_for_who_is_held_up() -> None:
    resources = [wire("first", BYTE_FAIR), Resource("narrow", "pcie", 4e9)]
    way = ["first", "narrow"]
    capped = replace(writer("a", 32, way), cap_bytes_per_s=5e9)
    little, big = rates(resources, [capped, writer("b", 256, way)], duration_s=400e-6)
    assert little * 56 / 32 == pytest.approx(big * 280 / 256, rel=NEAR)


def test_same_seed_gives_the_same_and_the_phase_is_seeded() -> None:
    flows = [writer("a", 256, ["up"], 4096), writer("b", 64, ["up"], 4096)]
    one, same, other = (
        simulate_transactions([wire("up")], flows, duration_s=20e-6, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_resource_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="a crosses nowhere, which is not among the 1 resources"):
        rates([wire("up")], [writer("a", 256, ["nowhere"])])


def test_warm_up_as_long_as_the_window_is_refused() -> None:
    with pytest.raises(ModelError, match="leaves nothing to measure"):
        simulate_transactions(
            [wire("up")], [writer("a", 256, ["up"])], duration_s=1e-6, warm_up_s=1e-6
        )


@pytest.mark.parametrize("duration_s", [float("inf"), float("nan"), 3600.0])
def test_endless_simulation_is_refused(duration_s: float) -> None:
    with pytest.raises(ModelError, match="expected at most 60 s"):
        simulate_transactions([wire("up")], [writer("a", 256, ["up"])], duration_s=duration_s)


def test_what_hardly_moves_is_no_trouble() -> None:
    flows = [replace(writer("a", 256, ["up"]), cap_bytes_per_s=1e-12), writer("b", 256, ["up"])]
    flows.append(writer("c", 256, ["still"]))
    got = simulate_transactions(
        [wire("up"), Resource("still", "pcie", 1e-12)], flows, duration_s=20e-6, warm_up_s=1e-6
    )
    assert got["a"].rate_bytes_per_s == 1e-12
    assert got["c"].rate_bytes_per_s == 0.0
    assert got["b"].rate_bytes_per_s == pytest.approx(GEN5.write_bytes_per_s(256), rel=0.01)


def test_ids_must_differ() -> None:
    with pytest.raises(ModelError, match="share an id"):
        rates([wire("up")], [writer("a", 256, ["up"]), writer("a", 64, ["up"])])


def test_outstanding_exponent_without_an_arbiter_is_refused() -> None:
    with pytest.raises(ModelError, match="oldest first"):
        rates([wire("up", Sharing(0.5, by="outstanding"))], [writer("a", 256, ["up"])])


def test_buffer_below_one_packet_is_refused() -> None:
    with pytest.raises(ModelError, match="holds 100 bytes; expected at least 256"):
        simulate_transactions(
            [wire("first"), wire("second")],
            [writer("a", 256, ["first", "second"])],
            duration_s=1e-5,
            settings=[PortSetting("second", "first", buffer_bytes=100)],
        )


def test_port_that_nobody_uses_is_refused() -> None:
    with pytest.raises(ModelError, match="No stream comes from x to up"):
        simulate_transactions(
            [wire("up")],
            [writer("a", 256, ["up"])],
            duration_s=1e-5,
            settings=[PortSetting("up", "x", weight=2.0)],
        )
