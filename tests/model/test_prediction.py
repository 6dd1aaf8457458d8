"""Predictions of concurrent sets: rates, ends, fairness and reasons."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.fabric.made_up import made_up
from topoprobe.measure.flows import parse_flow_set
from topoprobe.model.fabric.machines.fabric import MachineFabric
from topoprobe.model.prediction import FlowPrediction, Prediction, packet_solver, predict

H100 = MachineFabric(made_up("hgx-h100"))
A_FLOW = st.sampled_from(
    [f"host:{numa} > gpu:{gpu}" for numa in (0, 1) for gpu in range(8)]
    + [f"gpu:{gpu} > host:{numa}" for numa in (0, 1) for gpu in range(8)]
    + [f"gpu:{gpu} > gpu:{(gpu + 3) % 8} via sm" for gpu in range(8)]
    + [f"nic:{nic} > gpu:{nic}, txn=64" for nic in range(8)]
)


def predicted(text: str) -> Prediction:
    return predict(H100, parse_flow_set(text))


def only(text: str) -> FlowPrediction:
    (flow,) = predicted(text).flows
    return flow


def test_flow_alone_is_not_slowed_and_ends_after_its_bytes() -> None:
    flow = only("host:0 > gpu:0, size=8GiB")
    assert flow.slowdown_ratio == 1.0
    assert flow.completion_s == pytest.approx((8 << 30) / flow.rate_bytes_per_s)
    assert flow.why.startswith("alone on the Gen5 x16 uplink of switch")


def test_flow_without_a_size_has_no_end() -> None:
    assert only("host:0 > gpu:0").completion_s is None


def test_flows_of_one_engine_halve_it_until_one_ends() -> None:
    short, long = predicted("host:0 > gpu:0, size=1GiB | host:0 > gpu:0, size=2GiB").flows
    assert short.slowdown_ratio == pytest.approx(2.0)
    assert short.completion_s == pytest.approx((2 << 30) / short.solo_bytes_per_s)
    assert long.completion_s == pytest.approx((3 << 30) / long.solo_bytes_per_s)


def test_flow_that_comes_later_counts_from_the_start_of_the_set() -> None:
    first, later = predicted(
        "host:0 > gpu:0, size=1GiB | host:0 > gpu:1, size=1GiB, delay=1s"
    ).flows
    assert later.completion_s == pytest.approx(1.0 + (first.completion_s or 0.0))


def test_flow_with_a_duration_makes_room_when_it_is_over() -> None:
    flow, _ = predicted("host:0 > gpu:0, size=4GiB | host:0 > gpu:0, duration=20ms").flows
    half = 0.02 * flow.solo_bytes_per_s / 2
    assert flow.completion_s == pytest.approx(0.02 + ((4 << 30) - half) / flow.solo_bytes_per_s)


def test_flow_held_by_itself_says_by_what() -> None:
    assert "a kernel keeps 26 kB of reads in flight" in only("host:0 > gpu:0 via sm").why
    capped = only("host:0 > gpu:0, cap=2GB/s")
    assert (capped.bottleneck, capped.bottleneck_words) == (None, None)
    assert capped.why == "goes no faster by itself: its own cap"


def test_reason_names_who_shares_and_the_law() -> None:
    text = " | ".join(f"host:0 > gpu:{gpu}" for gpu in range(4, 8))
    why = predicted(text).flows[0].why
    assert why == (
        "shares the link from socket 0 to socket 1 (102 GB/s) with flow 2, flow 3 and flow 4, as "
        "many bytes for each port that they come through"
    )


def test_fairness_is_of_what_each_keeps_and_of_bytes_on_the_wire() -> None:
    prediction = predicted("host:0 > gpu:0 | nic:0 > gpu:0, txn=128")
    kept = [1 / one.slowdown_ratio for one in prediction.flows]
    assert prediction.jain_ratio == pytest.approx(sum(kept) ** 2 / (2 * sum(k * k for k in kept)))
    assert prediction.wire_jain_ratio != pytest.approx(prediction.jain_ratio, rel=1e-3)
    assert prediction.bottlenecks[0].evidence.endswith("[pcie-bench]")


@settings(max_examples=60, deadline=None)
@given(st.lists(A_FLOW, min_size=1, max_size=6))
def test_flows_beside_others_are_never_faster_and_always_explained(flows: list[str]) -> None:
    prediction = predicted(" | ".join(flows))
    assert all(one.slowdown_ratio >= 1.0 - 1e-9 for one in prediction.flows)
    assert all(one.why for one in prediction.flows)
    assert 1 / len(flows) - 1e-9 <= prediction.jain_ratio <= 1.0 + 1e-9


def test_packets_and_rates_at_once_agree_on_a_shared_port() -> None:
    flows = parse_flow_set("gpu:0 > host:0 | gpu:0 > gpu:1 | nvme:0 > gpu:0")
    fluid, packets = predict(H100, flows), predict(H100, flows, solver=packet_solver())
    assert [one.rate_bytes_per_s for one in packets.flows] == pytest.approx(
        [one.rate_bytes_per_s for one in fluid.flows], rel=0.02
    )
