"""The link that flows are bound to share, on machines whose wiring is known."""

from __future__ import annotations

import pytest

from topoprobe.machine.sources.scan import make_up
from topoprobe.machine.view import Machine
from topoprobe.measure.bottleneck import bottleneck
from topoprobe.measure.flows import parse_flow_set


@pytest.fixture(scope="module")
def dgx() -> Machine:
    """Two sockets with two switches each, two GPUs and a NIC below each switch."""
    document = make_up("dgx-v100")
    assert document is not None
    return Machine(document)


def test_bottleneck_of_two_gpus_is_the_link_above_their_switch(dgx: Machine) -> None:
    found = bottleneck(dgx, parse_flow_set("host:0 -> gpu:0 via ce | host:0 -> gpu:1 via ce"))
    assert found is not None
    assert found.capacity_bytes_per_s == pytest.approx(15.75e9, rel=0.01)  # Gen3 x16
    assert found.shares == (1.0, 1.0)
    assert found.id.endswith("a_to_b")


def test_bottleneck_of_one_flow_is_its_narrowest_link(dgx: Machine) -> None:
    found = bottleneck(dgx, parse_flow_set("gpu:0 -> host:0 via ce"))
    assert found is not None
    assert found.id.endswith("b_to_a")


@pytest.mark.parametrize(
    "text",
    [
        "host:0 -> gpu:0 via ce | gpu:0 -> host:0 via ce",  # two directions
        "host:0 -> gpu:0 via ce | host:0 -> gpu:2 via ce",  # two switches
        "host:0 -> core:0 via cpu | host:0 -> core:1 via cpu",  # memory only
        "host:0 -> gpu:0 via ce | host:0 -> gpu:99 via ce",  # a GPU that there is not
    ],
)
def test_bottleneck_is_none_where_no_known_link_is_shared(dgx: Machine, text: str) -> None:
    assert bottleneck(dgx, parse_flow_set(text)) is None
