"""Flows of CPUs: turns on a CPU, stalls by the memory's load, a shared device."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topoprobe.errors import ModelError
from topoprobe.machine.sources.scan import make_up
from topoprobe.machine.view import Machine
from topoprobe.measure.flows import Work, parse_flow_set
from topoprobe.model.fabric.cpus.laws import CpuLaws, WorkLaw, settle, slowdowns
from topoprobe.model.fabric.cpus.seats import Seat, cpu_seats

LAWS = CpuLaws(
    40e9,
    {
        Work.MEMCPY: WorkLaw(10e9, stall_ratio=1.0),
        Work.STREAM: WorkLaw(20e9, stall_ratio=1.0),
        Work.CHASE: WorkLaw(6e6, stall_ratio=0.5),
        Work.GEMM: WorkLaw(90e9),
        Work.DISK: WorkLaw(2e9, core_ratio=0.25, together_per_s=3e9),
    },
)
TEXTS = {
    Work.MEMCPY: "host:0 -> core:{} via cpu",
    Work.STREAM: "host:0 -> core:{} via cpu, work=stream",
    Work.CHASE: "host:0 -> core:{} via cpu, work=chase",
    Work.GEMM: "core:{0} -> core:{0} via cpu, work=gemm",
    Work.DISK: "core:{} -> host:0 via cpu, work=disk",
}


def seated(text: str) -> tuple[Seat, ...]:
    """Flows on a machine with eight NUMA nodes."""
    made = make_up("dgx-a100")
    assert made is not None
    return cpu_seats(Machine(made), parse_flow_set(text))


def seats(*flows: tuple[Work, int]) -> tuple[Seat, ...]:
    """Flows by what they do and their CPU."""
    return seated(" | ".join(TEXTS[work].format(cpu) for work, cpu in flows))


def test_slowdown_on_one_cpu_is_the_number_of_busy_flows() -> None:
    found = slowdowns(LAWS, seats((Work.GEMM, 0), (Work.GEMM, 0), (Work.CHASE, 0)))
    assert found == pytest.approx((3.0, 3.0, 3.0))


def test_slowdown_by_load_solves_the_law() -> None:
    # Each is slowed by the other, which itself is slowed: s = 1 + (20 / 40) / s.
    one, other = slowdowns(LAWS, seats((Work.STREAM, 0), (Work.STREAM, 1)))
    assert one == other == pytest.approx((1 + 3**0.5) / 2, rel=1e-6)


def test_slowdown_of_what_needs_no_memory_is_none() -> None:
    gemm, stream = slowdowns(LAWS, seats((Work.GEMM, 0), (Work.STREAM, 1)))
    assert (gemm, stream) == pytest.approx((1.0, 1.0))


def test_sleeping_flow_leaves_the_rest_of_its_cpu() -> None:
    disk, gemm = slowdowns(LAWS, seats((Work.DISK, 0), (Work.GEMM, 0)))
    assert (disk, gemm) == pytest.approx((1.0, 1 / 0.75))


def test_readers_share_their_device_equally() -> None:
    found = settle(LAWS, seats((Work.DISK, 0), (Work.DISK, 1)))
    assert [one.rate_bytes_per_s for one in found] == pytest.approx([1.5e9, 1.5e9])
    assert {one.bottleneck for one in found} == {"device:disk"}


def test_memory_is_never_overdrawn() -> None:
    found = settle(LAWS, seats(*((Work.MEMCPY, cpu) for cpu in range(16))))
    assert sum(2 * one.rate_bytes_per_s for one in found) == pytest.approx(40e9)


def test_threads_of_one_flow_stall_each_other() -> None:
    (seat,) = seated("host:0 -> host:0 via cpu:2, work=stream")
    (found,) = settle(LAWS, [seat])
    assert len(set(seat.cpus)) == 2
    assert found.rate_bytes_per_s == pytest.approx(40e9 / ((1 + 3**0.5) / 2), rel=1e-6)


def test_copy_between_nodes_moves_a_byte_at_each() -> None:
    (seat,) = seated("host:0 -> host:1 via cpu")
    assert sorted(seat.memories.values()) == [1.0, 1.0]


def test_capped_flow_goes_no_faster_and_stalls_others_less() -> None:
    chase, _ = slowdowns(LAWS, seats((Work.CHASE, 0), (Work.STREAM, 1)))
    (beside, capped) = settle(
        LAWS, seated(f"{TEXTS[Work.CHASE].format(0)} | {TEXTS[Work.STREAM].format(1)}, cap=5GB/s")
    )
    assert capped.rate_bytes_per_s == pytest.approx(5e9)
    assert beside.rate_bytes_per_s > LAWS.works[Work.CHASE].solo_per_s / chase


def test_work_without_a_law_is_refused_with_those_there_are() -> None:
    flows = seated("host:0 -> core:0 via cpu, work=gemv")
    with pytest.raises(ModelError, match="no law of gemv was fitted, only of memcpy, stream"):
        settle(LAWS, flows)


def test_flow_of_a_gpu_is_refused() -> None:
    with pytest.raises(ModelError, match="tell nothing of flows via ce"):
        seated("host:0 -> gpu:0 via ce")


@given(st.lists(st.tuples(st.sampled_from(list(TEXTS)), st.integers(0, 3)), min_size=1, max_size=6))
def test_cpus_and_memory_give_no_more_than_they_have(flows: list[tuple[Work, int]]) -> None:
    placed = seats(*flows)
    rates = [one.rate_bytes_per_s for one in settle(LAWS, placed)]
    traffic = sum(
        rate * num_bytes
        for seat, rate in zip(placed, rates, strict=True)
        for num_bytes in seat.memories.values()
    )
    busy: dict[int, float] = {}
    for (work, cpu), rate in zip(flows, rates, strict=True):
        law = LAWS.works[work]
        busy[cpu] = busy.get(cpu, 0.0) + law.core_ratio * rate / law.solo_per_s
    assert traffic <= LAWS.memory_bytes_per_s * (1 + 1e-6)
    assert max(busy.values()) <= 1 + 1e-6
    assert all(found >= 1 - 1e-6 for found in slowdowns(LAWS, placed))
