"""NUMA places, distances to NICs, and where this process may run."""

from __future__ import annotations

import msgspec
import pytest

from tests.machine.verdicts.made_up import gpu, levels, machine, nic, numas
from topoprobe.machine.verdicts import binding, nic_distance, numa_place
from topoprobe.records.base import Missing
from topoprobe.records.machine import Contradiction, Pair


def test_one_numa_node_leaves_no_choice() -> None:
    assert levels(numa_place.judge(machine(*numas(1), gpu()))) == ["OK"]


def test_device_without_a_place_among_several_is_worth_a_look() -> None:
    why = Missing(subject=gpu(1).id, fact="numa_index", reason="sysfs says numa_node -1.")
    nodes = (*numas(2), gpu(0, numa_index=1), gpu(1))
    placed, lost = numa_place.judge(machine(*nodes, unknown=[why]))
    assert (placed.level, placed.evidence) == ("OK", "Is near NUMA node 1 of 2.")
    assert lost.level == "WARN"
    assert lost.evidence == "Has no known place among 2 NUMA nodes: sysfs says numa_node -1."


def test_guest_is_told_what_its_hypervisor_can_do() -> None:
    why = Missing(subject=gpu().id, fact="numa_index", reason="sysfs says numa_node -1.")
    (verdict,) = numa_place.judge(machine(*numas(2), gpu(), unknown=[why], is_virtual=True))
    assert "pxb-pcie" in (verdict.fix or "")


def test_source_that_knows_no_places_is_no_fault() -> None:
    silent = Missing(subject=gpu().id, fact="numa_index", reason="No source tells it.")
    assert list(numa_place.judge(machine(*numas(2), gpu(), unknown=[silent]))) == []


def test_contradicted_place_is_told_once() -> None:
    doubt = Contradiction(subject=gpu().id, fact="numa_index", readings=("1", "2"), meaning="")
    assert list(numa_place.judge(machine(*numas(2), gpu(), contradictions=[doubt]))) == []


def test_memory_of_gpus_is_told_apart() -> None:
    own, other = numas(2)
    of_gpu = msgspec.structs.replace(other, memory_of=gpu().id)
    *_, verdict = numa_place.judge(machine(own, of_gpu, gpu(numa_index=0)))
    assert verdict.evidence == "1 NUMA node (1) is GPU memory; the host's own is 0."


def test_machine_without_devices_has_no_places() -> None:
    assert list(numa_place.judge(machine(*numas(2)))) == []


def pairs(*classes: str | None) -> list[Pair]:
    """Join GPUs 0, 1… in turn with NIC 0."""
    return [Pair(a=gpu(i).id, b=nic().id, path_class=name) for i, name in enumerate(classes)]


def test_gpu_far_from_every_nic_is_worth_a_look() -> None:
    found = list(nic_distance.judge(machine(gpu(0), gpu(1), nic(), pairs=pairs("SYS", "PHB"))))
    assert levels(found) == ["WARN", "OK"]
    assert "the only NIC is across" in found[0].evidence
    assert "through such a peer" in (found[0].fix or "")


def test_detour_is_advised_only_where_a_gpu_is_near() -> None:
    (verdict,) = nic_distance.judge(machine(gpu(), nic(), pairs=pairs("SYS")))
    assert verdict.fix == "Move a NIC to its side."


@pytest.mark.parametrize(("vendor", "is_nccls"), [("10de", True), ("1002", False)])
def test_nccls_detour_is_told_to_nvidias_gpus_only(vendor: str, is_nccls: bool) -> None:
    gpus = (gpu(0, pci_vendor=vendor), gpu(1, pci_vendor=vendor))
    found = list(nic_distance.judge(machine(*gpus, nic(), pairs=pairs("SYS", "PHB"))))
    assert "give network work to GPUs that have one near" in (found[0].fix or "")
    assert ("NCCL" in (found[0].fix or "")) is is_nccls


