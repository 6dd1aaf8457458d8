"""Made-up machines: an empty one, a virtual machine and a server with GPUs."""

from __future__ import annotations

import math

from topoprobe.records.base import Missing
from topoprobe.records.machine import (
    AnyNode,
    Cache,
    Capability,
    Contradiction,
    Gpu,
    Host,
    HostBridge,
    Link,
    LinkKind,
    MachineDocument,
    Nic,
    NicPort,
    Numa,
    Nvme,
    NvSwitch,
    Other,
    Package,
    Partition,
    PcieSwitch,
)

from .estimates import TOOL

GEN4_X8 = Capability(bandwidth_bytes_per_s=15.75e9, transfers_per_s=16e9, num_lanes=8)
GEN4_X4 = Capability(bandwidth_bytes_per_s=7.88e9, transfers_per_s=16e9, num_lanes=4)
GEN4_X16 = Capability(bandwidth_bytes_per_s=31.5e9, transfers_per_s=16e9, num_lanes=16)
GEN5_X16 = Capability(bandwidth_bytes_per_s=63.0e9, transfers_per_s=32e9, num_lanes=16)
GEN1_X16 = Capability(bandwidth_bytes_per_s=4.0e9, transfers_per_s=2.5e9, num_lanes=16)
NVLINK4 = Capability(bandwidth_bytes_per_s=25e9)


def empty_machine() -> MachineDocument:
    """Return a host without anything in it."""
    return MachineDocument(
        tool=TOOL, origin="live", sources=("sysfs",), nodes=(Host(id="host", name="empty"),)
    )


def vm_machine(name: str = "build-vm") -> MachineDocument:
    """Return a virtual machine: flat PCI, no capabilities, NUMA nodes of devices unknown."""
    nodes: list[AnyNode] = [
        Host(
            id="host",
            name=name,
            operating_system="Debian GNU/Linux 12",
            is_virtual=True,
            virtualization="kvm",
            product="Standard PC (Q35)",
        ),
        Package(
            id="package:0",
            name="Intel(R) Xeon(R) Platinum 8488C",
            parent="host",
            os_index=0,
            num_cores=2,
            num_threads=2,
            cpus=(0, 1),
            base_clock_hz=2.4e9,
            instruction_sets=("avx2", "avx512f", "amx_tile"),
            caches=(
                Cache(level=1, type="data", size_bytes=48 << 10, num_instances=2),
                Cache(level=1, type="instruction", size_bytes=32 << 10, num_instances=2),
                Cache(level=2, type="unified", size_bytes=2 << 20, num_instances=2),
                Cache(level=3, type="unified", size_bytes=480 << 20, num_instances=1),
            ),
        ),
        Numa(
            id="numa:0",
            name="NUMA node 0",
            parent="package:0",
            os_index=0,
            memory_bytes=24 << 30,
            cpus=(0, 1),
            distances=(10,),
        ),
        HostBridge(id="pci0000:00", name="root complex", parent="host", pci_address="0000:00"),
        Nic(
            id="0000:00:03.0",
            name="Virtio network device",
            parent="pci0000:00",
            pci_address="0000:00:03.0",
            ports=(NicPort(name="eth0", net_interface="eth0"),),
        ),
        Nvme(
            id="0000:00:04.0",
            name="Virtio block device",
            parent="pci0000:00",
            pci_address="0000:00:04.0",
            block_devices=("vda",),
            size_bytes=64 << 30,
        ),
    ]
    nodes += [
        Other(
            id=f"0000:00:{slot:02x}.0",
            name=f"Virtio function {slot}",
            parent="pci0000:00",
            pci_address=f"0000:00:{slot:02x}.0",
        )
        for slot in (0, 1, 2, 5, 6)
    ]
    unknown = tuple(
        Missing(subject=node.id, fact=fact, reason=reason)
        for node in nodes[4:]
        for fact, reason in (
            ("link width and speed", "the function has no PCI Express capability"),
            ("NUMA node", "the kernel reports -1"),
        )
    )
    return MachineDocument(
        tool=TOOL,
        origin="live",
        sources=("sysfs",),
        captured_at="2026-11-20T17:40:00+00:00",
        nodes=tuple(nodes),
        unknown=unknown,
    )


