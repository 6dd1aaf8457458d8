"""Memories of NUMA nodes, the ways between them, and handovers between CPUs."""

from __future__ import annotations

import msgspec
import pytest

from tests.model.calibration.gpu_server import calibrated, documented, server
from tests.model.calibration.samples import TOOL, series
from topoprobe.machine.view import Machine
from topoprobe.model.calibration.build import calibrate
from topoprobe.model.fabric.machines.fabric import MachineFabric
from topoprobe.records.machine import LinkKind
from topoprobe.records.results import Series


def matrix(near: float, far: float) -> list[Series]:
    """Bandwidths and latencies between two nodes."""
    pairs = [(cpus, memory) for cpus in (0, 1) for memory in (0, 1)]
    made = []
    for cpus, memory in pairs:
        nodes = {"cpu_node": cpus, "memory_node": memory}
        rate = (near if cpus == memory else far) * (1.1 if memory else 1.0)
        made += [
            series("numa.bandwidth", rate, kernel="read", threads=56, **nodes),
            series("numa.bandwidth", rate / 2, kernel="triad", threads=56, **nodes),
            series("numa.latency", 90e-9 if cpus == memory else 150e-9, "s", **nodes),
        ]
    return made


def test_memories_of_nodes_are_what_their_own_cpus_read() -> None:
    contention = calibrated(*matrix(200e9, 90e9)).contention
    capacities = {one.resource: one.capacity_bytes_per_s for one in contention}
    found = capacities["memory:numa:1"]
    assert found is not None
    assert found.value == pytest.approx(220e9, rel=0.01)
    assert "memory_node=1" in found.evidence


def test_socket_link_carries_bytes_from_memory_to_cpus() -> None:
    (link,) = calibrated(*matrix(200e9, 90e9)).links
    assert link.link == "inter_socket@package:0-package:1"
    assert link.a_to_b_bytes_per_s is not None
    assert link.b_to_a_bytes_per_s is not None
    assert link.latency_s is not None
    assert link.a_to_b_bytes_per_s.value == pytest.approx(90e9, rel=0.01)
    assert link.b_to_a_bytes_per_s.value == pytest.approx(99e9, rel=0.01)
    assert link.latency_s.value == pytest.approx(60e-9, rel=0.03)


def test_ways_without_a_link_are_resources_of_their_own() -> None:
    machine = server()
    links = tuple(link for link in machine.links if link.kind is not LinkKind.INTER_SOCKET)
    machine = msgspec.structs.replace(machine, links=links)
    document = calibrate(documented(*matrix(200e9, 90e9), machine=machine), tool=TOOL)
    names = {one.resource for one in document.contention}
    assert {"inter_socket:numa:0->numa:1", "inter_socket:numa:1->numa:0"} <= names
    fabric = MachineFabric(Machine(machine), document)
    assert fabric.resources["inter_socket:numa:0->numa:1"].capacity_per_s == pytest.approx(
        90e9, rel=0.01
    )


def test_fabric_takes_the_measured_socket_link_and_memories() -> None:
    fabric = MachineFabric(Machine(server()), calibrated(*matrix(200e9, 90e9)))
    resources = fabric.resources
    assert resources["memory:numa:0"].capacity_per_s == pytest.approx(200e9, rel=0.01)
    wire = resources["wire@package:0-package:1:a_to_b"]
    assert wire.capacity_per_s == pytest.approx(90e9, rel=0.01)


def test_handovers_are_medians_over_the_pairs_of_a_kind() -> None:
    times = [(0, 1, "node", 40e-9), (0, 2, "node", 60e-9), (1, 2, "node", 44e-9),
             (0, 56, "machine", 150e-9)]  # fmt: skip
    made = [
        series("core_to_core", time, "s", cpu=one, other_cpu=other, shared=shared)
        for one, other, shared, time in times
    ]
    node, machine = calibrated(*made).devices[0].handovers
    assert (node.shared, node.num_pairs) == ("node", 3)
    assert node.latency_s.value == pytest.approx(44e-9, rel=0.01)
    assert (machine.shared, machine.num_pairs) == ("machine", 1)