def test_unknown_distance_is_not_judged() -> None:
    assert list(nic_distance.judge(machine(gpu(), nic(), pairs=pairs(None)))) == []
    assert list(nic_distance.judge(machine(gpu()))) == []


@pytest.mark.parametrize(("rate", "expected"), [(1e9, []), (10e9, ["WARN"]), (None, ["WARN"])])
def test_slow_nic_serves_no_gpu(rate: float | None, expected: list[str]) -> None:
    found = nic_distance.judge(machine(gpu(), nic(rate=rate), pairs=pairs("SYS")))
    assert levels(found) == expected


def bound(cpus: tuple[int, ...], memory: tuple[int, ...] = (), **more: object) -> list[str]:
    nodes = (*numas(2), gpu(0, numa_index=1, cpus=(2, 3)))
    host = {"allowed_cpus": cpus, "allowed_numas": memory} | more
    return levels(binding.judge(machine(*nodes, **host)))  # type: ignore[arg-type]


def test_process_bound_far_from_every_gpu_fails() -> None:
    assert bound((0, 1)) == ["FAIL"]
    assert bound((0, 2)) == ["OK"]
    assert bound((0, 1, 2, 3)) == ["OK"]
    assert bound(()) == []


def test_advice_names_the_cpus_to_ask_for() -> None:
    nodes = (*numas(2), gpu(numa_index=1))
    (verdict,) = binding.judge(machine(*nodes, allowed_cpus=(0,)))
    assert "CPUs 0 only" in verdict.evidence
    assert "ask there for some of CPUs 2-3" in (verdict.fix or "")


def test_memory_far_from_every_gpu_fails() -> None:
    assert bound((2, 3), (0,)) == ["OK", "FAIL"]
    assert bound((2, 3), (0, 1)) == ["OK"]


def test_binding_of_a_recording_is_nobodys() -> None:
    assert bound((0, 1), origin="recorded") == []


def test_gpus_near_the_process_are_named() -> None:
    nodes = (*numas(2), gpu(0, cpus=(0, 1)), gpu(1, cpus=(2, 3)))
    (verdict,) = binding.judge(machine(*nodes, allowed_cpus=(2,)))
    assert (verdict.level, verdict.evidence) == (
        "OK", "The reading process may use CPUs 2, which are near GPU 1.",
    )  # fmt: skip


def test_pair_on_one_node_that_is_told_to_be_across_is_worth_a_look() -> None:
    nodes = [gpu(i, numa_index=0) for i in range(3)]
    torn = [Pair(a=nodes[0].id, b=one.id, path_class="NV4", pcie_class="SYS") for one in nodes[1:]]
    (verdict,) = numa_place.judge(machine(*numas(1), *nodes, pairs=torn))
    assert (verdict.level, verdict.subject) == ("WARN", "host")
    assert verdict.evidence == (
        "2 pairs of devices (GPU 0 and GPU 1 for example) are told to be on different NUMA nodes "
        "(SYS) and on the only one at once."
    )


def test_way_between_numa_nodes_is_not_spoken_of_where_there_is_one() -> None:
    nodes = (*numas(1), gpu(0), gpu(1), nic())
    far, _ = nic_distance.judge(machine(*nodes, pairs=pairs("SYS", "PHB")))
    assert far.level == "WARN"
    assert "NUMA" not in far.evidence
    assert "told to be the longest (SYS)" in far.evidence


def test_nic_beside_a_gpu_of_the_same_node_cannot_be_across_the_machine() -> None:
    nodes = [gpu(i, numa_index=n) for i, n in enumerate((1, 1, 0))]
    made = machine(*numas(2), *nodes, nic(), pairs=pairs("SYS", "PHB", "SYS"))
    torn, near, far = nic_distance.judge(made)
    assert (torn.level, near.level, far.level) == ("WARN", "OK", "WARN")
    assert "on its NUMA node 1 all the same" in torn.evidence
    assert "Move" not in (torn.fix or "")
    assert "across the link between NUMA nodes" in far.evidence
