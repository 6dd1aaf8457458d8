"""Which sets several GPUs run, on machines whose wiring is known; no runtime is needed."""

from __future__ import annotations

import pytest

from topoprobe.machine.sources.scan import make_up
from topoprobe.measure.devices.cuda.availability import nvidia_gpus
from topoprobe.measure.flows import FlowSet, parse_flow_set
from topoprobe.microbench import (
    BENCHMARKS,
    cuda_cascade,
    cuda_contention,
    cuda_far_memory,
    cuda_joining,
    cuda_patterns,
    cuda_peers,
    cuda_soak,
    cuda_subsets,
    cuda_transactions,
)
from topoprobe.microbench.gpu_sets import (
    CE,
    lasting,
    near_host,
    nearest_pair,
    pairs_by_class,
    shared_node,
)
from topoprobe.records.machine import Gpu, MachineDocument

CASCADE = "root: switch: gpu(v100), [switch: 2 gpu(v100)]"


def machine(name: str) -> MachineDocument:
    document = make_up(name)
    assert document is not None
    return document


def every_set(name: str) -> list[FlowSet]:
    """Return the sets of all benchmarks on a machine."""
    box = machine(name)
    gpus = nvidia_gpus(box)
    pair = nearest_pair(box)
    groups = [
        *cuda_peers.CudaPeersBenchmark().groups(box, "quick"),
        *cuda_peers.CudaPeersBenchmark().groups(box, "full"),
    ]
    return [
        *cuda_contention.sets_of(box, gpus[0]),
        *(one for group in groups for one in group.sets),
        *cuda_subsets.sets_of(box, "quick"),
        *cuda_patterns.converging(gpus),
        *cuda_patterns.exchanging(gpus, CE),
        *cuda_far_memory.near_and_far(box, cuda_subsets.sets_of(box, "quick")[0].flows),
        *cuda_transactions.sets_of(box, pair, cuda_transactions.to_gpu),
        *cuda_joining.sets_of(box, pair, 0.05),
        FlowSet(cuda_soak.flows_of(box)),
    ]


def ends(flow_set: FlowSet) -> list[tuple[str, str]]:
    return [(str(flow.source), str(flow.destination)) for flow in flow_set.flows]


@pytest.mark.parametrize("name", ["hgx-h100", "8x4090", "2 gpu(h100)"])
def test_sets_are_texts_of_the_grammar_with_addresses(name: str) -> None:
    for one in every_set(name):
        assert parse_flow_set(str(one)) == one
        for flow in one.flows:
            assert any(end.is_address for end in (flow.source, flow.destination))
            assert not any(
                end.kind == "gpu" and not end.is_address for end in (flow.source, flow.destination)
            )


@pytest.mark.parametrize(
    ("name", "classes"),
    [("hgx-h100", {"NV18": 28}), ("8x4090", {"PHB": 12, "SYS": 16}), ("2 gpu(h100)", {"PHB": 1})],
)
def test_peers_are_one_pair_of_each_class_or_all(name: str, classes: dict[str, int]) -> None:
    box = machine(name)
    assert {key: len(pairs) for key, pairs in pairs_by_class(box).items()} == classes
    assert len(list(cuda_peers.CudaPeersBenchmark().groups(box, "quick"))) == len(classes)
    groups = list(cuda_peers.CudaPeersBenchmark().groups(box, "standard"))
    assert len(groups) == sum(classes.values())
    for group in groups:
        for one in group.sets:
            (there, back) = ends(one)
            assert there == back[::-1]
            assert there[0] == group.device


def test_subsets_start_with_gpus_that_share_something_and_are_few() -> None:
    box = machine("8x4090")
    gpus = [gpu.id for gpu in nvidia_gpus(box)]
    down, up, both = cuda_subsets.sets_of(box, "quick")[:3]
    assert [target for _, target in ends(down)] == gpus[:4]  # one host bridge
    assert {source for source, _ in ends(down)} == {"host:0"}
    assert ends(up) == [pair[::-1] for pair in ends(down)]
    assert both.flows == (*down.flows, *up.flows)
    sizes = {suite: len(cuda_subsets.sets_of(box, suite)) for suite in ("quick", "full")}
    assert sizes == {"quick": 3 * 4, "full": 3 * 48}