def server_machine(
    num_gpus: int = 8,
    *,
    gpus_per_switch: int = 2,
    num_sockets: int = 2,
    fabric: str = "switch",
    name: str = "node gpu-a17",
) -> MachineDocument:
    """Return a GPU server: sockets, root complexes, switches, NICs and NVMe drives.

    `fabric` is ``switch`` (NVSwitches), ``mesh`` (every GPU with its neighbours) or ``none``.
    """
    nodes: list[AnyNode] = [Host(id="host", name=name, operating_system="Ubuntu 24.04 LTS")]
    links: list[Link] = []
    for socket in range(num_sockets):
        nodes.append(
            Package(
                id=f"package:{socket}",
                name="Xeon Platinum 8480C",
                parent="host",
                os_index=socket,
                num_cores=56,
                num_threads=112,
                base_clock_hz=2.0e9,
                caches=(
                    Cache(level=3, type="unified", size_bytes=105 << 20, num_instances=1),
                    Cache(level=2, type="unified", size_bytes=2 << 20, num_instances=56),
                    Cache(level=1, type="data", size_bytes=48 << 10, num_instances=56),
                ),
            )
        )
        nodes.append(
            Numa(
                id=f"numa:{socket}",
                name=f"NUMA node {socket}",
                parent=f"package:{socket}",
                os_index=socket,
                memory_bytes=1 << 40,
                distances=tuple(10 if other == socket else 21 for other in range(num_sockets)),
            )
        )
    links += [
        Link(
            id=f"upi:{a}-{b}",
            kind=LinkKind.INTER_SOCKET,
            a=f"package:{a}",
            b=f"package:{b}",
            wire=f"upi:{a}-{b}",
            count=3,
        )
        for a in range(num_sockets)
        for b in range(a + 1, num_sockets)
    ]
    num_switches = math.ceil(num_gpus / gpus_per_switch)
    for index in range(num_switches):
        socket = index * num_sockets // num_switches
        _add_switch(
            nodes,
            links,
            index,
            socket,
            range(index * gpus_per_switch, min((index + 1) * gpus_per_switch, num_gpus)),
        )
    _add_fabric(nodes, links, fabric, num_gpus)
    return MachineDocument(
        tool=TOOL,
        origin="synthetic",
        sources=("tests/reports/sample",),
        nodes=tuple(nodes),
        links=tuple(links),
        contradictions=(
            Contradiction(
                subject="gpu:1",
                fact="NUMA node",
                readings=("sysfs says 0", "NVML says 1"),
                meaning="one of them is wrong; placement by NUMA node is unsafe for this GPU.",
            ),
        ),
    )


def _add_switch(
    nodes: list[AnyNode], links: list[Link], index: int, socket: int, gpus: range
) -> None:
    bus = f"0000:{0x15 + 0x20 * index:02x}" if index < 7 else f"0001:{0x15 + 8 * index:02x}"
    root, switch = f"root:{index}", f"switch:{index}"
    nodes.append(HostBridge(id=root, name="root complex", parent=f"numa:{socket}", pci_address=bus))
    nodes.append(PcieSwitch(id=switch, name="PEX890xx", parent=root, pci_address=f"{bus}:00.0"))
    links.append(_pcie(root, switch, GEN5_X16))
    for gpu in gpus:
        nodes.append(
            Gpu(
                id=f"gpu:{gpu}",
                name="NVIDIA H100 80GB HBM3",
                parent=root,
                index=gpu,
                pci_address=f"0000:{0x18 + gpu:02x}:00.0",
                memory_bytes=80 << 30,
                numa_index=socket,
                driver="570.86",
            )
        )
        links.append(_pcie(switch, f"gpu:{gpu}", GEN5_X16, GEN1_X16))
        nodes.append(
            Nic(
                id=f"nic:{gpu}",
                name="ConnectX-7",
                parent=root,
                pci_address=f"0000:{0x60 + gpu:02x}:00.0",
                ports=(
                    NicPort(name=f"mlx5_{gpu}", verbs_device=f"mlx5_{gpu}", rate_bits_per_s=400e9),
                ),
            )
        )
        narrow = gpu == 3
        links.append(_pcie(switch, f"nic:{gpu}", GEN4_X16, GEN4_X8 if narrow else GEN4_X16))
    nodes.append(
        Nvme(
            id=f"nvme:{index}",
            name=f"nvme{index}n1",
            model="PM9A3",
            parent=switch,
            block_devices=(f"nvme{index}n1",),
            size_bytes=3_840_755_982_336,
        )
    )
    links.append(_pcie(switch, f"nvme:{index}", GEN4_X4))
    nodes.append(
        Partition(
            id=f"nic:{gpus[0]}.vf",
            name="virtual function",
            parent=f"nic:{gpus[0]}",
            partition_kind="virtual_function",
        )
    )


def _pcie(a: str, b: str, nominal: Capability, current: Capability | None = None) -> Link:
    return Link(
        id=f"{a}-{b}",
        kind=LinkKind.PCIE,
        a=a,
        b=b,
        wire=f"{a}-{b}",
        nominal=nominal,
        current=current or nominal,
    )


def _add_fabric(nodes: list[AnyNode], links: list[Link], fabric: str, num_gpus: int) -> None:
    if fabric == "switch":
        nodes += [
            NvSwitch(id=f"nvswitch:{one}", name="NVSwitch", parent="host") for one in range(4)
        ]
        links += [
            Link(
                id=f"nvlink:{gpu}-{one}",
                kind=LinkKind.NVLINK,
                a=f"gpu:{gpu}",
                b=f"nvswitch:{one}",
                wire=f"nvlink:{gpu}-{one}",
                count=count,
                nominal=NVLINK4,
            )
            for gpu in range(num_gpus)
            for one, count in enumerate((5, 4, 4, 5))
        ]
    elif fabric == "mesh":
        links += [
            Link(
                id=f"nvlink:{a}-{b}",
                kind=LinkKind.NVLINK,
                a=f"gpu:{a}",
                b=f"gpu:{b}",
                wire=f"nvlink:{a}-{b}",
                count=1 + (a + b) % 2,
                nominal=NVLINK4,
            )
            for a in range(num_gpus)
            for b in range(a + 1, num_gpus)
            if a // 4 == b // 4 or a + 4 == b
        ]
