"""The fabric of one machine: its resources, and flows as demands on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from topoprobe.errors import ModelError
from topoprobe.machine.view import Machine
from topoprobe.measure.ends import in_pci_order, node_of
from topoprobe.measure.flows import End, Flow
from topoprobe.model.fabric.machines.capacities import Capacities, capacities_of
from topoprobe.model.fabric.machines.ways import PlacedFlow, Site, Trip, placed_flow
from topoprobe.model.fabric.resource import Resource
from topoprobe.records.base import Missing
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.machine import AnyNode, Gpu, Nic, Numa, Nvme


class FlowFabric(Protocol):
    """What flows can be asked about: one machine, or several that a network joins."""

    @property
    def resources(self) -> Mapping[str, Resource]:
        """What flows share, by id."""

    def place(self, flow: Flow, flow_id: str) -> PlacedFlow:
        """Return how a flow goes.

        Raises
        ------
        ModelError
            If it names what is not there, or there is no way for it.
        """

    def among(self, placed: Mapping[int, PlacedFlow]) -> Mapping[int, PlacedFlow]:
        """Return flows as they are where only these run, by their place in the set."""

    def words(self, resource_id: str) -> str:
        """Return what people call a resource."""

    def unknown(self, resource_id: str) -> Missing:
        """Return why a resource limits nothing."""


class MachineFabric:
    """One machine.

    Parameters
    ----------
    machine : Machine
    calibration : CalibrationDocument, optional
        Of this machine.
    capacities : Capacities, optional
        In place of those that the machine and the calibration give.
    """

    def __init__(
        self,
        machine: Machine,
        calibration: CalibrationDocument | None = None,
        capacities: Capacities | None = None,
    ) -> None:
        self.machine = machine
        self.capacities = capacities or capacities_of(machine, calibration)
        self._site = Site(machine, self.capacities)

    @property
    def resources(self) -> Mapping[str, Resource]:
        """What flows share, by id."""
        return self.capacities.resources

    def place(self, flow: Flow, flow_id: str) -> PlacedFlow:
        """Return how a flow goes.

        Raises
        ------
        ModelError
            If it names what the machine does not have, or there is no way for it.
        """
        hosts = {end.host for end in (flow.source, flow.destination) if end.host is not None}
        if hosts:
            raise ModelError(
                f"{flow} names host {min(hosts)}, and this is one machine; leave out "
                f"h{min(hosts)}/, or describe a pod, as '2 x hgx-h100 : rail 400gb'."
            )
        source, destination = (
            resolve(self.machine, end) for end in (flow.source, flow.destination)
        )
        return placed_flow(self._site, Trip(flow_id, flow, source, destination))

    def among(self, placed: Mapping[int, PlacedFlow]) -> Mapping[int, PlacedFlow]:
        """Return the same flows: what one takes does not depend on others."""
        return placed

    def words(self, resource_id: str) -> str:
        """Return what people call a resource."""
        return self.capacities.words.get(resource_id, resource_id)

    def unknown(self, resource_id: str) -> Missing:
        """Return why a resource limits nothing."""
        found = self.capacities.unknown.get(resource_id)
        return found or Missing(subject=resource_id, fact="capacity", reason="nobody tells it")


def resolve(machine: Machine, end: End) -> AnyNode:
    """Return the node that an end names.

    Raises
    ------
    ModelError
        If there is none; the message tells which there are.
    """
    node = node_of(machine, end)
    if node is None:
        raise ModelError(f"This machine has no {end}; {_existing(machine, end)}.")
    return node


def _existing(machine: Machine, end: End) -> str:
    numas = [numa for numa in machine.all(Numa) if numa.memory_of is None]
    names = {
        "gpu": [str(index) for index in range(len(machine.all(Gpu)))],
        "nic": [nic.name for nic in in_pci_order(machine.all(Nic))],
        "nvme": [drive.name for drive in in_pci_order(machine.all(Nvme))],
        "host": sorted((str(numa.os_index) for numa in numas), key=int),
        "core": sorted((str(cpu) for numa in numas for cpu in numa.cpus), key=int),
    }[end.kind]
    if not names:
        return f"it has no {end.kind} at all"
    if len(names) == 1:
        return f"it has only {end.kind}:{names[0]}"
    if end.kind in ("host", "core") and int(names[-1]) - int(names[0]) >= len(names):
        return f"it has {', '.join(f'{end.kind}:{name}' for name in names)}"
    return f"it has {end.kind}:{names[0]} to {end.kind}:{names[-1]}"
