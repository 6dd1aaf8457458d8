"""Drawing a machine as an indented tree, for terminals."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.addresses import format_cpu_list
from topoprobe.machine.numbering import endpoint_names
from topoprobe.machine.pcie import describe
from topoprobe.machine.table import clip
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count, name_of
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

    Virtual functions are counted where they are, functions of the chip set and bridges with
    nothing else below them on a line at the end.

    Parameters
    ----------
    machine : Machine
        The machine.
    width : int
        Columns of the terminal; longer lines lose the rate of their link first, then are cut.
    """
    return "" if machine.host is None else "\n".join(_Drawing(machine, width).lines(machine.host))


class _Drawing:
    """Draws the tree of one machine."""

    def __init__(self, machine: Machine, width: int) -> None:
        self._machine = machine
        self._width = width
        self._names = endpoint_names(machine)
        self._num_hidden = 0

    def lines(self, host: Host) -> Iterator[str]:
        yield self._line("", host)
        yield from self._below(host, "")
        if self._num_hidden:
            yield clip(f"Not drawn: {count(self._num_hidden, 'chip set function')}.", self._width)

    def _below(self, node: AnyNode, indent: str) -> Iterator[str]:
        shown: list[AnyNode] = []
        num_virtual = 0
        for child in self._machine.children(node.id):
            if _is_worth_a_line(self._machine, child):
                shown.append(child)
            elif isinstance(child, Partition):
                num_virtual += 1
            else:
                self._num_hidden += _num_functions(self._machine, child)
        for position, child in enumerate(shown):
            is_last = position == len(shown) - 1 and not num_virtual
            branch, deeper = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
            yield self._line(f"{indent}{branch}", child)
            yield from self._below(child, indent + deeper)
        if num_virtual:
            yield clip(f"{indent}└─ virtual functions: {num_virtual}", self._width)

    def _line(self, start: str, node: AnyNode) -> str:
        for has_rates in (True, False):
            parts = _parts(self._machine, node, self._names, has_rates=has_rates)
            text = start + _DOT.join(part for part in parts if part)
            if len(text) <= self._width:
                break
        return clip(text, self._width)


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


def _parts(
    machine: Machine, node: AnyNode, names: dict[str, str], *, has_rates: bool
) -> Iterator[str]:
    link = _link(machine, node, has_rates=has_rates) if isinstance(node, PciNode) else ""
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
            yield f"{_count(node.num_cores, 'core')}, {_count(node.num_threads, 'thread')}"
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
            yield link
            yield node.model or ""
        case Gpu():
            yield f"{names[node.id]} {node.pci_address or ''}".strip()
            yield link
            yield count(node.num_nvlinks, "NVLink") if node.num_nvlinks else ""
            yield node.model or ""
            yield format_bytes(node.memory_bytes) if node.memory_bytes else ""
            yield "MIG" if node.is_mig_enabled else node.partition_mode or ""
        case Nic():
            yield f"{names[node.id]} {node.pci_address or ''}".strip()
            # A driver's text may number NICs itself, and a number alone says no more than ours.
            has_name = node.pci_address or node.ports or node.name == f"NIC{names[node.id][4:]}"
            yield "" if has_name else node.name
            yield ", ".join(_port(port) for port in node.ports)
            yield link
            yield node.model or ""
        case Nvme():
            yield f"{names[node.id]} {node.pci_address or ''}".strip()
            yield ", ".join(node.block_devices)
            yield format_bytes(node.size_bytes) if node.size_bytes else ""
            yield link
        case NvSwitch():
            yield f"NVSwitch {node.pci_address or '(address not told)'}"
            yield link
        case Partition():
            yield f"{'MIG' if node.partition_kind == 'mig' else 'partition'} {node.name}"
        case CxlMemory():
            yield f"CXL memory {node.pci_address}"
            yield format_bytes(node.memory_bytes) if node.memory_bytes else ""
            yield link
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


def _count(number: int | None, noun: str) -> str:
    return count(number, noun) if number else f"? {noun}s"


def _link(machine: Machine, node: PciNode, *, has_rates: bool) -> str:
    link = machine.link_above(node.id)
    if link is None:
        return ""
    if link.nominal is None:
        told = _capability(link.current, has_rate=has_rates) if link.current else ""
        when = "now or at most" if link.may_be_maximum else "now"
        return f"{told} {when}" if told else ""
    now = link.current
    is_slower = now is not None and (
        _below_nominal(now.transfers_per_s, link.nominal.transfers_per_s)
        or _below_nominal(now.num_lanes, link.nominal.num_lanes)
    )
    return _capability(link.nominal, has_rate=has_rates) + (
        f" ({describe(now)} now)" if is_slower else ""
    )


def _capability(what: Capability, *, has_rate: bool) -> str:
    rate = what.bandwidth_bytes_per_s if has_rate else None
    return f"{describe(what)} {format_rate(rate) if rate else ''}".strip()


def _below_nominal(now: float | None, nominal: float | None) -> bool:
    return now is not None and nominal is not None and now < nominal
