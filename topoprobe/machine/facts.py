"""Partial facts about a machine: what one source saw, before it is joined with the others.

A field that a source does not know is None or empty. Facts are joined by PCI address, os index or
host bridge, field by field, in the order of the sources (`joining`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from topoprobe.records.base import Missing
from topoprobe.records.machine import Cache, Capability, Contradiction, LinkKind, NicPort, PortRole


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all partial facts."""


class HostFact(Fact, frozen=True, kw_only=True):
    """The machine as a whole."""

    name: str | None = None
    operating_system: str | None = None
    product: str | None = None
    is_virtual: bool | None = None
    virtualization: str | None = None
    memory_bytes: int | None = None


class PackageFact(Fact, frozen=True, kw_only=True):
    """A CPU socket."""

    os_index: int
    name: str | None = None
    vendor: str | None = None
    architecture: str | None = None
    num_cores: int | None = None
    num_threads: int | None = None
    cpus: tuple[int, ...] = ()
    base_clock_hz: float | None = None
    instruction_sets: tuple[str, ...] = ()
    caches: tuple[Cache, ...] = ()


class NumaFact(Fact, frozen=True, kw_only=True):
    """A NUMA node; `name` says what else is known of it, such as its processor."""

    os_index: int
    name: str | None = None
    memory_bytes: int | None = None
    cpus: tuple[int, ...] = ()
    distances: tuple[int, ...] = ()


class RootFact(Fact, frozen=True, kw_only=True):
    """A host bridge. `key` is its domain and first bus, or a source's own name for it."""

    key: str
    name: str | None = None
    numa_index: int | None = None
    cpus: tuple[int, ...] = ()


class PciFact(Fact, frozen=True, kw_only=True):
    """A PCI function.

    Attributes
    ----------
    root : str or None
        Key of the host bridge above it.
    parent : str or None
        Address of the bridge function directly above it; None below a host bridge.
    maximum, current : Capability or None
        Of the function's own port (for a bridge: of the link that its `role` says).
    nominal : Capability or None
        Of the link to what is above it, where a source gives only that.
    kind : str or None
        What it is, where the source says so in words and its class does not tell.
    has_interface : bool or None
        Whether it carries a network interface; None where the source lists none at all.
    physical_function : str or None
        The function that this one is a virtual function of.
    """

    address: str
    root: str | None = None
    parent: str | None = None
    class_code: str | None = None
    vendor: str | None = None
    device: str | None = None
    name: str | None = None
    role: PortRole | None = None
    maximum: Capability | None = None
    current: Capability | None = None
    nominal: Capability | None = None
    numa_index: int | None = None
    cpus: tuple[int, ...] = ()
    kind: Literal["gpu", "nvswitch"] | None = None
    has_interface: bool | None = None
    driver: str | None = None
    physical_function: str | None = None


class NicFact(Fact, frozen=True, kw_only=True):
    """The network ports of one function; without an address the function is unknown."""

    key: str
    address: str | None = None
    ports: tuple[NicPort, ...] = ()


class StorageFact(Fact, frozen=True, kw_only=True):
    """The block devices of one function."""

    address: str
    block_devices: tuple[str, ...] = ()
    size_bytes: int | None = None


class MemoryDeviceFact(Fact, frozen=True, kw_only=True):
    """A CXL memory expander."""

    address: str
    memory_bytes: int | None = None


class GpuFact(Fact, frozen=True, kw_only=True):
    """What a driver says of a GPU."""

    address: str
    name: str | None = None
    uuid: str | None = None
    memory_bytes: int | None = None
    bar1_bytes: int | None = None
    compute_capability: str | None = None
    driver: str | None = None
    num_nvlinks: int | None = None
    is_mig_enabled: bool | None = None


class PartitionFact(Fact, frozen=True, kw_only=True):
    """A slice of a GPU; `key` is unique on its device."""

    key: str
    address: str
    name: str
    partition_kind: str


class PeerFact(Fact, frozen=True, kw_only=True):
    """A bundle of links from a GPU to another device, to a CPU, or to an NVSwitch.

    Attributes
    ----------
    a : str
        Address of the GPU.
    b : str or None
        Address of the other end; None for an NVSwitch or CPU whose address is not told.
    b_kind : str
        What the other end is.
    b_numa_index : int or None
        NUMA node of the CPU at the other end.
    bandwidth_bytes_per_s : float or None
        Nominal, one direction, all links of the bundle together.
    """

    a: str
    b: str | None = None
    b_kind: Literal["gpu", "nvswitch", "cpu"]
    b_numa_index: int | None = None
    kind: LinkKind
    count: int = 1
    bandwidth_bytes_per_s: float | None = None


class Facts(Fact, frozen=True, kw_only=True):
    """Everything that one source saw.

    Attributes
    ----------
    source : str
        Its name, as in ``sysfs`` or ``nccl-xml ndv4-topo.xml``.
    tree : str
        ``full`` if it gives every bridge of the PCI tree, ``switches`` if only switches (NCCL),
        ``none`` if it knows nothing of the tree.
    unknown : tuple of Missing
        What it tried to find out and could not; `subject` is an address or ``host``.
    contradictions : tuple of Contradiction
        What it saw that cannot be; `subject` is an address or ``host``.
    """

    source: str
    tree: Literal["full", "switches", "none"] = "none"
    host: HostFact | None = None
    packages: tuple[PackageFact, ...] = ()
    numas: tuple[NumaFact, ...] = ()
    roots: tuple[RootFact, ...] = ()
    functions: tuple[PciFact, ...] = ()
    nics: tuple[NicFact, ...] = ()
    storage: tuple[StorageFact, ...] = ()
    memory_devices: tuple[MemoryDeviceFact, ...] = ()
    gpus: tuple[GpuFact, ...] = ()
    partitions: tuple[PartitionFact, ...] = ()
    peers: tuple[PeerFact, ...] = ()
    unknown: tuple[Missing, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
