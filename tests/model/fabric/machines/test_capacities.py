"""Capacities of a machine's resources: nominal, and as measured."""

from __future__ import annotations

import pytest

from tests.model.fabric.made_up import made_up, rate_alone
from topoprobe.errors import ModelError
from topoprobe.machine.synthetic import NAMES
from topoprobe.model.catalogue.processors import PROCESSORS, find_processor
from topoprobe.model.fabric.machines.capacities import capacities_of
from topoprobe.model.fabric.machines.fabric import MachineFabric
from topoprobe.model.fabric.resource import Resource, Sharing
from topoprobe.records.base import Estimate, Source, Tool
from topoprobe.records.calibration import (
    CalibrationDocument,
    Contention,
    DeviceCalibration,
    LinkCalibration,
    StorageRate,
)
from topoprobe.records.machine import LinkKind, Nvme


def estimate(value: float) -> Estimate:
    return Estimate(
        value=value, low=value, high=value, source=Source.MEASURED, n=9, evidence="timed"
    )


@pytest.mark.parametrize("name", NAMES)
def test_capacities_of_every_built_in_cover_both_directions_of_each_wire(name: str) -> None:
    machine = made_up(name)
    capacities = capacities_of(machine)
    named = {*capacities.resources, *capacities.unknown}
    for link in machine.document.links:
        assert {f"{link.wire}:a_to_b", f"{link.wire}:b_to_a"} <= named
    assert named == set(capacities.words)
    assert not set(capacities.resources) & set(capacities.unknown)
    assert all(why.reason for why in capacities.unknown.values())
    assert all(one.evidence for one in capacities.resources.values())


@pytest.mark.parametrize(
    ("kind", "gigabytes_per_s"),
    [(LinkKind.PCIE, 59.9), (LinkKind.INTER_SOCKET, 101.7), ("memory", 3350.0), ("port", 48.0)],
)
def test_capacities_of_hgx_h100_are_the_published_ones(kind: str, gigabytes_per_s: float) -> None:
    capacities = capacities_of(made_up("hgx-h100"))
    largest = max(one.capacity_per_s for one in capacities.resources.values() if one.kind == kind)
    assert largest == pytest.approx(gigabytes_per_s * 1e9, rel=1e-3)


def test_capacities_of_numa_parts_share_the_memory_of_their_socket() -> None:
    capacities = capacities_of(made_up("dgx-a100")).resources
    parts = [capacities[f"memory:numa:{index}"].capacity_per_s for index in range(8)]
    assert sum(parts) == pytest.approx(2 * 8 * 25.6e9 * 0.78)


def test_capacities_of_an_unknown_processor_are_left_out_with_a_reason() -> None:
    capacities = capacities_of(made_up("8x4090"))
    assert "memory:numa:0" not in capacities.resources
    assert "catalogue" in capacities.unknown["memory:numa:0"].reason
    assert "wire@package:0-package:1:a_to_b" in capacities.unknown


def test_capacities_having_others_replace_and_make_known() -> None:
    capacities = capacities_of(made_up("8x4090"))
    told = capacities.having([Resource("memory:numa:0", "memory", 1e11)])
    assert told.resources["memory:numa:0"].capacity_per_s == 1e11
    assert "memory:numa:0" not in told.unknown
    with pytest.raises(ModelError, match="has no memory:numa:9"):
        capacities.having([Resource("memory:numa:9", "memory", 1e11)])


def test_capacities_of_a_calibration_give_back_the_measured_copies() -> None:
    machine = made_up("socket: gpu(a100), nvme(3.84tb)")
    link = next(link for link in machine.document.links if link.b.startswith("gpu"))
    (drive,) = machine.all(Nvme)
    gpu = link.b
    document = CalibrationDocument(
        tool=Tool(tool_version="1"),
        machine=machine.document,
        links=(
            LinkCalibration(
                link=link.id,
                a_to_b_bytes_per_s=estimate(24.1e9),
                b_to_a_bytes_per_s=estimate(25.2e9),
            ),
        ),
        devices=(
            DeviceCalibration(
                device=gpu, kind="gpu", name="A100",
                memory_bandwidth_bytes_per_s=estimate(1.4e12),
            ),
            DeviceCalibration(
                device="host", kind="cpu", name="CPU",
                memory_bandwidth_bytes_per_s=estimate(1e11),
                storage=(
                    StorageRate(
                        name=drive.name, operation="read", is_direct=True, block_bytes=1 << 20,
                        rate_bytes_per_s=estimate(3e9),
                    ),
                ),
            ),
        ),
        contention=(
            Contention(resource=f"{link.wire}:b_to_a", sharing_exponent=estimate(0.5)),
            Contention(resource="memory:host"),
        ),
    )  # fmt: skip
    fabric = MachineFabric(machine, document)
    assert rate_alone(fabric, "host:0 -> gpu:0 via ce") == pytest.approx(24.1e9)
    assert rate_alone(fabric, "gpu:0 -> host:0 via ce") == pytest.approx(25.2e9)
    assert rate_alone(fabric, "nvme:0 -> host:0") == pytest.approx(3e9)
    resources = fabric.resources
    assert resources[f"memory:{gpu}"].capacity_per_s == 1.4e12
    assert resources["memory:numa:0"].source is Source.MEASURED
    assert resources[f"{link.wire}:b_to_a"].sharing == Sharing(0.5)


def test_capacities_of_another_machines_calibration_are_refused() -> None:
    machine = made_up("hgx-h100")
    document = CalibrationDocument(
        tool=Tool(tool_version="1"),
        machine=machine.document,
        links=(LinkCalibration(link="pcie@0001:01:00.0", a_to_b_bytes_per_s=estimate(1e9)),),
    )
    with pytest.raises(ModelError, match="does not have; give a calibration of this machine"):
        MachineFabric(machine, document)


def test_processors_are_found_by_the_names_that_drivers_print() -> None:
    names = {
        "Intel(R) Xeon(R) Platinum 8480C": "Xeon of the 4th generation",
        "Intel(R) Xeon(R) Platinum 8570": "Xeon of the 5th generation",
        "Intel(R) Xeon(R) CPU E5-2698 v4 @ 2.20GHz": "Xeon E5 v4",
        "AMD EPYC 7742 64-Core Processor": "EPYC 7002 or 7003",
        "AMD EPYC 9575F 64-Core Processor": "EPYC 9005",
        "AMD EPYC 9654 96-Core Processor": "EPYC 9004",
        "NVIDIA Grace": "Grace",
    }
    found = {name: one.title for name in names if (one := find_processor(name)) is not None}
    assert found == names
    assert find_processor("CPU package 0") is None
    assert all(one.memory_evidence and one.inter_socket_evidence for one in PROCESSORS)


def test_capacity_that_was_measured_tells_its_interval() -> None:
    machine = made_up("socket: gpu(a100)")
    (link,) = (one for one in machine.document.links if one.b.startswith("gpu"))
    rate = Estimate(
        value=24e9, low=23e9, high=25e9, source=Source.MEASURED, n=9, evidence="timed copies"
    )
    calibration = CalibrationDocument(
        tool=Tool(tool_version="1"),
        machine=machine.document,
        links=(LinkCalibration(link=link.id, a_to_b_bytes_per_s=rate),),
    )
    known = capacities_of(machine, calibration).resources[f"{link.wire}:a_to_b"]
    assert known.evidence == "timed copies (95%: 23.0 to 25.0 GB/s)"
