"""Pods: their text, and flows within and between hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from tests.model.fabric.made_up import made_up
from topoprobe.errors import InputError, ModelError
from topoprobe.machine.view import Machine
from topoprobe.measure.flows import parse_flow_set
from topoprobe.model.fabric.pods.fabric import PodFabric
from topoprobe.model.fabric.pods.grammar import Group, Network, Pod, is_pod, parse_pod
from topoprobe.model.prediction import predict
from topoprobe.records.machine import Nic

SMALL = "{2 socket: 2 switch: 2 gpu(h100), 2 nic(cx7)}"


def pod(text: str) -> PodFabric:
    return PodFabric(parse_pod(text), made_up)


def rates(fabric: PodFabric, text: str) -> list[float]:
    predicted = predict(fabric, parse_flow_set(text))
    return [round(one.rate_bytes_per_s / 1e9, 1) for one in predicted.flows]


@pytest.fixture(scope="module")
def rails() -> PodFabric:
    return pod("16 x hgx-h100 : rail 400gb")


def test_parse_pod_reads_groups_and_network() -> None:
    assert parse_pod("128 x hgx-h100 : rail 400gb, spine 2:1") == Pod(
        (Group(128, "hgx-h100", 6),), Network("rail", 400e9, 2.0)
    )
    assert parse_pod("2 x {socket: gpu, nic(cx7)}, dgx-a100: flat").groups == (
        Group(2, "socket: gpu, nic(cx7)", 5), Group(1, "dgx-a100", 29),
    )  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(1, 99), st.sampled_from(["hgx-h100", "dgx-a100"])), min_size=1),
    st.sampled_from(["rail", "flat"]),
    st.none() | st.integers(1, 800),
)
def test_parse_pod_gives_back_what_was_written(
    groups: list[tuple[int, str]], kind: str, rate: int | None
) -> None:
    hosts = ", ".join(f"{number} x {name}" for number, name in groups)
    text = f"{hosts} : {kind}{f' {rate}gb' if rate else ''}"
    if sum(number for number, _ in groups) > 4096:
        return
    found = parse_pod(text)
    assert is_pod(text)
    assert [(group.number, group.machine) for group in found.groups] == groups
    assert found.network.kind == kind
    assert found.network.rate_bits_per_s == (rate * 1e9 if rate else None)


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("", 1, "machines, as"),
        ("4 x hgx-h100", 13, "a network"),
        ("4 x hgx-h100 : ring", 16, "rail or flat"),
        ("2 x socket: 2 gpu : flat", 13, "stands in braces"),
        ("4 x hgx-h100 : rail 0gb", 21, "a rate above zero"),
        ("4 x hgx-h100 : rail 400gb, spline", 28, "a spine"),
        ("4 x hgx-h100 : rail 400gb, spine 0:1", 28, "a spine"),
        ("4 x hgx-h100 : rail fast", 21, "a rate as 400gb"),
        ("0 x hgx-h100 : rail", 1, "from 1 to 4096"),
        ("4 x {socket : rail", 5, "machines, as"),
    ],
)
def test_parse_pod_names_the_column_of_a_mistake(text: str, column: int, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_pod(text)
    assert f"column {column}:" in str(caught.value)
    assert expected in str(caught.value)


def test_is_pod_leaves_machines_alone() -> None:
    assert not is_pod("2 socket: 4 switch: 2 gpu, nic")
    assert not is_pod("hgx-h100")
    assert is_pod("2 x {socket: gpu, nic(cx7)} : flat")
    assert is_pod("2 x hgx-h100")


def test_flow_between_hosts_is_one_way_from_gpu_to_gpu(rails: PodFabric) -> None:
    (flow,) = parse_flow_set("h0/gpu:0 > h3/gpu:0").flows
    along = [use.resource for use in rails.place(flow, "0").demand.along]
    kinds = [rails.resources[name].kind for name in along]
    assert kinds == ["memory", "pcie", "pcie", "port", "port", "pcie", "pcie", "memory"]
    assert [name.partition("/")[0] for name in along] == ["h0"] * 4 + ["h3"] * 4
    assert "h0/port:nic@0000:04:00.0:out" in along
    assert "h3/port:nic@0000:04:00.0:in" in along


def test_flows_on_their_own_rails_do_not_meet(rails: PodFabric) -> None:
    text = " | ".join(f"h0/gpu:{index} > h1/gpu:{index}" for index in range(8))
    assert rates(rails, text) == [48.0] * 8


def test_flows_into_one_nic_share_it(rails: PodFabric) -> None:
    text = " | ".join(f"h{index}/gpu:0 > h9/gpu:0" for index in range(4))
    assert rates(rails, text) == [12.0] * 4


def test_flow_within_a_host_meets_what_leaves_it(rails: PodFabric) -> None:
    assert rates(rails, "h2/host:0 > h2/gpu:0") == [55.5]
    out, within = rates(rails, "h2/gpu:0 > h3/gpu:0 | h2/gpu:0 > h2/host:0")
    assert out < 48.0
    assert within < 54.7


def test_flow_to_another_rail_stays_on_its_own_without_a_spine(rails: PodFabric) -> None:
    (flow,) = parse_flow_set("h0/gpu:0 > h3/gpu:7").flows
    along = [use.resource for use in rails.place(flow, "0").demand.along]
    assert "h3/port:nic@0000:04:00.0:in" in along
    assert any(name.startswith("h3/wire@package") for name in along)


def test_spine_is_shared_by_what_changes_rails() -> None:
    fabric = pod("4 x hgx-h100 : rail 400gb, spine 4:1")
    text = " | ".join(f"h{index}/gpu:0 > h{3 - index}/gpu:1" for index in range(4))
    assert rates(fabric, text) == [12.0] * 4
    assert rates(fabric, text.replace("gpu:1", "gpu:0")) == [48.0] * 4
    predicted = predict(fabric, parse_flow_set(text))
    assert "the links of rail 0 to the spine" in predicted.flows[0].why


@pytest.mark.parametrize(
    ("network", "flow", "route"),
    [
        ("rail", "h0/gpu:0 > h1/gpu:7", "nic:mlx5_0 of h0, rail 0, nic:mlx5_0 of h1"),
        ("flat", "h0/gpu:0 > h1/gpu:0", "nic:mlx5_0 of h0, the one switch, nic:mlx5_0 of h1"),
        ("rail, spine 2:1", "h0/gpu:0 > h1/gpu:1",
         "nic:mlx5_0 of h0, rail 0, the spine, rail 1, nic:mlx5_3 of h1"),
        ("rail", "h0/host:0 > h0/gpu:0", ""),
    ],
)  # fmt: skip
def test_flow_between_hosts_names_its_route(network: str, flow: str, route: str) -> None:
    fabric = pod(f"2 x hgx-h100 : {network}")
    assert predict(fabric, parse_flow_set(flow)).flows[0].route == route


def test_pod_whose_nics_tell_no_rate_is_refused() -> None:
    def silent(name: str) -> Machine:
        document = made_up(name).document
        nodes = tuple(
            replaced(node, ports=()) if isinstance(node, Nic) else node for node in document.nodes
        )
        return Machine(replaced(document, nodes=nodes))

    with pytest.raises(InputError, match="No source tells the rate of a NIC of hgx-h100"):
        PodFabric(parse_pod("2 x hgx-h100 : rail 400gb"), silent)


def test_network_slower_than_its_nics_limits_them() -> None:
    assert rates(pod("2 x hgx-h100 : flat 200gb"), "h0/gpu:0 > h1/gpu:0") == [24.0]


def test_hosts_of_several_groups_are_numbered_through() -> None:
    fabric = pod(f"{SMALL}, hgx-h100 : flat 400gb")
    assert fabric.num_hosts == 2
    assert rates(fabric, "h0/gpu:0 > h1/gpu:7 | h1/host:0 > h0/host:1") == [48.0, 48.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu:0 > h1/gpu:0", "does not say of which host gpu:0 is; expected h0/gpu:0 to h15"),
        ("h0/gpu:0 > h16/gpu:0", "no h16/gpu:0: its hosts are h0 to h15"),
        ("h0/gpu:0 > h1/gpu:9", "no h1/gpu:9; it has gpu:0 to gpu:7"),
        ("h0/gpu:0 > h1/gpu:0 via ce", "only a nic does"),
        ("h0/nic:0 > h1/gpu:0", "a gpu or host at both ends"),
    ],
)
def test_flow_that_a_pod_cannot_have_is_refused(rails: PodFabric, text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        predict(rails, parse_flow_set(text))


def test_pod_of_machines_without_fitting_nics_is_refused() -> None:
    with pytest.raises(InputError, match="no NIC that carries 800 Gb/s; its fastest one carries 4"):
        pod("2 x hgx-h100 : rail 800gb")
    fabric = pod("hgx-h100, {socket: gpu(h100), nic(cx7)} : rail 400gb")
    with pytest.raises(ModelError, match="h1 has no NIC on rail 7"):
        predict(fabric, parse_flow_set("h0/gpu:7 > h1/gpu:0"))


@pytest.mark.parametrize(
    ("text", "flow", "facts"),
    [
        ("2 x gb200-nvl4-tray : rail 400gb", "h0/gpu:0 > h1/gpu:1", ["num_nvlinks"]),
        ("2 x gb200-nvl4-tray : rail 400gb", "h0/host:0 > h1/gpu:1", []),
        ("2 x hgx-h100 : rail 400gb", "h0/gpu:0 > h1/gpu:1", []),
    ],
)
def test_flow_between_gpus_of_cliques_says_that_nvlinks_are_left_out(
    text: str, flow: str, facts: list[str]
) -> None:
    predicted = predict(pod(text), parse_flow_set(flow))
    told = [one for one in predicted.assumptions if one.fact != "capacity"]
    assert [one.fact for one in told] == facts
    assert all("NVLinks between machines are not modelled" in one.reason for one in told)
    assert predicted.flows[0].may_be_faster == bool(facts)