def test_patterns_of_eight_gpus() -> None:
    gpus = nvidia_gpus(machine("hgx-h100"))
    ids = [gpu.id for gpu in gpus]
    to_one, from_one = cuda_patterns.converging(gpus)
    assert ends(to_one) == [(one, ids[0]) for one in ids[1:]]
    assert ends(from_one) == [(ids[0], one) for one in ids[1:]]
    ring, across = cuda_patterns.exchanging(gpus, CE)
    assert ends(ring) == list(zip(ids, [*ids[1:], ids[0]], strict=True))
    assert set(ends(across)) == {
        pair for n in range(4) for pair in ((ids[n], ids[n + 4]), (ids[n + 4], ids[n]))
    }


def test_far_memory_is_that_of_the_other_node() -> None:
    box = machine("hgx-h100")
    first, second = cuda_far_memory.chosen_gpus(box, "quick")
    assert [str(near_host(box, gpu)) for gpu in (first, second)] == ["host:0", "host:1"]
    assert len(cuda_far_memory.chosen_gpus(box, "standard")) == 8
    near, far = cuda_far_memory.near_and_far(
        box, [cuda_far_memory.to_gpu(box, first), cuda_far_memory.from_gpu(box, second)]
    )
    assert ends(near) == [("host:0", first.id), (second.id, "host:1")]
    assert ends(far) == [("host:1", first.id), (second.id, "host:0")]


def test_transactions_give_each_gpu_the_larger_size_in_half_of_the_pairs() -> None:
    box = machine("8x4090")
    pair = nearest_pair(box)
    equal, *different = cuda_transactions.sets_of(box, pair, cuda_transactions.from_gpu)
    assert {flow.txn_bytes for flow in equal.flows} == {128}
    sizes = [tuple(flow.txn_bytes or 0 for flow in one.flows) for one in different]
    assert len(set(sizes)) == 6
    assert sum(one > other for one, other in sizes) == 3
    assert {flow.executor.kind for one in different for flow in one.flows} == {"sm"}


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("2 root: switch: 2 gpu(v100)", "pcie_switch"),
        ("2 root: gpu(v100)", "host"),
        ("8x4090", "host_bridge"),
    ],
)
def test_nearest_pair_shares_the_nearest_place(name: str, shared: str) -> None:
    box = machine(name)
    found = shared_node(box, nearest_pair(box))
    kinds = {node.id: type(node).__struct_config__.tag for node in box.nodes}
    assert kinds[found] == shared


def test_cascade_is_a_gpu_beside_a_switch_of_gpus() -> None:
    box = machine(CASCADE)
    (cascade,) = cuda_cascade.cascades(box)
    gpus = nvidia_gpus(box)
    assert {cascade.direct, *cascade.behind} == set(gpus)
    assert len(cascade.behind) == 2
    parents = {node.id: node.parent for node in box.nodes if isinstance(node, Gpu)}
    assert parents[cascade.direct.id] == cascade.switch
    down, up = cuda_cascade.cascade_sets(box, cascade)
    assert ends(down)[0][1] == cascade.direct.id == ends(up)[0][0]


@pytest.mark.parametrize("name", ["hgx-h100", "8x4090", "dgx-a100", "dgx-v100"])
def test_cascade_is_on_no_machine_without_a_second_switch(name: str) -> None:
    assert cuda_cascade.cascades(machine(name)) == ()


def test_joining_copy_runs_in_the_middle_third() -> None:
    box = machine("8x4090")
    for one in cuda_joining.sets_of(box, nearest_pair(box), 0.05):
        first, second = one.flows
        assert (first.duration_s, first.delay_s) == (0.15, None)
        assert second.duration_s == second.delay_s == 0.05


def test_lasting_flows_keep_all_else() -> None:
    flow_set = parse_flow_set("host:0 -> gpu:0 via sm:4, txn=64")
    assert str(lasting(flow_set, 0.05)) == "host:0 -> gpu:0 via sm:4, duration=50ms, txn=64"


@pytest.mark.parametrize("name", [one.name for one in BENCHMARKS if one.name.startswith("cuda.")])
def test_cuda_benchmark_without_gpus_says_why(name: str) -> None:
    benchmark = next(one for one in BENCHMARKS if one.name == name)
    assert benchmark.missing(machine("socket: nic")) == "this machine has no NVIDIA GPU"
