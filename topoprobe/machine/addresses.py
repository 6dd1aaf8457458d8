"""PCI addresses and CPU sets, in the spellings that tools use."""

from __future__ import annotations

import re

_ADDRESS = re.compile(
    r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])", re.IGNORECASE
)
_MAX_CPUS = 1 << 16


def normal_address(text: str) -> str | None:
    """Return a PCI address as ``dddd:bb:dd.f`` in lower case, or None if it is no address.

    The domain has at least four digits (Intel VMD has five); NVML's eight are shortened. The
    placeholders of NVSwitches (``FFFFFFFF:FF:FF.0`` and the like) are no addresses.
    """
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        return None
    domain, bus, device, function = (int(part or "0", 16) for part in match.groups())
    if device > 31 or domain in {0xFFFFFFFF, 0xFFFFFFF}:
        return None
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function}"


def last_address(path: str | None) -> str | None:
    """Return the last PCI address in a path below /sys/devices: the function a device hangs on."""
    addresses = [a for part in (path or "").split("/") if (a := normal_address(part))]
    return addresses[-1] if addresses else None


def device_of(address: str) -> str:
    """Return the address without its function: what all functions of one card share."""
    return address.rpartition(".")[0]


def sort_key(address: str) -> tuple[int, ...]:
    """Order addresses by domain, bus, device, function, whatever the number of digits."""
    return tuple(int(part, 16) for part in re.split("[:.]", address))


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Read a list such as ``0-3,8,10-11``; anything else counts as empty."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            continue
        if int(last or first) < _MAX_CPUS:
            cpus.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(cpus))


def parse_cpu_mask(text: str) -> tuple[int, ...]:
    """Read a mask of 32-bit words, highest first: ``000000ff,ffff0000`` or ``0x3,,0x1``.

    An infinite mask (``0xf...f``) and anything that is no mask count as empty.
    """
    words = text.strip().lower().split(",")
    if len(text) > _MAX_CPUS:
        return ()
    try:
        values = [int(word.removeprefix("0x") or "0", 16) for word in words]
    except ValueError:
        return ()
    if any(value >> 32 for value in values[1:]):
        return ()
    whole = 0
    for value in values:
        whole = whole << 32 | value
    return tuple(bit for bit in range(whole.bit_length()) if whole >> bit & 1)


def format_cpu_list(cpus: tuple[int, ...]) -> str:
    """Write CPU numbers as ranges, ``0-3,8``."""
    ranges: list[list[int]] = []
    for cpu in cpus:
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
