"""The benchmarks that run concurrent sets, for real on little memory for a short time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.microbench.context import MIB, context, machine
from topoprobe.errors import EnvironmentMissing, UsageError
from topoprobe.measure.device import Stream
from topoprobe.measure.devices.cpu import executors
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.measure.devices.cpu.executors import CpuFlows
from topoprobe.measure.devices.flows import OpenFlow
from topoprobe.measure.flows import Flow, Work, parse_flow_set
from topoprobe.microbench import contention, flow_sets
from topoprobe.records.base import Status
from topoprobe.records.results import Series

CPUS = available_cpus()
COPY = f"host:0 -> core:{CPUS[0]} via cpu, size=16MiB"


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_WINDOW_S", "_SINGLE_WINDOW_S"):
        monkeypatch.setattr(flow_sets, name, {"quick": 0.03})


def measured(text: str) -> dict[str, list[Series]]:
    """Run a set; return its series by name."""
    flows = contention.GivenFlows(parse_flow_set(text))
    outcome = flows.run(machine(), context(160 * MIB))
    found: dict[str, list[Series]] = {}
    for one in outcome.series:
        found.setdefault(one.name, []).append(one)
    return found


def test_contention_sets_are_all_pairs_and_all_kinds_together() -> None:
    sets = contention.sets_of((4, 7))
    pairs, together = sets[:-1], sets[-1]
    kinds = [tuple(flow.work for flow in one.flows) for one in pairs]
    assert len(set(kinds)) == 15
    assert {flow.work for flow in together.flows} == set(Work) - {Work.GEMV}
    assert all(parse_flow_set(str(one)) == one for one in sets)
    assert {str(flow.destination) for flow in pairs[0].flows} == {"core:4", "core:7"}


def test_given_flows_are_measured_alone_and_together() -> None:
    text = f"{COPY} | {COPY}, work=stream"
    found = measured(text)
    solo = {one.factors["flow"] for one in found["contention.solo"]}
    shared = found["contention.shared"]
    assert {one.factors["flow"] for one in shared} == solo
    assert [one.factors["index"] for one in shared] == [0, 1]
    assert {one.factors["set"] for one in shared} == {str(parse_flow_set(text))}
    assert {one.factors["num_cpus"] for one in shared} == {1}
    for one in (*shared, *found["contention.solo"]):
        assert one.status in (Status.OK, Status.UNSTABLE), one.reason
        assert all(sample.value > 0.0 for sample in one.samples)


def test_given_flows_equal_ones_run_on_their_own_streams() -> None:
    found = measured(" | ".join(["host:0 -> host:0 via cpu, size=16MiB"] * 2))
    (num_cpus,) = {one.factors["num_cpus"] for one in found["contention.shared"]}
    assert num_cpus == min(2, len(CPUS))


@pytest.mark.parametrize("cpus", [CPUS[:1] * 2, CPUS[:2]], ids=["shared", "own"])
def test_flows_that_share_a_cpu_are_not_measured_in_real_time(cpus: tuple[int, ...]) -> None:
    if len(cpus) < 2:
        pytest.skip("one CPU only")
    bursts = []

    @contextmanager
    def burst() -> Iterator[None]:
        bursts.append(1)
        yield

    flows = " | ".join(f"host:0 -> core:{cpu} via cpu, size=16MiB" for cpu in cpus)
    flow_sets.measure_sets(
        machine(), replace(context(128 * MIB), burst=burst), [parse_flow_set(flows)]
    )
    assert bool(bursts) == (cpus[0] != cpus[1])


def test_given_flows_refused_by_the_machine_are_skipped_and_others_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = CpuFlows.open

    def refuse(self: CpuFlows, flow: Flow, *arguments: int) -> object:
        if flow.work is Work.STREAM:
            raise EnvironmentMissing("The node is full.")
        return opened(self, flow, *arguments)

    monkeypatch.setattr(CpuFlows, "open", refuse)
    sets = [parse_flow_set(text) for text in (f"{COPY} | {COPY}, work=stream", COPY)]
    series = flow_sets.measure_sets(machine(), context(160 * MIB), sets)
    skipped = [one for one in series if one.status is Status.SKIPPED]
    assert {one.factors["set"] for one in skipped} == {str(sets[0])}
    assert {one.reason for one in skipped} == {"The node is full."}
    assert any(one.samples for one in series)


def test_given_flow_whose_thread_fails_is_failed_and_nothing_is_left_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = CpuFlows.open

    def breaking(self: CpuFlows, flow: Flow, *arguments: int) -> OpenFlow:
        found = opened(self, flow, *arguments)
        if flow.work is not Work.STREAM:
            return found
        left = iter(range(50))

        def enqueue(stream: Stream) -> None:
            stream.launch(lambda: next(left))  # raises in the middle of a run

        return replace(found, lanes=tuple(replace(one, enqueue=enqueue) for one in found.lanes))

    monkeypatch.setattr(CpuFlows, "open", breaking)
    found = measured(f"{COPY} | {COPY}, work=stream")
    failed = [one for one in found["contention.shared"] if one.status is Status.FAILED]
    assert len(failed) == 2  # the set has no common window without one of its flows
    copy = found["contention.solo"][0]
    assert copy.samples
    assert not [one for one in threading.enumerate() if one.name.startswith("stream-")]


def test_contention_where_scratch_is_no_disk_measures_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executors, "scratch_gap", lambda folder, num_bytes: "it is memory")
    sets = [one for one in contention.sets_of(CPUS[:1]) if len(one.flows) == 2][3:5]
    series = flow_sets.measure_sets(machine(), context(640 * MIB), sets)
    # On a busy machine the other set may miss its window, which is another reason.
    without_disk = [one for one in series if "it is memory" in (one.reason or "")]
    assert {one.status for one in without_disk} == {Status.SKIPPED}
    assert [one.factors["set"] for one in without_disk if one.name == "contention.shared"] == (
        [str(sets[1])] * 2
    )
    assert any(one.samples for one in series)


def test_given_flows_expect_the_time_of_all_windows() -> None:
    text = "host:0 -> host:0 via cpu, duration=2s"
    one = contention.GivenFlows(parse_flow_set(text))
    two = contention.GivenFlows(parse_flow_set(f"{text} | {text}, delay=1s"))
    assert one.seconds >= 2 * 5 * 2.0
    assert two.seconds == pytest.approx(one.seconds / 4 * (2 + 2 + 3))
    plan = two.plan(machine(), context(512 * MIB).budget)
    assert len(plan.sets) == 3
    assert plan.memory_bytes == sum(one.memory_bytes for one in plan.sets[:2])


def test_given_flows_that_need_too_much_memory_are_refused() -> None:
    flows = parse_flow_set("host:0 -> host:0 via cpu, size=64MiB")
    with pytest.raises(UsageError, match=r"need 128 MiB of memory and 8\.00 MiB may be used"):
        contention.GivenFlows(flows).run(machine(), context(8 * MIB))
