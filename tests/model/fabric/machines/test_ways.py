"""What flows take of a machine: who moves them, packets, engines, what is far."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as replaced

from tests.model.fabric.made_up import made_up, rate_alone, way
from topoprobe.errors import ModelError
from topoprobe.machine.view import Machine
from topoprobe.model.fabric.machines.capacities import capacities_of
from topoprobe.model.fabric.machines.fabric import MachineFabric
from topoprobe.records.machine import Numa


@pytest.fixture(scope="module")
def h100() -> MachineFabric:
    return MachineFabric(made_up("hgx-h100"))


def kinds(fabric: MachineFabric, text: str) -> list[str]:
    return [fabric.resources[use.resource].kind for use in way(fabric, text).demand.along]


# Published: reads 55.3, writes 55.1 of an H800; kernels 35.2 and 52.8; NVLink 371 to 377.
@pytest.mark.parametrize(
    ("text", "gigabytes_per_s"),
    [
        ("host:0 -> gpu:0 via ce", 59.86 * 256 / 276),
        ("gpu:0 -> host:0 via ce", 59.86 * 256 / 280),
        ("host:0 -> gpu:0 via sm", 35.2),
        ("gpu:0 -> host:0 via sm", 59.86 * 128 / 152),
        ("gpu:0 -> gpu:4 via ce", 373.5),
        ("gpu:0 -> gpu:4 via sm", 373.5 * (272 / 256) / (144 / 128)),
        ("gpu:0 -> gpu:0 via ce", 1287.0),
        ("nic:0 -> gpu:0", 48.0),
        ("gpu:0 -> nic:0, txn=64", 59.86 * 64 / 84),
        ("host:0 -> gpu:0 via ce, cap=5GB/s", 5.0),
    ],
)
def test_way_of_a_flow_alone_gives_its_rate(
    h100: MachineFabric, text: str, gigabytes_per_s: float
) -> None:
    assert rate_alone(h100, text) == pytest.approx(gigabytes_per_s * 1e9, rel=2e-3)


def test_way_of_an_early_gpu_has_packets_of_128_bytes() -> None:
    fabric = MachineFabric(made_up("dgx-a100"))
    assert rate_alone(fabric, "host:3 -> gpu:0 via ce") == pytest.approx(26.0e9, rel=0.01)
    assert way(fabric, "nic:0 -> gpu:0").demand.txn_bytes == 256


def test_way_crosses_what_is_between_in_order(h100: MachineFabric) -> None:
    assert kinds(h100, "host:0 -> gpu:0 via ce") == ["memory", "pcie", "pcie", "engine", "memory"]
    assert kinds(h100, "gpu:4 -> host:0 via ce") == [
        "memory", "engine", "pcie", "pcie", "inter_socket", "memory",
    ]  # fmt: skip
    assert kinds(h100, "nic:0 -> gpu:0") == ["port", "pcie", "pcie", "memory"]
    assert kinds(h100, "gpu:0 -> gpu:0 via ce") == ["memory", "engine", "memory"]


def test_way_of_reads_asks_on_the_way_back(h100: MachineFabric) -> None:
    reads, writes = (
        way(h100, text).demand for text in ("host:0 -> gpu:0 via ce", "gpu:0 -> host:0 via ce")
    )
    assert {use.resource for use in reads.beside} == {
        use.resource for use in writes.along if use.resource.startswith("wire@")
    }
    assert {use.per_byte for use in reads.beside} == {24 / 512}
    assert writes.beside == ()


def test_ways_of_one_engine_meet_at_it_and_of_two_directions_do_not(h100: MachineFabric) -> None:
    engines = [
        {use.resource for use in way(h100, text).demand.along if use.resource.startswith("engine")}
        for text in (
            "host:0 -> gpu:0 via ce", "host:1 -> gpu:0 via ce", "gpu:0 -> host:0 via ce",
            "gpu:0 -> gpu:1 via ce", "host:0 -> gpu:0 via sm",
        )
    ]  # fmt: skip
    assert engines[0] == engines[1] != engines[2] == engines[3]
    assert engines[4] == set()


def test_way_to_far_memory_takes_kernels_longer(h100: MachineFabric) -> None:
    near, far = (rate_alone(h100, f"host:{index} -> gpu:0 via sm") for index in (0, 1))
    assert far == pytest.approx(near * 746 / 853, rel=1e-3)


def test_way_of_writes_costs_memory_more_than_reads(h100: MachineFabric) -> None:
    last = way(h100, "gpu:0 -> host:0 via ce").demand.along[-1]
    first = way(h100, "host:0 -> gpu:0 via ce").demand.along[0]
    assert (first.resource, last.resource) == ("memory:numa:0", "memory:numa:0")
    assert last.per_byte > first.per_byte == 1.0


def test_way_over_c2c_ends_at_the_gpus_own_cpu() -> None:
    fabric = MachineFabric(made_up("gb200-nvl4-tray"))
    assert kinds(fabric, "host:0 -> gpu:0 via ce") == ["memory", "c2c", "engine", "memory"]
    far = way(fabric, "host:0 -> gpu:3 via ce")
    crossed = [use.resource.partition("@")[0] for use in far.demand.along]
    assert crossed == ["memory:numa:0", "wire", "engine:gpu", "memory:gpu"]
    assert "wire@package:0-package:1:a_to_b" in far.unknown


def test_way_tells_what_it_assumes_not_to_limit(h100: MachineFabric) -> None:
    (unknown,) = way(h100, "nvme:0 -> gpu:0").unknown
    assert unknown.startswith("storage:nvme")
    assert "once measured" in h100.unknown(unknown).reason


def test_way_of_smaller_transactions_has_more_headers(h100: MachineFabric) -> None:
    sizes = [64, 128, 256, 512]
    rates = [rate_alone(h100, f"nvme:0 -> gpu:0, txn={size}") for size in sizes]
    assert rates[0] < rates[1] < rates[2] == rates[3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host:0 -> gpu:8 via ce", "no gpu:8; it has gpu:0 to gpu:7"),
        ("host:2 -> gpu:0 via ce", "no host:2; it has host:0 to host:1"),
        ("nic:ib9 -> gpu:0", "no nic:ib9; it has nic:mlx5_0 to"),
        ("host:0 -> host:1 via ce", "no GPU to move it"),
        ("host:0 -> gpu:0 via nic", "names no nic to move it"),
        ("gpu:0 -> gpu:0 via sm, work=gemm", "bench measures gemm; leave out work="),
        ("nic:0 -> nic:1", "no memory at either end"),
        ("gpu:0 -> host:0 via ce, txn=32", "copy engine chooses its transactions itself"),
        ("gpu:0 -> host:0 via sm, txn=1GiB", "accesses 32, 64, 128, 256, 512 bytes"),
        ("gpu:0 -> host:0 via ce, peer=there", "only a nic has a peer"),
        ("h1/host:0 -> h1/gpu:0", "names host 1, and this is one machine"),
    ],
)
def test_way_of_what_cannot_be_is_refused(h100: MachineFabric, text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        way(h100, text)


def test_way_of_a_kernel_with_told_blocks_says_that_they_are_not_looked_at(
    h100: MachineFabric,
) -> None:
    (one,) = way(h100, "gpu:0 -> gpu:1 via sm:1").assumed
    assert "sm:1 is taken for a kernel with as many blocks as fill its way" in one.reason
    assert way(h100, "gpu:0 -> gpu:1 via sm").assumed == ()


def test_way_over_what_nobody_knows_is_an_upper_bound(h100: MachineFabric) -> None:
    assert way(h100, "nvme:0 -> gpu:0").is_upper_bound
    assert not way(h100, "host:0 -> gpu:0").is_upper_bound


def test_refusal_lists_nodes_whose_numbers_have_gaps() -> None:
    machine = made_up("2 socket: gpu(a100)").document
    nodes = tuple(
        replaced(node, os_index=2 * node.os_index + 1) if isinstance(node, Numa) else node
        for node in machine.nodes
    )
    fabric = MachineFabric(Machine(replaced(machine, nodes=nodes)))
    with pytest.raises(ModelError, match=r"no host:2; it has host:1, host:3\."):
        way(fabric, "host:2 -> gpu:0")


def test_way_without_any_known_capacity_is_refused() -> None:
    capacities = capacities_of(made_up("8x4090"))
    empty = MachineFabric(made_up("8x4090"), capacities=replace(capacities, resources={}))
    with pytest.raises(ModelError, match=r"Nothing that host:0 .* crosses has a known capacity"):
        way(empty, "host:0 -> gpu:0 via ce")
    assert way(empty, "host:0 -> gpu:0 via ce, cap=1GB/s").demand.cap_bytes_per_s == 1e9
