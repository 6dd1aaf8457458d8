"""The machine document: nodes, links, path classes, and what is unknown or contradictory.

The PCI tree is folded to what people talk about. A host bridge (root complex) owns its root ports,
a PCIe switch is one node that owns its upstream and downstream ports, and a link joins two nodes
through two ports. Containment (host, package, NUMA node, host bridge) is `Node.parent`; a physical
connection is a `Link`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from topoprobe.records.base import Missing, Record, Tool


class PortRole(StrEnum):
    """Which side of a PCIe link a bridge function is; `BRIDGE` leads to a conventional PCI bus."""

    ROOT = "root"
    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"
    BRIDGE = "bridge"
    UNKNOWN = "unknown"


class LinkKind(StrEnum):
    """The technology of a physical connection."""

    PCIE = "pcie"
    NVLINK = "nvlink"
    XGMI = "xgmi"
    C2C = "c2c"
    XELINK = "xelink"
    INTER_SOCKET = "inter_socket"
    NETWORK = "network"
    OTHER = "other"


class Capability(Record, frozen=True, kw_only=True):
    """What a port or a link can carry.

    Attributes
    ----------
    bandwidth_bytes_per_s : float or None
        One direction, after line encoding, before packet headers.
    transfers_per_s : float or None
        Signalling rate of a lane (8 GT/s is 8e9).
    num_lanes : int or None
        Lanes of a PCIe link.
    """

    bandwidth_bytes_per_s: float | None = None
    transfers_per_s: float | None = None
    num_lanes: int | None = None


class Port(Record, frozen=True, kw_only=True):
    """One PCI bridge function: a root port, or a port of a switch.

    Attributes
    ----------
    access_control : tuple of str or None
        The ACS controls that are switched on, by lspci's names (``SrcValid``, ``ReqRedir``,
        ``CmpltRedir``, ``UpstreamFwd``…); empty if the port has ACS and all are off, None if it
        has none or nobody could read it.
    """

    address: str
    role: PortRole
    maximum: Capability | None = None
    current: Capability | None = None
    access_control: tuple[str, ...] | None = None


class Cache(Record, frozen=True, kw_only=True):
    """One level of CPU cache; `num_instances` of them in the package."""

    level: int
    type: Literal["data", "instruction", "unified"]
    size_bytes: int
    num_instances: int


class NicPort(Record, frozen=True, kw_only=True):
    """One network port of a NIC function, by its Linux interface or verbs names."""

    name: str
    net_interface: str | None = None
    verbs_device: str | None = None
    link_layer: str | None = None
    state: str | None = None
    rate_bits_per_s: float | None = None


class Node(Record, frozen=True, kw_only=True, tag_field="kind"):
    """One thing in the machine. `parent` is the node that contains it, None for the host."""

    id: str
    name: str
    parent: str | None = None


class Host(Node, frozen=True, kw_only=True, tag="host"):
    """The machine itself (one operating system).

    Attributes
    ----------
    kernel_options : tuple of str
        Those of the kernel's command line that concern PCI, IOMMU and NUMA.
    iommu : str or None
        How the IOMMU treats devices: ``off``, ``identity`` (passthrough), or ``translated``.
    allowed_cpus, allowed_numas : tuple of int
        What the process that read the machine may use (affinity, cgroup); empty if not known.
    """

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


class Package(Node, frozen=True, kw_only=True, tag="package"):
    """A CPU socket."""

    os_index: int
    vendor: str | None = None
    architecture: str | None = None
    num_cores: int | None = None
    num_threads: int | None = None
    cpus: tuple[int, ...] = ()
    base_clock_hz: float | None = None
    instruction_sets: tuple[str, ...] = ()
    caches: tuple[Cache, ...] = ()


class Numa(Node, frozen=True, kw_only=True, tag="numa"):
    """A NUMA node: memory and the CPUs near it. `memory_of` is the GPU whose memory it is.

    `num_cpus` counts the logical CPUs where no source says which they are.
    """

    os_index: int
    memory_bytes: int | None = None
    num_cpus: int | None = None
    cpus: tuple[int, ...] = ()
    distances: tuple[int, ...] = ()
    memory_of: str | None = None


class PciNode(Node, frozen=True, kw_only=True):
    """What every node with a PCI function has; addresses are ``dddd:bb:dd.f`` in lower case.

    `model` is the product's name; `name` is what people and flows call the node.

    Attributes
    ----------
    power_state : str or None
        Of the function when it was read, as ``D0`` or ``D3hot``; in D3 its link tells nothing.
    iommu_group : int or None
        Functions of one group are not kept apart from each other.
    max_payload_bytes, max_read_request_bytes : int or None
        As set in the function's device control register: what its packets carry at most.
    """

    model: str | None = None
    pci_address: str | None = None
    pci_class: str | None = None
    pci_vendor: str | None = None
    pci_device: str | None = None
    numa_index: int | None = None
    cpus: tuple[int, ...] = ()
    power_state: str | None = None
    slot: str | None = None
    iommu_group: int | None = None
    max_payload_bytes: int | None = None
    max_read_request_bytes: int | None = None


class HostBridge(PciNode, frozen=True, kw_only=True, tag="host_bridge"):
    """A root complex; `pci_address` is ``dddd:bb``, its first bus."""

    ports: tuple[Port, ...] = ()


class PcieSwitch(PciNode, frozen=True, kw_only=True, tag="pcie_switch"):
    """A PCIe switch (or bridge below a root port); `pci_address` is its upstream port."""

    ports: tuple[Port, ...] = ()


class Fabric(Record, frozen=True, kw_only=True):
    """A GPU's place in an NVLink fabric.

    GPUs of one cluster and clique reach each other over NVLink, also between machines. A fabric
    inside one box has no cluster: `cluster_uuid` is None there. `status` is how joining it ended,
    ``success`` or the driver's words for what failed.
    """

    state: str
    status: str | None = None
    cluster_uuid: str | None = None
    clique_id: int | None = None
    health: str | None = None


class Health(Record, frozen=True, kw_only=True):
    """What a GPU's driver says of its health; None for what it did not tell.

    Attributes
    ----------
    num_uncorrectable_errors, num_lifetime_uncorrectable_errors : int or None
        Memory errors that ECC found and could not correct: since the driver was loaded, and ever.
    is_remapping_pending, has_remapping_failed : bool or None
        Whether rows of its memory wait for a reset to be replaced by spare ones, and whether
        replacing one has failed.
    slowdowns : tuple of str or None
        What lowered its clocks when it was read, without work or limits that are as they should
        be: ``hw slowdown``, ``hw thermal slowdown``, ``hw power brake slowdown``,
        ``sw thermal slowdown``; empty if nothing did.
    recovery_action : str or None
        What the driver asks for, in its own words (``gpu reset``), or ``none``.
    """

    num_uncorrectable_errors: int | None = None
    num_lifetime_uncorrectable_errors: int | None = None
    is_remapping_pending: bool | None = None
    has_remapping_failed: bool | None = None
    slowdowns: tuple[str, ...] | None = None
    recovery_action: str | None = None


class Gpu(PciNode, frozen=True, kw_only=True, tag="gpu"):
    """A GPU or other compute accelerator, one per PCI device.

    Attributes
    ----------
    bar1_bytes : int or None
        The window through which others reach its memory.
    max_bar1_bytes : int or None
        The largest window that it could be given (resizable BAR).
    architecture : str or None
        What code for it is compiled for, by AMD's names (``gfx90a``).
    hive_id : str or None
        GPUs of one xGMI hive reach each other over xGMI.
    performance_state : str or None
        ``P0`` (full clocks) to ``P15``; an idle GPU rests its link too.
    is_idle : bool or None
        Whether nothing ran on it when it was read; some GPUs rest in P0.
    memory_numa_index : int or None
        The NUMA node that its own memory is.
    module_id : int or None
        Its place on the board, which may differ from the order of PCI addresses.
    partition_mode : str or None
        How it is divided, as ``SPX/NPS1`` or ``mig``.
    num_pcie_replays : int or None
        Packets sent again since the driver was loaded.
    max_nvlinks : int or None
        NVLinks that it has, whether they are up or not.
    chassis_slot, chassis_tray : int or None
        Where its compute tray sits in the rack's chassis.
    """

    index: int | None = None
    uuid: str | None = None
    memory_bytes: int | None = None
    bar1_bytes: int | None = None
    compute_capability: str | None = None
    architecture: str | None = None
    hive_id: str | None = None
    driver: str | None = None
    num_nvlinks: int | None = None
    is_mig_enabled: bool | None = None
    max_bar1_bytes: int | None = None
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


class Partition(PciNode, frozen=True, kw_only=True, tag="partition"):
    """A slice of a device: a MIG instance, an SR-IOV virtual function, an MI300 partition."""

    partition_kind: str | None = None


class Nic(PciNode, frozen=True, kw_only=True, tag="nic"):
    """One PCI function with network ports; a bond is several that Linux shows as one."""

    ports: tuple[NicPort, ...] = ()
    is_bond: bool | None = None
    driver: str | None = None


class Nvme(PciNode, frozen=True, kw_only=True, tag="nvme"):
    """An NVMe drive, or another PCI function that carries block devices."""

    block_devices: tuple[str, ...] = ()
    size_bytes: int | None = None


class NvSwitch(PciNode, frozen=True, kw_only=True, tag="nvswitch"):
    """An NVSwitch."""


class CxlMemory(PciNode, frozen=True, kw_only=True, tag="cxl_memory"):
    """A CXL memory expander."""

    memory_bytes: int | None = None


class Other(PciNode, frozen=True, kw_only=True, tag="other"):
    """A PCI function of no interest to a scheduler, kept so that nothing is hidden."""

    role: str | None = None


AnyNode = (
    Host | Package | Numa | HostBridge | PcieSwitch | Gpu | Partition | Nic | Nvme | NvSwitch
    | CxlMemory | Other
)  # fmt: skip


class Link(Record, frozen=True, kw_only=True):
    """A physical connection between two nodes.

    Attributes
    ----------
    a, b : str
        Node ids; for PCIe `a` is the end nearer to the CPU.
    a_port, b_port : str or None
        Addresses of the ports at each end, where known.
    wire : str
        Links with the same wire are one physical connection seen by several functions.
    count : int
        Parallel lanes of the same kind bundled (NVLinks between two nodes).
    a_capability, b_capability : Capability or None
        What each end's port could do.
    nominal : Capability or None
        The lesser of both ends; None where neither is known.
    current : Capability or None
        As negotiated when read; an idle GPU shows Gen1 here.
    may_be_maximum : bool
        Whether `current` may be what GPU and system can do instead, because the source does not
        tell the two apart.
    """

    id: str
    kind: LinkKind
    a: str
    b: str
    a_port: str | None = None
    b_port: str | None = None
    wire: str
    count: int = 1
    a_capability: Capability | None = None
    b_capability: Capability | None = None
    nominal: Capability | None = None
    current: Capability | None = None
    may_be_maximum: bool = False


class Pair(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The path class between two endpoints, in NVIDIA's terms: X NV# C2C PIX PXB PHB NODE SYS.

    None with a reason in the document's `unknown` list where the tree does not tell. `pcie_class`
    is the class of the way over PCIe, also where a direct link makes it unnecessary. `peer_status`
    is what the driver says of peer access: ``OK``, or NVIDIA's word for why not (``CNS``, ``GNS``,
    ``TNS``, ``NS``, ``DR``, ``U``).
    """

    a: str
    b: str
    path_class: str | None = msgspec.field(name="class")
    pcie_class: str | None = None
    peer_status: str | None = None


class Contradiction(Record, frozen=True, kw_only=True):
    """Two readings of one fact that cannot both be true."""

    subject: str
    fact: str
    readings: tuple[str, ...]
    meaning: str


class Provenance(Record, frozen=True, kw_only=True):
    """Which source gave which facts of a node or link."""

    subject: str
    source: str
    facts: tuple[str, ...]


class MachineDocument(
    Record, frozen=True, kw_only=True, tag_field="schema", tag="topoprobe.machine"
):
    """What is wired where, who said so, and what nobody said."""

    version: int = 1
    tool: Tool
    origin: Literal["live", "recorded", "synthetic"]
    sources: tuple[str, ...]
    captured_at: str | None = None
    nodes: tuple[AnyNode, ...]
    links: tuple[Link, ...] = ()
    pairs: tuple[Pair, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
    unknown: tuple[Missing, ...] = ()
    provenance: tuple[Provenance, ...] = ()
