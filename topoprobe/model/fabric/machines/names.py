"""What reasons call the things of a machine: as flows name them."""

from __future__ import annotations

from topoprobe.machine.view import Machine
from topoprobe.machine.wording import name_of
from topoprobe.measure.ends import in_pci_order
from topoprobe.records.machine import Gpu, Nic, Numa, Nvme, Package


def called(machine: Machine, node_id: str) -> str:
    """Name a node as the flow grammar does, or as people do where that has no word for it."""
    node = machine.node(node_id)
    match node:
        case Gpu():
            return f"gpu:{in_pci_order(machine.all(Gpu)).index(node)}"
        case Nic() | Nvme():
            return f"{'nic' if isinstance(node, Nic) else 'nvme'}:{node.name}"
        case Numa():
            return f"host:{node.os_index}"
        case Package():
            return f"socket {node.os_index}"
        case _:
            return name_of(node)
