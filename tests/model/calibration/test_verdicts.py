"""GPUs judged by their peers and by the catalogue, samples by their conditions."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.model.calibration.samples import results, series
from topoprobe.model.calibration.nominal import nominal_verdicts
from topoprobe.model.calibration.peers import peer_verdicts
from topoprobe.model.calibration.verdicts import verdicts
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, Host, Pair
from topoprobe.records.results import Conditions, ResultsDocument, Series

FULL_LINK = Conditions(pcie_generation=5, pcie_num_lanes=16, sm_clock_hz=1.98e9)


def gpu_series(
    name: str,
    value: float,
    device: int,
    unit: str = "bytes_per_s",
    conditions: Conditions = FULL_LINK,
    **factors: Any,
) -> Series:
    made = series(name, value, unit, **{**factors, "device": f"gpu{device}"})
    samples = tuple(msgspec.structs.replace(one, conditions=conditions) for one in made.samples)
    return msgspec.structs.replace(made, samples=samples)


def machine_of(*members: Series, model: str = "NVIDIA H100 80GB HBM3") -> ResultsDocument:
    document = results(*members)
    nodes = (
        Host(id="host", name="box"),
        *(Gpu(id=f"gpu{index}", name=model, parent="host") for index in range(4)),
    )
    machine = msgspec.structs.replace(document.machine, nodes=nodes)
    return msgspec.structs.replace(document, machine=machine)


def copies(*rates: float, conditions: Conditions = FULL_LINK) -> list[Series]:
    """One series per GPU, under its own conditions for the first."""
    return [
        gpu_series("copy.h2d", rate, index, conditions=FULL_LINK if index else conditions)
        for index, rate in enumerate(rates)
    ]


def test_narrow_link_is_named_with_what_differs() -> None:
    narrow = Conditions(pcie_generation=5, pcie_num_lanes=8, sm_clock_hz=1.98e9)
    (found,) = peer_verdicts(machine_of(*copies(28e9, 55e9, 55e9, 55e9, conditions=narrow)))
    assert (found.level, found.check, found.subject) == ("FAIL", "peers", "gpu0")
    assert found.evidence == (
        "copy.h2d is 28.0 GB/s, 49% worse than the median of 3 peers; link x8 where theirs is x16"
    )
    assert found.fix is not None
    assert "doctor" in found.fix


def test_slow_gpu_whose_conditions_are_alike_says_so() -> None:
    (found,) = peer_verdicts(machine_of(*copies(50e9, 55e9)))
    assert found.level == "WARN"
    assert "its link, clocks and throttling are like theirs" in found.evidence


def test_links_may_differ_less_than_memory() -> None:
    four_percent = (53e9, 55.2e9, 55.2e9)
    assert len(peer_verdicts(machine_of(*copies(*four_percent)))) == 1
    memory = [
        gpu_series("stream.triad", rate, index, variant="strided")
        for index, rate in enumerate(four_percent)
    ]
    assert peer_verdicts(machine_of(*memory)) == ()


def test_two_gpus_only_the_slower_is_named_also_in_seconds() -> None:
    slow = [
        gpu_series("latency.idle", value, index, "s", ring_bytes=64)
        for index, value in enumerate((700e-9, 600e-9))
    ]
    (found,) = peer_verdicts(machine_of(*slow))
    assert found.subject == "gpu0"
    assert "14% worse than its peer; " in found.evidence


def test_best_variant_stands_for_a_gpu() -> None:
    rivals = [
        gpu_series("stream.triad", rate, device, variant=variant)
        for device, rates in enumerate(((1e12, 3e12), (3e12, 1e12)))
        for variant, rate in zip(("strided", "one_pass"), rates, strict=True)
    ]
    assert peer_verdicts(machine_of(*rivals)) == ()


def test_different_sizes_and_different_models_are_no_peers() -> None:
    sizes = [
        gpu_series("copy.h2d", 10e9, 0, num_bytes=4096),
        gpu_series("copy.h2d", 55e9, 1, num_bytes=1 << 28),
    ]
    assert peer_verdicts(machine_of(*sizes)) == ()
    document = machine_of(*copies(28e9, 55e9))
    other = msgspec.structs.replace(document.machine.nodes[1], name="another model")
    nodes = (document.machine.nodes[0], other, *document.machine.nodes[2:])
    machine = msgspec.structs.replace(document.machine, nodes=nodes)
    assert peer_verdicts(msgspec.structs.replace(document, machine=machine)) == ()


def flows_between(*rates: float, path_class: str | None = "NV18") -> ResultsDocument:
    """Solo copies from GPU 0 to the others, and each to its near host memory."""
    ids = [f"gpu@0000:0{index}:00.0" for index in range(1, 5)]
    made = [
        series("contention.solo", rate, flow=flow, set=flow, index=0, num_cpus=0)
        for rate, peer in zip(rates, ids[1:], strict=False)
        for flow in (f"{ids[0]} -> {peer} via ce", f"{peer} -> host:0 via ce")
    ]
    document = results(*made)
    machine = msgspec.structs.replace(
        document.machine,
        nodes=tuple(Gpu(id=name, name="NVIDIA H200", parent="host", numa_index=0) for name in ids),
        pairs=tuple(Pair(a=ids[0], b=peer, path_class=path_class) for peer in ids[1:]),
    )
    return msgspec.structs.replace(document, machine=machine)


def test_slow_way_between_gpus_is_named_among_those_of_its_class() -> None:
    found = peer_verdicts(flows_between(370e9, 370e9, 185e9))
    assert [one.subject for one in found] == [
        "gpu@0000:01:00.0 -> gpu@0000:04:00.0 via ce",
        "gpu@0000:04:00.0 -> host:0 via ce",
    ]
    assert "50% worse than the median of 2 peers" in found[0].evidence


def test_ways_whose_class_is_not_known_are_not_compared() -> None:
    found = peer_verdicts(flows_between(370e9, 370e9, 185e9, path_class=None))
    assert [one.subject for one in found] == ["gpu@0000:04:00.0 -> host:0 via ce"]


def test_flows_of_cpus_have_no_peers() -> None:
    flows = [f"host:0 -> core:{cpu} via cpu" for cpu in (0, 1)]
    made = [
        series("contention.solo", rate, flow=flow, set=flow, index=0, num_cpus=1)
        for rate, flow in zip((1e9, 2e9), flows, strict=True)
    ]
    assert peer_verdicts(results(*made)) == ()


def test_arrays_within_the_caches_make_one_verdict() -> None:
    made = [
        series("stream.triad", 1e10, threads=threads, variant="numba", cache_ratio=ratio)
        for threads, ratio in ((1, 4.0), (2, 0.51))
    ]
    (found,) = (one for one in verdicts(results(*made)) if one.check == "cache")
    assert found.subject == "host"
    assert "stream.triad are 0.51 times the last-level caches" in found.evidence
    assert "cache" not in {one.check for one in verdicts(results(made[0]))}


def only(document: ResultsDocument) -> Verdict:
    (found,) = nominal_verdicts(document)
    assert (found.check, found.level, found.subject) == ("nominal", "WARN", "gpu0")
    return found


def triad(rate: float, conditions: Conditions = FULL_LINK) -> ResultsDocument:
    return machine_of(gpu_series("stream.triad", rate, 0, conditions=conditions, variant="strided"))


def test_bandwidth_above_the_nominal_came_from_a_cache() -> None:
    found = only(triad(3.9e12))
    assert "1.16 of the nominal 3.35 TB/s (NVIDIA H100 data sheet" in found.evidence
    assert "a cache held part of the arrays" in found.evidence


def test_bandwidth_far_below_the_nominal_names_the_throttle() -> None:
    throttled = Conditions(throttle_reasons=("hardware_thermal_slowdown",))
    assert "hardware_thermal_slowdown" in only(triad(1.5e12, throttled)).evidence
    crowded = Conditions(num_other_processes=1)
    assert "other processes used it" in only(triad(1.5e12, crowded)).evidence
    assert "nothing unusual was read beside it" in only(triad(1.5e12)).evidence


def test_sound_bandwidth_and_unknown_models_pass() -> None:
    assert nominal_verdicts(triad(3.0e12)) == ()
    document = machine_of(gpu_series("stream.triad", 9e12, 0, variant="x"), model="unheard of")
    assert nominal_verdicts(document) == ()


def test_products_beyond_fp32_were_done_in_tf32() -> None:
    fast = gpu_series("compute.gemm", 400e12, 0, "flop_per_s", dtype="fp32", variant="torch")
    assert "tf32 stood in for fp32" in only(machine_of(fast)).evidence


def test_products_far_below_the_nominal_are_named_and_vector_loops_are_not() -> None:
    slow = gpu_series("compute.gemm", 300e12, 0, "flop_per_s", dtype="bf16", variant="torch")
    assert "0.30 of the nominal" in only(machine_of(slow)).evidence
    vector = gpu_series("compute.fma", 60e12, 0, "flop_per_s", dtype="bf16", variant="v")
    assert nominal_verdicts(machine_of(vector)) == ()


def test_outliers_with_evidence_make_one_verdict() -> None:
    calm, busy = Conditions(other_cpu_ratio=0.0), Conditions(other_cpu_ratio=0.6)
    made = series("stream.copy", 1e10, threads=2)
    samples = [msgspec.structs.replace(one, conditions=calm) for one in made.samples]
    samples.append(msgspec.structs.replace(samples[0], value=5e9, conditions=busy))
    found = verdicts(results(msgspec.structs.replace(made, samples=tuple(samples))))
    (outliers,) = (one for one in found if one.check == "outliers")
    assert outliers.subject == "stream.copy device=host threads=2"
    assert outliers.evidence == (
        "1 of 7 samples lie more than 3.5 MAD from their median, 1 of them with evidence why; "
        "here: other processes took 60% of the CPUs, 0% usually"
    )


def test_outliers_of_which_nothing_is_known_make_none() -> None:
    made = series("stream.copy", 1e10, threads=2)
    odd = msgspec.structs.replace(made.samples[0], value=5e9)
    document = results(msgspec.structs.replace(made, samples=(*made.samples, odd)))
    assert "outliers" not in {one.check for one in verdicts(document)}
