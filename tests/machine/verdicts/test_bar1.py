"""Windows on GPU memory: too small, as large as they can be, or not to be judged."""

from __future__ import annotations

import pytest

from tests.machine.verdicts.made_up import gpu, levels, machine
from topoprobe.machine.verdicts import bar1
from topoprobe.records.machine import Pair

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("window", "largest", "memory", "level"),
    [
        (128 * GIB, None, 80 * GIB, "OK"),
        (24 * GIB, None, 24 * GIB, "OK"),
        (256 * MIB, 32 * GIB, 24 * GIB, "FAIL"),
        (256 * MIB, 32 * GIB, None, "FAIL"),
        (8 * GIB, 32 * GIB, 24 * GIB, "WARN"),
        (256 * MIB, None, 16 * GIB, "WARN"),
        (512 * MIB, None, 16 * GIB, "OK"),
        (256 * MIB, 256 * MIB, 16 * GIB, "OK"),
    ],
)
def test_window_is_judged_by_memory_and_by_what_is_possible(
    window: int, largest: int | None, memory: int | None, level: str
) -> None:
    node = gpu(bar1_bytes=window, max_bar1_bytes=largest, memory_bytes=memory)
    (verdict,) = bar1.judge(machine(node))
    assert verdict.level == level
    assert (verdict.fix is None) is (level == "OK")
    assert verdict.fix is None or "Above 4G decoding" in verdict.fix


def test_unknown_window_is_not_judged() -> None:
    assert list(bar1.judge(machine(gpu(memory_bytes=80 * GIB)))) == []


@pytest.mark.parametrize("model", ["NVIDIA GeForce RTX 4090", "AD102 [GeForce RTX 4090]"])
@pytest.mark.parametrize("largest", [32 * GIB, None])
def test_product_without_peer_access_is_promised_none(model: str, largest: int | None) -> None:
    node = gpu(bar1_bytes=256 * MIB, max_bar1_bytes=largest, model=model)
    (verdict,) = bar1.judge(machine(node))
    assert verdict.level == "WARN"
    assert "peer access stays refused" in (verdict.fix or "")
    assert "peers and NICs then" not in (verdict.fix or "")


@pytest.mark.parametrize(("status", "level"), [("GNS", "WARN"), ("OK", "FAIL"), ("U", "FAIL")])
def test_drivers_word_on_peer_access_counts(status: str, level: str) -> None:
    nodes = [gpu(i, bar1_bytes=256 * MIB, max_bar1_bytes=32 * GIB) for i in range(2)]
    pair = Pair(a=nodes[0].id, b=nodes[1].id, path_class="PHB", peer_status=status)
    assert levels(bar1.judge(machine(*nodes, pairs=[pair]))) == [level] * 2


def test_driver_that_allows_peers_of_a_geforce_is_believed() -> None:
    nodes = [
        gpu(i, bar1_bytes=256 * MIB, max_bar1_bytes=32 * GIB, model="GeForce") for i in range(2)
    ]
    pair = Pair(a=nodes[0].id, b=nodes[1].id, path_class="PHB", peer_status="OK")
    assert levels(bar1.judge(machine(*nodes, pairs=[pair]))) == ["FAIL"] * 2
