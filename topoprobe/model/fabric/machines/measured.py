"""Capacities that a calibration measured, in place of nominal ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from topoprobe.errors import ModelError
from topoprobe.machine.view import Machine
from topoprobe.model.fabric.machines.payloads import packets_on, pcie_payload_bytes, request_bytes
from topoprobe.model.fabric.resource import BYTE_FAIR, Resource, Sharing
from topoprobe.records.base import Estimate, Source
from topoprobe.records.calibration import (
    CalibrationDocument,
    DeviceCalibration,
    LinkCalibration,
)
from topoprobe.records.machine import Link, LinkKind, Numa, Nvme, PciNode
from topoprobe.units import format_interval


def measured_resources(
    machine: Machine, nominal: Mapping[str, Resource], calibration: CalibrationDocument
) -> tuple[Resource, ...]:
    """Return the resources whose capacity or sharing law a calibration tells.

    Raises
    ------
    ModelError
        If it names a link or a device that the machine does not have.
    """
    found = {one.id: one for one in _links(machine, nominal, calibration)}
    for device in calibration.devices:
        found |= {one.id: one for one in _device(machine, device)}
    for contention in calibration.contention:
        known = found.get(contention.resource, nominal.get(contention.resource))
        if known is None and contention.capacity_bytes_per_s is not None:
            known = _way_between_nodes(contention.resource, contention.capacity_bytes_per_s)
        if known is None:
            continue
        if contention.capacity_bytes_per_s is not None:
            known = _with(known, contention.capacity_bytes_per_s)
        if contention.sharing_exponent is not None:
            known = replace(known, sharing=Sharing(contention.sharing_exponent.value))
        found[known.id] = known
    return tuple(found.values())


def _links(
    machine: Machine, nominal: Mapping[str, Resource], calibration: CalibrationDocument
) -> Iterator[Resource]:
    """Yield links with the headers of the copies that measured them; nominal ones tell no more."""
    links = {link.id: link for link in machine.document.links}
    for one in calibration.links:
        link = links.get(one.link)
        if link is None:
            raise ModelError(
                f"The calibration has measured {one.link}, which the machine does not have; give "
                "a calibration of this machine."
            )
        if link.kind is LinkKind.INTER_SOCKET:
            yield from _socket_link(link, one)
        if link.kind is not LinkKind.PCIE:
            continue
        node = machine.node(link.b)
        if not isinstance(node, PciNode):
            continue
        payload, request = pcie_payload_bytes(machine, [link.id], node), request_bytes(node)
        packets = packets_on(link, payload, request)
        for direction, rate, per_byte in (
            ("a_to_b", one.a_to_b_bytes_per_s, packets.per_byte_read(request)),
            ("b_to_a", one.b_to_a_bytes_per_s, packets.per_byte_written(payload)),
        ):
            known = nominal.get(f"{link.wire}:{direction}")
            if rate is not None and rate.source is not Source.NOMINAL and known is not None:
                yield _with(known, rate, per_byte)


def _socket_link(link: Link, measured: LinkCalibration) -> Iterator[Resource]:
    for direction, rate in (
        ("a_to_b", measured.a_to_b_bytes_per_s),
        ("b_to_a", measured.b_to_a_bytes_per_s),
    ):
        if rate is not None and rate.source is not Source.NOMINAL:
            yield _place(f"{link.wire}:{direction}", link.kind, rate)


def _way_between_nodes(name: str, rate: Estimate) -> Resource | None:
    """Return a way between NUMA nodes, of which no catalogue tells; None for other names."""
    kind = LinkKind.INTER_SOCKET
    return _place(name, kind, rate) if name.startswith(f"{kind}:") else None


def _device(machine: Machine, device: DeviceCalibration) -> Iterator[Resource]:
    numas = [numa for numa in machine.all(Numa) if numa.memory_of is None]
    bandwidth = device.memory_bandwidth_bytes_per_s
    if device.kind == "gpu":
        machine.node(device.device)
        if bandwidth is not None:
            yield _place(f"memory:{device.device}", "memory", bandwidth)
    elif bandwidth is not None and numas:
        for numa in numas:
            yield _place(f"memory:{numa.id}", "memory", bandwidth, 1 / len(numas))
    for rate in device.storage:
        drive = next((one for one in machine.all(Nvme) if one.name in rate.name), None)
        if drive is not None and rate.operation == "read":
            yield _place(f"storage:{drive.id}", "storage", rate.rate_bytes_per_s)


def _with(known: Resource, rate: Estimate, units_per_byte: float = 1.0) -> Resource:
    return replace(
        known,
        capacity_per_s=rate.value * units_per_byte,
        source=rate.source,
        evidence=_evidence(rate),
    )


def _place(name: str, kind: str, rate: Estimate, part: float = 1.0) -> Resource:
    return Resource(
        id=name,
        kind=kind,
        capacity_per_s=rate.value * part,
        sharing=BYTE_FAIR,
        source=rate.source,
        evidence=_evidence(rate),
    )


def _evidence(rate: Estimate) -> str:
    """Say where a figure comes from, with its interval."""
    if not rate.has_interval or rate.low == rate.high:
        return rate.evidence
    return f"{rate.evidence} (95%: {format_interval(rate.low, rate.high, 'bytes_per_s')})"
