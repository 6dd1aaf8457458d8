"""The joined facts of a machine with every PCI function told apart and placed in the tree."""

from __future__ import annotations

from collections.abc import Sequence

from topoprobe.machine.devices import Kind, kind_of
from topoprobe.machine.facts import Facts, PciFact, RootFact
from topoprobe.machine.folding import PciTree

# Endpoints whose place and link matter to a scheduler: what is unknown about them is said.
ENDPOINTS = (Kind.GPU, Kind.NIC, Kind.NVME)
LINKED = (*ENDPOINTS, Kind.NVSWITCH, Kind.CXL_MEMORY)
# The one NVSwitch that stands for all whose addresses no source tells: drivers and texts hide them.
FABRIC = "nvswitch@fabric"


class Inventory:
    """Facts by address, with kinds, node ids and places.

    Parameters
    ----------
    facts : Facts
        Joined facts of one machine.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.functions = {f.address: f for f in facts.functions}
        storage = {s.address for s in facts.storage if s.block_devices}
        self.kinds = {
            f.address: kind_of(f, has_storage=f.address in storage) for f in facts.functions
        }
        bridges = {a for a, kind in self.kinds.items() if kind is Kind.BRIDGE}
        self.tree = PciTree(facts.functions, bridges)
        self.roots = {f.root: RootFact(key=f.root) for f in facts.functions if f.root}
        self.roots.update({root.key: root for root in facts.roots})
        self._told_numas = {n.os_index for n in facts.numas}
        self._drivers = {gpu.subject: gpu for gpu in facts.gpus}
        self.gpus_without_address = tuple(
            gpu.subject for gpu in facts.gpus if gpu.subject.startswith("gpu:")
        )

    def of(self, kind: Kind) -> Sequence[PciFact]:
        """Return the functions of one kind, in order of their addresses."""
        return [f for f in self.facts.functions if self.kinds[f.address] is kind]

    def node_id(self, subject: str) -> str:
        """Return the node id of a PCI address; other subjects are their own ids."""
        kind = self.kinds.get(subject)
        if kind is None:
            return subject
        if kind is Kind.BRIDGE:
            owner = self.tree.owner(self.functions[subject])
            return owner.node_id if owner else f"pcie_switch@{subject}"
        return f"{kind}@{subject}"

    def above(self, function: PciFact) -> str:
        """Return the id of the node that an endpoint hangs on, as near as it is known.

        Without a tree that is its NUMA node, and else the host.
        """
        owner = self.tree.above(function)
        return owner.node_id if owner else self.numa_id(self.numa_index(function)) or "host"

    def numa_index(self, function: PciFact) -> int | None:
        """Return the NUMA node of a function: told, by its CPUs, or by its host bridge."""
        if function.numa_index is not None:
            return function.numa_index
        driver = self._drivers.get(function.address)
        if driver is not None and driver.numa_index is not None:
            return driver.numa_index
        by_cpus = self.numa_of_cpus(function)
        if by_cpus is not None:
            return by_cpus
        return self.roots[function.root].numa_index if function.root else None

    def numa_of_cpus(self, function: PciFact) -> int | None:
        """Find the NUMA node with exactly the CPUs that a device is near to, if there are several.

        Firmware that leaves the node out may still tell the CPUs.
        """
        numas = self.facts.numas
        same = [n.os_index for n in numas if n.cpus and n.cpus == function.cpus]
        return same[0] if len(same) == 1 and len(numas) > 1 else None

    def numa_of_root(self, root: RootFact) -> int | None:
        """Return the NUMA node of a host bridge: told, or what all its devices agree on."""
        if root.numa_index is not None:
            return root.numa_index
        told = {f.numa_index for f in self.facts.functions if f.root == root.key}
        told.discard(None)
        return told.pop() if len(told) == 1 else None

    def numa_id(self, index: int | None) -> str | None:
        """Return the node id of a NUMA node, or None if no source tells of it."""
        return f"numa:{index}" if index in self._told_numas else None

    def cpus(self, function: PciFact) -> tuple[int, ...]:
        """Return the CPUs near a function: told, of its host bridge, or of its NUMA node."""
        if function.cpus:
            return function.cpus
        driver = self._drivers.get(function.address)
        if driver is not None and driver.cpus:
            return driver.cpus
        if function.root and self.roots[function.root].cpus:
            return self.roots[function.root].cpus
        index = self.numa_index(function)
        return next((n.cpus for n in self.facts.numas if n.os_index == index), ())
