"""What links give: both ways, packets, engines, and where that is not what it should be."""

from __future__ import annotations

import msgspec
import pytest

from tests.model.calibration.gpu_server import (
    GPU,
    LINK,
    WIRE_BYTES_PER_S,
    beside,
    calibrated,
    documented,
    flows_of,
    server,
)
from topoprobe.model.calibration.readings import Readings
from topoprobe.model.calibration.residuals import residual_verdicts
from topoprobe.records.base import Source, Verdict
from topoprobe.records.calibration import LinkCalibration
from topoprobe.records.machine import Gpu, MachineDocument
from topoprobe.records.results import Conditions, Series

DOWN, UP = f"host:0 -> {GPU} via ce", f"{GPU} -> host:0 via ce"


def link_of(*members: Series) -> LinkCalibration:
    (found,) = calibrated(*members).links
    assert found.link == LINK
    return found


def carried(efficiency: float, payload_bytes: float, header_bytes: int = 20) -> float:
    """Rate of packets on the wire of the server's links."""
    return WIRE_BYTES_PER_S * efficiency * payload_bytes / (payload_bytes + header_bytes)


def copy(rate: float, way: str = "h2d", num_bytes: int = 1 << 28, **known: Conditions) -> Series:
    return beside(f"copy.{way}", rate, executor="ce", num_bytes=num_bytes, **known)


def kernel(txn_bytes: int, rate: float) -> Series:
    flow = f"host:0 -> {GPU} via sm, txn={txn_bytes}"
    return beside("contention.solo", rate, set=flow, flow=flow, index=0)


def test_latency_is_told_for_each_direction() -> None:
    sizes = (1 << 12, 1 << 16, 1 << 20, 1 << 28)
    found = link_of(
        *(copy(size / (5e-6 + size / 50e9), num_bytes=size) for size in sizes),
        *(copy(size / (8e-6 + size / 50e9), "d2h", num_bytes=size) for size in sizes),
    )
    assert found.latency_s is not None
    assert found.b_to_a_latency_s is not None
    assert found.latency_s.value == pytest.approx(5e-6, rel=0.02)
    assert found.b_to_a_latency_s.value == pytest.approx(8e-6, rel=0.02)


def test_both_directions_together_are_compared_with_each_alone() -> None:
    found = link_of(copy(50e9), *flows_of(f"{DOWN} | {UP}", (50e9, 50e9), (45e9, 36e9)))
    assert found.both_bytes_per_s is not None
    assert found.duplex_ratio is not None
    assert found.both_bytes_per_s.value == pytest.approx(81e9, rel=0.01)
    assert found.duplex_ratio.value == pytest.approx(0.81, rel=0.01)


def test_two_sizes_tell_efficiency_and_payload() -> None:
    found = link_of(
        copy(carried(0.9, 256)), kernel(64, carried(0.9, 64)), kernel(128, carried(0.9, 128))
    )
    (law,) = found.packet_laws
    assert (law.direction, law.header_bytes) == ("a_to_b", 20)
    assert law.efficiency_ratio.value == pytest.approx(0.9, rel=0.01)
    assert law.efficiency_ratio.source is Source.DERIVED
    assert law.payload_bytes.value == pytest.approx(256, rel=0.1)
    assert law.payload_bytes.low < 256 < law.payload_bytes.high


def test_small_accesses_that_wait_for_latency_do_not_count() -> None:
    (law,) = link_of(
        copy(carried(0.9, 256)), kernel(32, 5e9), kernel(128, carried(0.9, 128))
    ).packet_laws
    assert law.efficiency_ratio.value == pytest.approx(0.9, rel=0.01)


def test_copies_alone_tell_the_payload_at_the_usual_efficiency() -> None:
    (law,) = link_of(copy(carried(0.95, 128, 24), "d2h")).packet_laws
    assert (law.direction, law.header_bytes) == ("b_to_a", 24)
    assert law.efficiency_ratio.source is Source.NOMINAL
    assert law.payload_bytes.value == pytest.approx(128, rel=0.05)


