from __future__ import annotations

import pytest

from topoprobe.errors import ModelError
from topoprobe.model.fabric.demand import Demand, Use
from topoprobe.model.fabric.fluid import Fluid, solve
from topoprobe.model.fabric.resource import BYTE_FAIR, OLDEST_FIRST, Resource, Sharing

GEN5 = 63.015e9 * 0.95  # bytes on the wire of a x16 link per second
HEADER = 24.0


def wire(name: str, sharing: Sharing | None = None, capacity: float = GEN5) -> Resource:
    return Resource(name, "pcie", capacity, sharing or Sharing(1.0))


def write(name: str, *way: str, txn: float = 256.0, cap: float = float("inf")) -> Demand:
    along = tuple(Use(each, 1.0 + HEADER / txn) for each in way)
    return Demand(name, along, txn_bytes=txn, cap_bytes_per_s=cap)


def rates(resources: list[Resource], *demands: Demand) -> list[float]:
    found = solve(resources, demands)
    return [found[demand.id].rate_bytes_per_s for demand in demands]


@pytest.mark.parametrize(
    ("sharing", "txn", "ratio"),
    [
        (Sharing(1.0), 128.0, 2.0),
        (Sharing(1.0), 64.0, 4.0),
        (BYTE_FAIR, 128.0, 1.09),
        (BYTE_FAIR, 64.0, 1.26),
    ],
)
def test_writers_of_two_sizes_share_by_the_law_of_the_link(
    sharing: Sharing, txn: float, ratio: float
) -> None:
    large, small = rates([wire("link", sharing)], write("a", "link"), write("b", "link", txn=txn))
    assert large / small == pytest.approx(ratio, rel=0.01)
    assert large * (1 + HEADER / 256) + small * (1 + HEADER / txn) == pytest.approx(GEN5)


CASCADE = [wire(name) for name in ("up", "switch", "gpu0", "gpu1", "gpu2", "gpu3")]


def test_devices_behind_a_second_switch_share_its_port() -> None:
    behind = [write(f"f{each}", f"gpu{each}", "switch", "up") for each in (1, 2, 3)]
    got = rates(CASCADE, write("f0", "gpu0", "up"), *behind)
    assert [rate / 1e9 for rate in got] == pytest.approx([27.4, 9.1, 9.1, 9.1], rel=0.005)


def test_turns_that_a_capped_flow_leaves_go_to_its_port_first() -> None:
    behind = [write(f"f{each}", f"gpu{each}", "switch", "up") for each in (2, 3)]
    slow = write("slow", "gpu1", "switch", "up", cap=1e9)
    got = rates(CASCADE, write("f0", "gpu0", "up"), slow, *behind)
    half = GEN5 / (1 + HEADER / 256) / 2
    assert got == pytest.approx([half, 1e9, (half - 1e9) / 2, (half - 1e9) / 2])


def test_turns_that_a_whole_port_leaves_go_to_the_other_ports() -> None:
    behind = [write(f"f{each}", f"gpu{each}", "switch", "up", cap=1e9) for each in (1, 2, 3)]
    direct, *slow = rates(CASCADE, write("f0", "gpu0", "up"), *behind)
    assert slow == [1e9] * 3
    assert direct == pytest.approx(GEN5 / (1 + HEADER / 256) - 3e9)


def test_port_that_goes_on_with_larger_transactions_takes_more_of_the_link() -> None:
    small = write("small", "gpu1", "switch", "up", txn=64.0, cap=1e9)
    large = write("large", "gpu2", "switch", "up", txn=512.0)
    direct, _, rest = rates(CASCADE, write("f0", "gpu0", "up"), small, large)
    # Turns per second are equal: 256 bytes each here, 64 or 512 there.
    assert direct / 256 == pytest.approx(1e9 / 64 + rest / 512)


def test_flows_outstanding_more_get_more_where_the_oldest_goes_first() -> None:
    deep, flat = (
        Demand(name, (Use("link", 1.0),), outstanding_bytes=size)
        for name, size in (("deep", 3e5), ("flat", 1e5))
    )
    got = rates([wire("link", OLDEST_FIRST, 4e9)], deep, flat)
    assert got == pytest.approx([3e9, 1e9])


def test_requests_beside_take_capacity_too() -> None:
    read = Demand("read", (Use("down", 1.0),), (Use("up", 0.1),), cap_bytes_per_s=5e9)
    got = solve([wire("down"), wire("up", None, 8e9)], [read, write("w", "up")])
    assert got["w"].rate_bytes_per_s * (1 + HEADER / 256) == pytest.approx(8e9 - 0.5e9)


def test_bottleneck_is_the_resource_or_none_for_a_cap() -> None:
    got = solve(CASCADE, [write("a", "gpu0", "up"), write("b", "gpu0", "up", cap=2e9)])
    assert got["b"].bottleneck is None
    assert got["a"].bottleneck == "gpu0"


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda fluid: fluid.add(write("f", "nowhere")), "no resource nowhere; there are up"),
        (lambda fluid: fluid.add(write("known", "up")), "a flow known already"),
        (lambda fluid: fluid.remove("other"), "no flow other among the 1"),
        (lambda fluid: fluid.allocation("other"), "no flow other"),
        (lambda fluid: fluid.set_cap("known", 0.0), "cannot be capped to 0"),
        (lambda fluid: fluid.set_capacity("up", 0.0), "cannot have a capacity of 0"),
        (lambda fluid: fluid.set_capacity("nowhere", 1.0), "no resource nowhere"),
        (lambda _: solve([wire("up"), wire("up")], []), "Two resources have the id up"),
        (lambda _: solve([wire("up", OLDEST_FIRST)], [write("f", "up")]), "outstanding_bytes"),
        (lambda _: wire("up", None, 0.0), "expected a finite number"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(act, says) -> None:  # type: ignore[no-untyped-def]
    fluid = Fluid(CASCADE)
    fluid.add(write("known", "gpu0", "up"))
    with pytest.raises(ModelError, match=says):
        act(fluid)
    assert list(fluid.allocations()) == ["known"]
