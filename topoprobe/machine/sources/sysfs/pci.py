"""The PCI tree: every function, what is above it, its link, its NUMA node, its driver."""

from __future__ import annotations

import re
from collections.abc import Iterable

from topoprobe.machine.addresses import normal_address, parse_cpu_list
from topoprobe.machine.facts import PciFact, RootFact
from topoprobe.machine.pcie import capability, parse_speed, parse_width
from topoprobe.machine.sources.files import Files
from topoprobe.records.base import Missing
from topoprobe.records.machine import Capability, PortRole

_DEVICES = "sys/bus/pci/devices"
_ROOT = re.compile(r"pci([0-9a-f]{4,8}):([0-9a-f]{2})$", re.IGNORECASE)

# Offsets and values of the PCI configuration space [pcie-base].
_STATUS, _HAS_CAPABILITIES = 0x06, 0x10
_CAPABILITIES = 0x34
_PCI_EXPRESS = 0x10
_PORT_ROLES = {4: PortRole.ROOT, 5: PortRole.UPSTREAM, 6: PortRole.DOWNSTREAM}
_TO_CONVENTIONAL_PCI = 7


def read(
    files: Files, with_interface: Iterable[str]
) -> tuple[tuple[PciFact, ...], tuple[RootFact, ...], tuple[Missing, ...]]:
    """Read all PCI functions.

    Parameters
    ----------
    files : Files
        Where to read.
    with_interface : iterable of str
        Addresses of the functions that carry network interfaces.

    Returns
    -------
    functions : tuple of PciFact
    roots : tuple of RootFact
    unknown : tuple of Missing
        Why links and NUMA nodes are unknown.
    """
    interfaces = set(with_interface)
    functions: list[PciFact] = []
    unknown: list[Missing] = []
    for name in files.names(_DEVICES):
        address = normal_address(name)
        if address is None:
            continue
        function = _read_function(files, f"{_DEVICES}/{name}", address, interfaces)
        functions.append(function)
        unknown.extend(_explain(files, f"{_DEVICES}/{name}", function))
    roots = {f.root: RootFact(key=f.root) for f in functions if f.root}
    return tuple(functions), tuple(roots.values()), tuple(unknown)


def _read_function(files: Files, path: str, address: str, interfaces: set[str]) -> PciFact:
    root, parent = _place(files.link(path))
    class_code = (files.text(f"{path}/class") or "").removeprefix("0x")
    numa = files.number(f"{path}/numa_node")
    driver = files.link(f"{path}/driver")
    driver = driver.rpartition("/")[2] if driver else None
    physical = files.link(f"{path}/physfn")
    is_network = class_code.startswith("02")
    return PciFact(
        address=address,
        root=root,
        parent=parent,
        class_code=class_code or None,
        vendor=_id(files, f"{path}/vendor"),
        device=_id(files, f"{path}/device"),
        role=_role(files, path) if class_code.startswith("0604") else None,
        maximum=_capability(files, path, "max"),
        current=_capability(files, path, "current"),
        numa_index=numa if numa is not None and numa >= 0 else None,
        cpus=parse_cpu_list(files.text(f"{path}/local_cpulist") or ""),
        # A driver without a visible interface is a NIC whose interface is in another container.
        has_interface=(address in interfaces or driver not in {None, "vfio-pci"})
        if is_network
        else address in interfaces,
        driver=driver,
        physical_function=normal_address(physical.rpartition("/")[2]) if physical else None,
    )


def _place(link: str | None) -> tuple[str | None, str | None]:
    """Return host bridge and parent bridge from a device's path below /sys/devices."""
    parts = (link or "").split("/")
    # The innermost root counts: Intel VMD hangs a PCI domain of its own below a device.
    starts = [i for i, part in enumerate(parts) if _ROOT.match(part)]
    if not starts:
        return None, None
    match = _ROOT.match(parts[starts[-1]])
    root = f"{int(match[1], 16):04x}:{match[2].lower()}" if match else None
    chain = [a for part in parts[starts[-1] + 1 :] if (a := normal_address(part))]
    return root, chain[-2] if len(chain) > 1 else None


def _capability(files: Files, path: str, which: str) -> Capability | None:
    speed = files.text(f"{path}/{which}_link_speed")
    if speed is None:
        return None
    width = files.text(f"{path}/{which}_link_width") or ""
    return capability(parse_speed(speed), parse_width(width))


def _explain(files: Files, path: str, function: PciFact) -> Iterable[Missing]:
    if function.numa_index is None:
        text = files.text(f"{path}/numa_node")
        reason = (
            "sysfs has no numa_node for it."
            if text is None
            else f"sysfs says numa_node {text}: firmware or hypervisor does not tell it."
        )
        yield Missing(subject=function.address, fact="numa_index", reason=reason)
    if function.maximum is None or function.maximum.bandwidth_bytes_per_s is None:
        text = files.text(f"{path}/max_link_speed")
        reason = (
            "It has no PCI Express capability (sysfs has no max_link_speed)."
            if text is None
            else f"sysfs says max_link_speed {text!r}, "
            f"max_link_width {files.text(f'{path}/max_link_width')!r}."
        )
        yield Missing(subject=function.address, fact="maximum", reason=reason)


def _role(files: Files, path: str) -> PortRole | None:
    """Read a bridge's port type from its PCI Express capability, where config is readable.

    Ordinary users see the first 64 bytes only, which rarely reach it; None leaves the role to be
    inferred from the bridge's place in the tree.
    """
    config = files.data(f"{path}/config", 256)
    if config is None or len(config) < 64 or not config[_STATUS] & _HAS_CAPABILITIES:
        return None
    offset = config[_CAPABILITIES] & 0xFC
    for _ in range(48):  # more capabilities do not fit; a broken list may be a circle
        if offset < 0x40 or offset + 4 > len(config):
            return None
        if config[offset] == _PCI_EXPRESS:
            kind = config[offset + 2] >> 4
            # A bridge to conventional PCI stands like a switch above its bus.
            return PortRole.UPSTREAM if kind == _TO_CONVENTIONAL_PCI else _PORT_ROLES.get(kind)
        offset = config[offset + 1] & 0xFC
    return None


def _id(files: Files, path: str) -> str | None:
    text = (files.text(path) or "").removeprefix("0x").lower()
    # A dead device reads all zeros or all ones.
    return text if text and text not in {"0000", "ffff"} else None
