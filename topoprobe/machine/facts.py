"""Partial facts about a machine: what one source saw, before it is joined with the others.

A field that a source does not know is None or empty. Facts are joined by PCI address, os index or
host bridge, field by field, in the order of the sources (`joining`).

What a fact is about is named by its *subject*: a PCI address, or, where a source knows no
addresses, ``gpu:I`` with the driver's number or ``nic:NAME``. `identities` finds the addresses of
such subjects in the other sources.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from topoprobe.records.base import Missing
from topoprobe.records.machine import (
    Cache,
    Capability,
    Contradiction,
    Fabric,
    Health,
    LinkKind,
    NicPort,
    PortRole,
)


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
    is_container: bool | None = None
    kernel_options: tuple[str, ...] = ()
    iommu: str | None = None
    allowed_cpus: tuple[int, ...] = ()
    allowed_numas: tuple[int, ...] = ()


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
    """A NUMA node; `name` says what else is known of it, such as its processor.

    `memory_of` is the subject of the GPU whose own memory it is; `num_cpus` is given where a source
    counts the logical CPUs and does not say which they are.
    """

    os_index: int
    name: str | None = None
    memory_bytes: int | None = None
    num_cpus: int | None = None
    cpus: tuple[int, ...] = ()
    distances: tuple[int, ...] = ()
    memory_of: str | None = None


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
    current_or_maximum : Capability or None
        Of the function's own port, where a source does not say which of the two it is.
    kind : str or None
        What it is, where the source says so in words and its class does not tell.
    has_interface : bool or None
        Whether it carries a network interface; None where the source lists none at all.
    physical_function : str or None
        The function that this one is a virtual function of.
    access_control : tuple of str or None
        ACS controls that are on, see `records.machine.Port`.
    bar_bytes, max_bar_bytes : int or None
        The largest memory window of the function, and the largest that it supports (resizable
        BAR). Windows of virtual functions do not count.
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
    current_or_maximum: Capability | None = None
    numa_index: int | None = None
    cpus: tuple[int, ...] = ()
    kind: Literal["gpu", "nvswitch"] | None = None
    has_interface: bool | None = None
    driver: str | None = None
    physical_function: str | None = None
    power_state: str | None = None
    slot: str | None = None
    iommu_group: int | None = None
    access_control: tuple[str, ...] | None = None
    max_payload_bytes: int | None = None
    max_read_request_bytes: int | None = None
    bar_bytes: int | None = None
    max_bar_bytes: int | None = None


class NicFact(Fact, frozen=True, kw_only=True):
    """The network ports of one function; without an address the function is unknown."""

    key: str
    address: str | None = None
    model: str | None = None
    is_bond: bool | None = None
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
    """What a driver says of a GPU; place and CPUs are those of the CPU side."""

    subject: str
    name: str | None = None
    numa_index: int | None = None
    cpus: tuple[int, ...] = ()
    uuid: str | None = None
    memory_bytes: int | None = None
    bar1_bytes: int | None = None
    compute_capability: str | None = None
    architecture: str | None = None
    hive_id: str | None = None
    driver: str | None = None
    num_nvlinks: int | None = None
    is_mig_enabled: bool | None = None
    performance_state: str | None = None
    memory_numa_index: int | None = None
    module_id: int | None = None
    partition_mode: str | None = None
    virtualization: str | None = None
    addressing_mode: str | None = None
    num_pcie_replays: int | None = None
    fabric: Fabric | None = None
    max_nvlinks: int | None = None
    chassis_slot: int | None = None
    chassis_tray: int | None = None
    is_idle: bool | None = None
    health: Health | None = None


class PartitionFact(Fact, frozen=True, kw_only=True):
    """A slice of a GPU; `key` is unique on its device."""

    key: str
    subject: str
    name: str
    partition_kind: str


class PeerFact(Fact, frozen=True, kw_only=True):
    """A bundle of links from a GPU to another device, to a CPU, or to an NVSwitch.

    Attributes
    ----------
    a : str
        Subject of the GPU.
    b : str or None
        Subject of the other end; None for an NVSwitch or CPU whose address is not told.
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


class PairFact(Fact, frozen=True, kw_only=True):
    """What a source says of two subjects together, each unordered pair once.

    Attributes
    ----------
    path_class : str or None
        X, NV#, C2C, PIX, PXB, PHB, NODE or SYS.
    pcie_class : str or None
        The same of the way over PCIe, from a source that looks at nothing else.
    peer_status : str or None
        See `records.machine.Pair`.
    """

    a: str
    b: str
    path_class: str | None = None
    pcie_class: str | None = None
    peer_status: str | None = None


class Facts(Fact, frozen=True, kw_only=True):
    """Everything that one source saw.

    Attributes
    ----------
    source : str
        Its name, as in ``sysfs`` or ``nccl-xml ndv4-topo.xml``.
    tree : str
        ``full`` if it gives every bridge of the PCI tree, ``switches`` if only switches (NCCL),
        ``none`` if it knows nothing of the tree.
    are_peers_inferred : bool
        Whether `peers` are concluded from something else (a matrix of classes), so that a source
        that was told them goes first.
    unknown : tuple of Missing
        What it tried to find out and could not; `subject` is a fact's subject or ``host``.
    contradictions : tuple of Contradiction
        What it saw that cannot be; `subject` is a fact's subject or ``host``.
    captured_at : str or None
        When the machine was recorded (ISO 8601), where the source tells.
    """

    source: str
    captured_at: str | None = None
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
    are_peers_inferred: bool = False
    pairs: tuple[PairFact, ...] = ()
    unknown: tuple[Missing, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
