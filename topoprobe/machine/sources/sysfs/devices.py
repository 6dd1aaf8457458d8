"""What hangs on PCI functions: network interfaces, verbs and Slingshot devices, drives."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from topoprobe.machine.addresses import last_address, normal_address
from topoprobe.machine.facts import NicFact, StorageFact
from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.verbs import VerbsPort, read_ports
from topoprobe.records.machine import NicPort

_NET, _VERBS, _SLINGSHOT = "sys/class/net", "sys/class/infiniband", "sys/class/cxi"
_BLOCK, _NVME = "sys/block", "sys/class/nvme"
_SECTOR_BYTES = 512  # of sysfs `size`, whatever the drive's own sectors
_NOT_DRIVES = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd")
# A namespace of a controller; with multipath its path is hidden as nvme0c1n1 for nvme0n1.
_NAMESPACE = re.compile(r"(nvme[0-9]+)(?:c[0-9]+)?(n[0-9]+)")
_LINK_LAYERS = {"1": "Ethernet", "32": "InfiniBand"}
# What drivers say for "unknown" (speed_t is unsigned on old kernels).
_NO_SPEED = {-1, 0, 0xFFFFFFFF}


class _Interface(NamedTuple):
    name: str
    dev_port: int
    speed_bits_per_s: float | None
    state: str | None
    link_layer: str | None


def read_nics(files: Files) -> tuple[NicFact, ...]:
    """Read network interfaces and verbs devices, joined port by port on their PCI function.

    Slingshot NICs have no verbs device but one of class cxi, by whose name libraries call them.
    """
    interfaces: dict[str, list[_Interface]] = {}
    for name in files.names(_NET):
        address = _function_of(files, f"{_NET}/{name}")
        if address is not None:
            interfaces.setdefault(address, []).append(_interface(files, name))
    verbs: dict[str, list[VerbsPort]] = {}
    for device in files.names(_VERBS):
        address = _function_of(files, f"{_VERBS}/{device}")
        if address is not None:
            verbs.setdefault(address, []).extend(read_ports(files, f"{_VERBS}/{device}"))
    slingshot: dict[str, str] = {}
    for device in files.names(_SLINGSHOT):
        address = _function_of(files, f"{_SLINGSHOT}/{device}")
        if address is not None:
            slingshot[address] = device
    return tuple(
        NicFact(
            key=address,
            address=address,
            ports=_named(
                _paired(interfaces.get(address, []), verbs.get(address, [])),
                slingshot.get(address),
            ),
        )
        for address in sorted({*interfaces, *verbs, *slingshot})
    )


def read_storage(files: Files) -> tuple[StorageFact, ...]:
    """Read drives by the PCI function that carries them."""
    drives: dict[str, dict[str, int | None]] = {}
    for name in files.names(_BLOCK):
        if name.startswith(_NOT_DRIVES):
            continue
        address = _function_of(files, f"{_BLOCK}/{name}")
        if address is not None:
            drives.setdefault(address, {})[name] = _size(files, name)
    for controller in files.names(_NVME):
        address = _function_of(files, f"{_NVME}/{controller}")
        for entry in files.names(f"{_NVME}/{controller}") if address else ():
            match = _NAMESPACE.fullmatch(entry)
            if match and address:
                name = match[1] + match[2]
                drives.setdefault(address, {}).setdefault(name, _size(files, name))
    return tuple(
        StorageFact(
            address=address,
            block_devices=tuple(sorted(found)),
            size_bytes=_sum(list(found.values())),
        )
        for address, found in sorted(drives.items())
    )


def _function_of(files: Files, path: str) -> str | None:
    """Return the PCI function that carries a device, from where its entry in a class leads.

    Old kernels have a folder there with a link in it, copies without links only what is in that.
    """
    link = files.link(path)
    if link is not None:
        return last_address(link)
    address = last_address(files.link(f"{path}/device"))
    if address is None:
        for line in (files.text(f"{path}/device/uevent") or "").splitlines():
            name, _, value = line.partition("=")
            if name == "PCI_SLOT_NAME":
                return normal_address(value)
    return address


def _interface(files: Files, name: str) -> _Interface:
    path = f"{_NET}/{name}"
    speed = files.number(f"{path}/speed")  # Mb/s
    return _Interface(
        name=name,
        dev_port=files.number(f"{path}/dev_port") or 0,
        speed_bits_per_s=None if speed is None or speed in _NO_SPEED else speed * 1e6,
        state=files.text(f"{path}/operstate"),
        link_layer=_LINK_LAYERS.get(files.text(f"{path}/type") or ""),
    )


def _paired(interfaces: list[_Interface], verbs: list[VerbsPort]) -> tuple[NicPort, ...]:
    left = list(interfaces)
    several = len(verbs) > 1
    ports = []
    for verb in verbs:
        same = [i for i in left if i.dev_port == verb.number - 1] or (
            left if len(verbs) == len(interfaces) == 1 else []
        )
        interface = same[0] if same else None
        if interface is not None:
            left.remove(interface)
        is_same_device = several and len({v.device for v in verbs}) == 1
        ports.append(
            NicPort(
                name=f"{verb.device}:{verb.number}" if is_same_device else verb.device,
                net_interface=interface.name if interface else None,
                verbs_device=verb.device,
                link_layer=verb.link_layer,
                state=verb.state,
                rate_bits_per_s=verb.rate_bits_per_s,
            )
        )
    ports.extend(
        NicPort(
            name=interface.name,
            net_interface=interface.name,
            link_layer=interface.link_layer,
            state=interface.state,
            rate_bits_per_s=interface.speed_bits_per_s,
        )
        for interface in left
    )
    return tuple(ports)


def _named(ports: tuple[NicPort, ...], device: str | None) -> tuple[NicPort, ...]:
    """Call the only port of a Slingshot NIC by the name of its device."""
    if device is None or len(ports) > 1:
        return ports
    return tuple(msgspec.structs.replace(p, name=device) for p in ports) or (NicPort(name=device),)


def _size(files: Files, name: str) -> int | None:
    sectors = files.number(f"{_BLOCK}/{name}/size")
    return None if sectors is None else sectors * _SECTOR_BYTES


def _sum(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
