"""What flows share that is no wire: memories, copy engines, network ports, drives."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.view import Machine
from topoprobe.model.catalogue.devices import find_by_driver_name
from topoprobe.model.catalogue.nominal import NominalDevice
from topoprobe.model.catalogue.processors import NominalProcessor, find_processor
from topoprobe.model.catalogue.reported import reported
from topoprobe.model.fabric.machines.described import Described
from topoprobe.model.fabric.machines.names import called
from topoprobe.model.fabric.resource import BYTE_FAIR, Resource
from topoprobe.records.machine import Gpu, Nic, Numa, Nvme, Package
from topoprobe.units import format_rate

MEMORY_S = 346e-9
"""Root complex and memory: what the links leave of 546 ns for a 64-byte read [pcie-bench]."""

NETWORK_RATIO = 0.96
"""RDMA writes of large messages reach 380 to 385 of 400 Gb/s [oci-gb300]."""

ENGINE_RATIO = 0.38
"""A copy within an H100, 1287 GB/s one way of a memory of 3350 [nccl-1264]."""

ENGINES = {"in": "into it", "out": "out of it", "within": "within it"}
"""The copy engines of a GPU, by the direction of what they copy: copies of one direction take
turns on one engine."""


def place_resources(machine: Machine) -> Iterator[Described]:
    """Describe memories, copy engines, network ports and drives."""
    for numa in machine.all(Numa):
        if numa.memory_of is None:
            yield _host_memory(machine, numa)
    for gpu in machine.all(Gpu):
        yield from _gpu(machine, gpu)
    for nic in machine.all(Nic):
        yield from _ports(machine, nic)
    for drive in machine.all(Nvme):
        yield Described(
            f"storage:{drive.id}",
            f"the drive {called(machine, drive.id)}",
            None,
            "what a drive sustains is only known once measured",
        )


def write_costs(machine: Machine) -> dict[str, float]:
    """Return what a byte that a device writes takes of each host memory, in bytes read."""
    costs = {}
    for numa in machine.all(Numa):
        processor = _processor(machine, numa)
        if processor is not None:
            costs[f"memory:{numa.id}"] = processor.write_cost
    return costs


def _host_memory(machine: Machine, numa: Numa) -> Described:
    name, words = f"memory:{numa.id}", f"the memory of NUMA node {numa.os_index}"
    processor = _processor(machine, numa)
    if processor is None:
        return Described(
            name, words, None, "the catalogue has no memory bandwidth for this processor"
        )
    package = machine.package(numa.id)
    beside = [
        one for one in machine.all(Numa)
        if one.memory_of is None and machine.package(one.id) == package
    ]  # fmt: skip
    part = "" if len(beside) == 1 else f", one of {len(beside)} parts"
    resource = Resource(
        id=name,
        kind="memory",
        capacity_per_s=processor.memory_bytes_per_s / len(beside),
        sharing=BYTE_FAIR,
        evidence=f"{processor.title}: {processor.memory_evidence}{part}",
        latency_s=MEMORY_S,
    )
    return Described(name, words, resource)


def _gpu(machine: Machine, gpu: Gpu) -> Iterator[Described]:
    device = find_by_driver_name(gpu.name)
    title = called(machine, gpu.id)
    why = "the catalogue does not have this GPU's memory bandwidth"
    memory = None
    if device is not None:
        memory = Resource(
            id=f"memory:{gpu.id}",
            kind="memory",
            capacity_per_s=device.memory_bytes_per_s.value,
            sharing=BYTE_FAIR,
            evidence=device.memory_bytes_per_s.source,
        )
    yield Described(f"memory:{gpu.id}", f"the memory of {title}", memory, why)
    for engine, direction in ENGINES.items():
        name = f"engine:{gpu.id}:{engine}"
        resource = None
        if device is not None:
            rate, evidence = _engine(device)
            resource = Resource(
                id=name, kind="engine", capacity_per_s=rate, sharing=BYTE_FAIR, evidence=evidence
            )
        yield Described(name, f"the engine of {title} that copies {direction}", resource, why)


def _engine(device: NominalDevice) -> tuple[float, str]:
    """Return what a copy engine moves: what copies within the GPU's memory reach, one way."""
    copies = reported(device.name, "copy_engine_bytes_per_s")
    if copies:
        return copies[0].low / 2, f"copies within its memory, {copies[0].source}"
    rate = device.memory_bytes_per_s.value * ENGINE_RATIO
    return rate, f"{ENGINE_RATIO} of its memory bandwidth, as an H100 [nccl-1264]"


def _ports(machine: Machine, nic: Nic) -> Iterator[Described]:
    rates = [port.rate_bits_per_s for port in nic.ports if port.rate_bits_per_s is not None]
    for direction in ("in", "out"):
        name = f"port:{nic.id}:{direction}"
        words = f"the network port of {called(machine, nic.id)}, {direction}wards"
        resource = None
        if rates:
            rate = sum(rates) / 8
            resource = Resource(
                id=name,
                kind="port",
                capacity_per_s=rate * NETWORK_RATIO,
                sharing=BYTE_FAIR,
                evidence=f"{format_rate(rate)} x {NETWORK_RATIO} [oci-gb300]",
            )
        yield Described(name, words, resource, "no source tells the rate of its ports")


def _processor(machine: Machine, numa: Numa) -> NominalProcessor | None:
    package = machine.package(numa.id)
    if package is None:
        packages = machine.all(Package)
        package = packages[0] if len(packages) == 1 else None
    return None if package is None else find_processor(package.name)
