"""How the nodes of a machine are called on the page."""

from __future__ import annotations

from topoprobe.records.machine import (
    AnyNode,
    Gpu,
    Host,
    HostBridge,
    Nic,
    Numa,
    Nvme,
    Other,
    Package,
    PcieSwitch,
    PciNode,
)

_VENDORS = ("NVIDIA ", "Tesla ", "GeForce ", "AMD ", "Intel(R) ", "Intel ")


def kind_of(node: AnyNode) -> str:
    """Return the kind of a node, as documents write it."""
    return str(node.__struct_config__.tag)


def title_of(node: AnyNode) -> str:
    """Return the short name of a node: ``GPU 0``, ``mlx5_0``, ``Switch 15:00.0``."""
    if isinstance(node, Package):
        return f"Socket {node.os_index}"
    if isinstance(node, Numa):
        return f"NUMA node {node.os_index}"
    if isinstance(node, Gpu):
        return f"GPU {node.index}" if node.index is not None else without_vendor(model_of(node))
    if isinstance(node, Nic):
        ports = (port.verbs_device or port.net_interface or port.name for port in node.ports)
        return ", ".join(dict.fromkeys(ports)) or node.name
    if isinstance(node, Nvme):
        return ", ".join(node.block_devices) or node.name
    if isinstance(node, HostBridge) and node.pci_address:
        return f"Root complex {node.pci_address}"
    if isinstance(node, PcieSwitch) and node.pci_address:
        return f"Switch {node.pci_address.removeprefix('0000:')}"
    return node.name


def tip_of(node: AnyNode) -> str:
    """Return everything about a node that its box has no room for."""
    lines = [node.name]
    if not isinstance(node, Host | Package | Numa) and node.model not in (None, node.name):
        lines.append(str(node.model))
    if not isinstance(node, Host | Package | Numa):
        numa = "unknown" if node.numa_index is None else str(node.numa_index)
        ids = ":".join(part for part in (node.pci_vendor, node.pci_device) if part)
        lines.append(f"PCI {node.pci_address}" if node.pci_address else "no PCI address")
        lines.append(f"NUMA node {numa}")
        lines += [f"ids {ids}"] if ids else []
    if isinstance(node, Other) and node.role:
        lines.append(node.role)
    if isinstance(node, Numa) and node.distances:
        lines.append(f"distances {' '.join(map(str, node.distances))}")
    if isinstance(node, Gpu | Nic) and node.driver:
        lines.append(f"driver {node.driver}")
    return "\n".join(lines)


def model_of(node: PciNode) -> str:
    """Return the product's name, or what else the node is called."""
    return node.model or node.name


def without_vendor(name: str) -> str:
    """Drop the vendor from a product's name, which is long enough without it."""
    for vendor in _VENDORS:
        name = name.removeprefix(vendor)
    return name
