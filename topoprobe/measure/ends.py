"""The ends of flows and the nodes of a machine: what a name means here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from topoprobe.errors import EnvironmentMissing, UsageError
from topoprobe.machine.view import Machine
from topoprobe.measure.flows import End, FlowSet
from topoprobe.records.machine import AnyNode, Gpu, Nic, Numa, Nvme, PciNode

P = TypeVar("P", bound=PciNode)

# Of more names than this, the first and the last are told.
_MOST_NAMES = 8


def absent(name: str, kind: str, known: Sequence[str]) -> UsageError | EnvironmentMissing:
    """Return the refusal of a name that the machine does not have.

    It is bad input where there are others of the kind, and the machine lacks what is needed where
    there are none.

    Parameters
    ----------
    name : str
        As given, such as ``gpu:7``.
    kind : str
        What it should have been, such as ``GPU``.
    known : sequence of str
        What there is of the kind.
    """
    if len(known) > _MOST_NAMES:
        known = (*known[:3], "...", known[-1])
    if not known:
        return EnvironmentMissing(f"{name} is no {kind} of this machine; it has none.")
    return UsageError(f"{name} is no {kind} of this machine; there is {', '.join(known)}.")


def addressed(machine: Machine, flow_set: FlowSet) -> FlowSet:
    """Return a set with every ``gpu:I`` by its PCI address, as documents have it.

    An index that there is not stays as it is.
    """
    return FlowSet(
        tuple(
            replace(
                flow,
                source=_addressed(machine, flow.source),
                destination=_addressed(machine, flow.destination),
            )
            for flow in flow_set.flows
        )
    )


def node_of(machine: Machine, end: End) -> AnyNode | None:
    """Return the node of the machine that an end names, None where there is none.

    A NIC or drive may be named by its number in the order of PCI addresses, where none has it for
    a name. Which machine an end is of is not looked at.
    """
    if end.kind == "gpu":
        gpus = in_pci_order(machine.all(Gpu))
        if end.index is not None:
            return gpus[end.index] if end.index < len(gpus) else None
        return next((gpu for gpu in gpus if gpu.pci_address == end.name), None)
    if end.kind == "nic":
        nics = in_pci_order(machine.all(Nic))
        named = (nic for nic in nics if end.name in _names_of_nic(nic))
        return next(named, None) or _numbered(nics, end.name)
    if end.kind == "nvme":
        drives = in_pci_order(machine.all(Nvme))
        called = (one for one in drives if end.name in (one.name, *one.block_devices))
        return next(called, None) or _numbered(drives, end.name)
    numas = [numa for numa in machine.all(Numa) if numa.memory_of is None]
    if end.kind == "host":
        return next((numa for numa in numas if numa.os_index == end.index), None)
    return next((numa for numa in numas if end.index in numa.cpus), None)


def in_pci_order(nodes: Iterable[P]) -> list[P]:
    """Return devices as flows count them: by PCI address."""
    return sorted(nodes, key=lambda node: node.pci_address or "")


def _numbered(nodes: list[P], name: str) -> P | None:
    if name.isascii() and name.isdecimal() and int(name) < len(nodes):
        return nodes[int(name)]
    return None


def _names_of_nic(nic: Nic) -> set[str | None]:
    ports = [(port.name, port.net_interface, port.verbs_device) for port in nic.ports]
    return {nic.name, *(name for names in ports for name in names)}


def _addressed(machine: Machine, end: End) -> End:
    node = node_of(machine, end) if end.kind == "gpu" else None
    if isinstance(node, Gpu) and node.pci_address is not None:
        return End("gpu", node.pci_address, end.host)
    return end
