"""Drawing a machine as an indented tree, for terminals."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.addresses import format_cpu_list
from topoprobe.machine.pcie import describe
from topoprobe.machine.table import clip
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import name_of
from topoprobe.records.machine import (
    AnyNode,
    Capability,
    CxlMemory,
    Gpu,
    Host,
    HostBridge,
    Nic,
    NicPort,
    Numa,
    Nvme,
    NvSwitch,
    Other,
    Package,
    Partition,
    PcieSwitch,
    PciNode,
)
from topoprobe.units import format_bytes, format_rate

_DOT = " · "


def draw_tree(machine: Machine, width: int) -> str:
    """Draw what contains what, one line per node.

    Chip set and virtual functions are counted, not listed, and so are bridges with nothing else
    below them.

    Parameters
    ----------
    machine : Machine
        The machine.
    width : int
        Columns of the terminal; longer lines are cut.
    """
    lines = []
    host = machine.host
    if host is not None:
        lines.append(clip(_describe(machine, host), width))
        lines.extend(clip(line, width) for line in _below(machine, host, ""))
    return "\n".join(lines)


def _below(machine: Machine, node: AnyNode, indent: str) -> Iterator[str]:
    shown, num_hidden, num_virtual = [], 0, 0
    for child in machine.children(node.id):
        if _is_worth_a_line(machine, child):
            shown.append(child)
        elif isinstance(child, Partition):
            num_virtual += 1
        else:
            num_hidden += _num_functions(machine, child)
    counts = (("virtual functions", num_virtual), ("chip set functions", num_hidden))
    rest = [f"{what}: {number}" for what, number in counts if number]
    for position, item in enumerate((*shown, *rest)):
        is_last = position == len(shown) + len(rest) - 1
        branch, deeper = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
        if isinstance(item, str):
            yield f"{indent}{branch}{item}"
            continue
        yield f"{indent}{branch}{_describe(machine, item)}"
        yield from _below(machine, item, indent + deeper)


def _is_worth_a_line(machine: Machine, node: AnyNode) -> bool:
    if isinstance(node, Other):
        return False
    if isinstance(node, Partition):
        return node.partition_kind != "virtual_function"
    if isinstance(node, HostBridge | PcieSwitch):
        return any(_is_worth_a_line(machine, child) for child in machine.children(node.id))
    return True


def _num_functions(machine: Machine, node: AnyNode) -> int:
    """Count the functions that are folded into one node that gets no line."""
    own = max(1, len(node.ports)) if isinstance(node, PcieSwitch) else 1
    if isinstance(node, HostBridge):
        own = len(node.ports)
    return own + sum(_num_functions(machine, child) for child in machine.children(node.id))


def _describe(machine: Machine, node: AnyNode) -> str:
    return _DOT.join(part for part in _parts(machine, node) if part)


def _parts(machine: Machine, node: AnyNode) -> Iterator[str]:
    match node:
        case Host():
            yield node.name
            yield node.product if node.product and node.product != node.name else ""
            yield node.operating_system or ""
            by = f" ({node.virtualization})" if node.virtualization else ""
            yield f"virtual machine{by}" if node.is_virtual else ""
        case Package():
            yield f"package {node.os_index}"
            yield node.name
            yield f"{node.num_cores or '?'} cores, {node.num_threads or '?'} threads"
            yield _caches(node)
        case Numa():
            yield f"NUMA node {node.os_index}" if node.memory_of else node.name
            yield format_bytes(node.memory_bytes) if node.memory_bytes else ""
            yield f"CPUs {format_cpu_list(node.cpus)}" if node.cpus else ""
            yield f"memory of {_owner(machine, node.memory_of)}" if node.memory_of else ""
        case HostBridge():
            yield node.name
        case PcieSwitch():
            yield f"switch {node.pci_address}"
            yield _link(machine, node)
            yield node.model or ""
        case Gpu():
            yield f"GPU {node.index} {node.pci_address or ''}".strip()
            yield _link(machine, node)
            yield f"{node.num_nvlinks} NVLinks" if node.num_nvlinks else ""
            yield node.model or ""
            yield format_bytes(node.memory_bytes) if node.memory_bytes else ""
            yield "MIG" if node.is_mig_enabled else node.partition_mode or ""
        case Nic():
            yield f"NIC {node.pci_address or ('' if node.ports else node.name)}".strip()
            yield ", ".join(_port(port) for port in node.ports)
            yield _link(machine, node)
            yield node.model or ""
        case Nvme():
            yield f"drive {node.pci_address}"
            yield ", ".join(node.block_devices)
            yield format_bytes(node.size_bytes) if node.size_bytes else ""
            yield _link(machine, node)
        case NvSwitch():
            yield f"NVSwitch {node.pci_address or '(address hidden)'}"
            yield _link(machine, node)
        case Partition():
            yield f"{'MIG' if node.partition_kind == 'mig' else 'partition'} {node.name}"
        case CxlMemory():
            yield f"CXL memory {node.pci_address}"
            yield format_bytes(node.memory_bytes) if node.memory_bytes else ""
            yield _link(machine, node)
        case Other():
            yield node.name


def _owner(machine: Machine, node_id: str) -> str:
    known = [name_of(gpu) for gpu in machine.all(Gpu) if gpu.id == node_id]
    return known[0] if known else node_id


def _caches(package: Package) -> str:
    last = max((c.level for c in package.caches), default=None)
    found = [c for c in package.caches if c.level == last]
    return (
        f"L{last} {found[0].num_instances} x {format_bytes(found[0].size_bytes)}" if found else ""
    )


def _port(port: NicPort) -> str:
    rate = f" {port.rate_bits_per_s / 1e9:g} Gb/s" if port.rate_bits_per_s else ""
    return f"{port.name}{rate}"


def _link(machine: Machine, node: PciNode) -> str:
    link = machine.link_above(node.id)
    if link is None:
        return ""
    if link.nominal is None:
        return f"{_capability(link.current)} now" if link.current else ""
    now = link.current
    is_slower = now is not None and (
        _below_nominal(now.transfers_per_s, link.nominal.transfers_per_s)
        or _below_nominal(now.num_lanes, link.nominal.num_lanes)
    )
    return _capability(link.nominal) + (f" ({describe(now)} now)" if is_slower else "")


def _capability(what: Capability) -> str:
    rate = what.bandwidth_bytes_per_s
    return f"{describe(what)} {format_rate(rate) if rate else ''}".strip()


def _below_nominal(now: float | None, nominal: float | None) -> bool:
    return now is not None and nominal is not None and now < nominal
