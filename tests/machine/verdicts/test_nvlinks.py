"""Missing NVLinks with the call that failed, and fabrics that are down."""

from __future__ import annotations

import msgspec
import pytest

from tests.machine.verdicts.made_up import gpu, levels, machine
from topoprobe.machine.verdicts import nvlinks
from topoprobe.records.base import Missing
from topoprobe.records.machine import Fabric, Gpu, Link, LinkKind, NvSwitch, Pair

H100 = {"model": "NVIDIA H100 80GB HBM3", "pci_device": "2330"}


def missing(subject: str, fact: str, reason: str) -> Missing:
    return Missing(subject=subject, fact=fact, reason=reason)


def test_gpu_without_links_beside_full_peers_fails_with_the_failed_call() -> None:
    full, bare = gpu(0, num_nvlinks=18, **H100), gpu(1, num_nvlinks=0, **H100)
    why = missing(bare.id, "nvlinks", "nvmlDeviceGetNvLinkState failed: Unknown Error.")
    ok, bad = nvlinks.judge(machine(full, bare, unknown=[why]))
    assert (ok.level, ok.evidence) == ("OK", "Has 18 NVLinks, all up.")
    assert bad.level == "FAIL"
    assert bad.subject == bare.id
    assert bad.evidence.startswith("Has 0 of 18 NVLinks. nvmlDeviceGetNvLinkState failed")


def test_all_gpus_of_a_board_without_links_fail_by_their_model() -> None:
    found = list(nvlinks.judge(machine(*(gpu(i, num_nvlinks=0, **H100) for i in range(2)))))
    assert [(v.level, v.evidence) for v in found] == [("FAIL", "Has 0 of 18 NVLinks.")] * 2


def test_unequal_counts_fail_where_the_model_is_unknown() -> None:
    pair = [gpu(i, model="board", num_nvlinks=n, max_nvlinks=4) for i, n in enumerate((4, 3))]
    assert levels(nvlinks.judge(machine(*pair))) == ["OK", "FAIL"]


def test_cards_without_bridges_are_not_judged() -> None:
    assert list(nvlinks.judge(machine(*(gpu(i, num_nvlinks=0) for i in range(2))))) == []


def test_nobody_told_of_links_is_no_fault() -> None:
    assert list(nvlinks.judge(machine(*(gpu(i, **H100) for i in range(2))))) == []


def test_call_that_failed_for_the_whole_gpu_is_a_fault_of_a_board_that_has_links() -> None:
    why = [missing(gpu(i).id, "nvlinks", "refused.") for i in range(2)]
    found = nvlinks.judge(machine(*(gpu(i, **H100) for i in range(2)), unknown=why))
    assert levels(found) == ["FAIL", "FAIL"]


def test_only_gpu_of_a_guest_has_nobody_to_link_to() -> None:
    assert levels(nvlinks.judge(machine(gpu(num_nvlinks=0, **H100)))) == ["OK"]


def test_divided_gpu_has_its_links_off() -> None:
    found = list(nvlinks.judge(machine(gpu(0, is_mig_enabled=True, num_nvlinks=0, **H100))))
    assert levels(found) == ["OK"]
    assert "MIG" in found[0].evidence


def test_links_that_are_down_beyond_the_known_number_are_worth_a_look() -> None:
    down = missing(gpu().id, "inactive nvlinks", "The driver says these links are down: 3.")
    other = gpu(1, num_nvlinks=3, max_nvlinks=3)
    found = list(nvlinks.judge(machine(gpu(num_nvlinks=3), other, unknown=[down])))
    assert levels(found) == ["WARN", "OK"]
    assert "these links are down: 3" in found[0].evidence


@pytest.mark.parametrize(
    ("state", "health", "expected"),
    [
        ("Completed", None, []),
        ("Completed", "Healthy", []),
        ("Completed", "Degraded bandwidth", ["FAIL"]),
        ("In Progress", None, ["FAIL"]),
        ("Not Started", None, ["FAIL"]),
        ("not supported", None, []),
    ],
)
def test_fabric_that_is_not_up_fails(state: str, health: str | None, expected: list[str]) -> None:
    node = gpu(fabric=Fabric(state=state, health=health))
    assert levels(nvlinks.judge(machine(node))) == expected


def test_gpu_that_failed_to_join_its_fabric_fails() -> None:
    node = gpu(fabric=Fabric(state="completed", status="insufficient resources"))
    (verdict,) = nvlinks.judge(machine(node))
    assert (verdict.level, verdict.evidence) == (
        "FAIL", "Failed to join the NVLink fabric: insufficient resources.",
    )  # fmt: skip


def test_card_without_a_bridge_beside_bridged_pairs_is_worth_a_look() -> None:
    nodes = [gpu(i, model="card", num_nvlinks=n, max_nvlinks=4) for i, n in enumerate((4, 4, 0))]
    bridge = Link(
        id="nvlink", kind=LinkKind.NVLINK, a=nodes[0].id, b=nodes[1].id, wire="w", count=4
    )
    assert levels(nvlinks.judge(machine(*nodes, links=[bridge]))) == ["OK", "OK", "WARN"]
    mesh = [bridge, msgspec.structs.replace(bridge, id="other", b=nodes[2].id)]
    assert levels(nvlinks.judge(machine(*nodes, links=mesh))) == ["OK", "OK", "FAIL"]


def test_gpus_beside_nvswitches_that_meet_over_pcie_fail() -> None:
    one, other = gpu(0, num_nvlinks=18, **H100), gpu(1, num_nvlinks=18, **H100)
    switch = NvSwitch(id="nvswitch@0000:05:00.0", name="NVSwitch", parent="host")
    pair = Pair(a=one.id, b=other.id, path_class="SYS")
    *_, bad = nvlinks.judge(machine(one, other, switch, pairs=[pair]))
    assert (bad.level, bad.subject) == ("FAIL", "host")
    assert "1 of 1 pairs of GPUs do not meet over NVLink (1 SYS)" in bad.evidence
    assert "nvidia-fabricmanager" in (bad.fix or "")


def unnamed(index: int, **more: object) -> Gpu:
    return Gpu(id=f"gpu:{index}", name=f"gpu:{index}", parent="host", index=index, **more)  # type: ignore[arg-type]


def test_links_of_a_matrix_are_not_said_to_be_all() -> None:
    (verdict, _) = nvlinks.judge(machine(*(unnamed(i, num_nvlinks=12) for i in range(2))))
    assert verdict.level == "WARN"
    assert verdict.evidence.startswith("Has 12 NVLinks up; whether these are all")
    assert "nvidia-smi nvlink -s" in (verdict.fix or "")


def test_matrix_without_links_between_unnamed_gpus_is_worth_a_look() -> None:
    nodes = [unnamed(i) for i in range(2)]
    pair = Pair(a="gpu:0", b="gpu:1", path_class="SYS")
    (verdict,) = nvlinks.judge(machine(*nodes, pairs=[pair]))
    assert (verdict.level, verdict.subject) == ("WARN", "host")
    assert "what models they are is not told" in verdict.evidence
    named = [unnamed(i, model="NVIDIA GeForce RTX 4090") for i in range(2)]
    assert list(nvlinks.judge(machine(*named, pairs=[pair]))) == []


def test_fabric_that_is_down_keeps_cuda_from_starting() -> None:
    (verdict,) = nvlinks.judge(machine(gpu(fabric=Fabric(state="in progress"))))
    assert "error 802" in (verdict.fix or "")