def test_copies_beyond_the_usual_efficiency_tell_it_at_the_usual_payload() -> None:
    (law,) = link_of(copy(carried(0.99, 256))).packet_laws
    assert law.payload_bytes.source is Source.NOMINAL
    assert law.efficiency_ratio.value == pytest.approx(0.99, rel=0.005)


def test_copies_beyond_the_lanes_have_no_law() -> None:
    assert link_of(copy(80e9)).packet_laws == ()


def test_copies_of_one_direction_tell_what_they_leave_to_each_other() -> None:
    document = calibrated(
        *flows_of(f"{DOWN} | {DOWN}", (50e9, 50e9), (24e9, 24e9)),
        *flows_of(" | ".join([DOWN] * 4), (50e9,) * 4, (12e9,) * 4),
        *flows_of(f"{DOWN} | {UP}", (50e9, 50e9), (45e9, 40e9)),
    )
    shares = {(one.direction, one.num_flows): one for one in document.devices[0].engines}
    assert shares["in", 2].together_ratio.value == pytest.approx(0.96, rel=0.01)
    assert shares["in", 4].together_ratio.value == pytest.approx(0.96, rel=0.01)
    assert shares["both", 2].together_ratio.value == pytest.approx(1.7, rel=0.01)


def judged(*members: Series, machine: MachineDocument | None = None) -> tuple[Verdict, ...]:
    document = documented(*members, machine=machine)
    return residual_verdicts(document.machine, Readings(document))


def without_numa() -> MachineDocument:
    made = server()
    nodes = tuple(
        msgspec.structs.replace(node, numa_index=None) if isinstance(node, Gpu) else node
        for node in made.nodes
    )
    return msgspec.structs.replace(made, nodes=nodes)


def test_sound_copies_are_within_the_law() -> None:
    assert judged(copy(55.3e9), copy(54.0e9, "d2h")) == ()


def test_residual_of_a_narrow_link_names_its_width() -> None:
    narrow = Conditions(pcie_generation=5, pcie_num_lanes=8)
    (found,) = judged(copy(27e9, conditions=narrow))
    assert (found.check, found.subject, found.level) == ("link law", LINK, "WARN")
    assert "51% less than the 55.5 GB/s of packets of 256 bytes on Gen5 x16" in found.evidence
    assert "its width: it ran at Gen5 x8 under load" in found.evidence


def test_residual_under_throttle_names_the_reason() -> None:
    hot = Conditions(pcie_generation=5, pcie_num_lanes=16, throttle_reasons=("hw_thermal",))
    (found,) = judged(copy(45e9, conditions=hot))
    assert "throttling (hw_thermal)" in found.evidence


def test_residual_where_far_memory_is_faster_names_the_node() -> None:
    pinned = [
        beside("host_memory.h2d", rate, memory="pinned", distance=distance, num_bytes=1 << 28)
        for distance, rate in (("near", 45e9), ("far", 55e9))
    ]
    (found,) = judged(copy(45e9), *pinned)
    assert "another NUMA node" in found.evidence
    (found,) = judged(copy(45e9), machine=without_numa())
    assert "another NUMA node" in found.evidence


def test_residual_of_writes_alone_names_relaxed_ordering() -> None:
    (found,) = judged(copy(55e9), copy(40e9, "d2h"))
    assert "relaxed ordering is off" in found.evidence
    assert found.fix is not None
    assert "RlxdOrd+" in found.fix


def test_residual_of_both_directions_names_the_hosts_side() -> None:
    found = judged(copy(40e9), copy(40e9, "d2h"))
    assert ["the host's side of the link" in one.evidence for one in found] == [True, True]


def test_residual_of_small_buffers_names_a_cache() -> None:
    (found,) = judged(copy(62e9, num_bytes=1 << 20))
    assert "12% more than" in found.evidence
    assert "a cache that holds the buffer of 1.00 MiB" in found.evidence


def test_residual_of_large_copies_beyond_the_law_doubts_the_link() -> None:
    (found,) = judged(copy(61e9))
    assert "a link that was read while it rested" in found.evidence
