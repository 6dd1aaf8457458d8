"""What the lines below a function's address say, as `lspci -v`, `-vv` and `-vvv` print them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from topoprobe.machine.buses import Position
from topoprobe.machine.pcie import capability, parse_speed, parse_width
from topoprobe.machine.virtual_functions import VirtualFunctions
from topoprobe.records.machine import Capability

_UNITS = {unit: 1 << 10 * power for power, unit in enumerate(("", "K", "M", "G", "T", "P", "E"))}

_LAST_CONTROL = "DirectTrans"  # a line without it was cut

_CAPABILITY = re.compile(r"\[[^\]]*\]\s*(.*)")
_EXPRESS = re.compile(r"Express(?: \(v\d+\))? (.*)")
_BUS = re.compile(r"secondary=([0-9a-f]{2}), subordinate=([0-9a-f]{2})", re.IGNORECASE)
_LINK = re.compile(r"Speed\s+([^,(]+?)\s*(?:\([a-z]+\))?,\s*Width\s+(x?[\w<>]+)")
_PAYLOAD = re.compile(r"MaxPayload (\d{1,9}) bytes, MaxReadReq (\d{1,9}) bytes")
_WINDOW = re.compile(r"Memory at .*\[size=(\d{1,9})([KMGTPE]?)\]")
_SIZE = re.compile(r"\b(\d{1,9})([KMGTPE]?)B\b")
_POWER = re.compile(r"Status:\s*(D[0-3])\b")
_NUMA = re.compile(r"NUMA node:? (\d{1,9})\b")
_GROUP = re.compile(r"IOMMU group:? (\d{1,9})\b")
_NUM_VIRTUAL = re.compile(r"Number of VFs: (\d{1,9})\b")
_VIRTUAL_PLACES = re.compile(r"VF offset: (\d{1,9}), stride: (\d{1,9})\b")


@dataclass(slots=True)
class Details:
    """One function's details, and the capability whose lines are being read.

    Attributes
    ----------
    is_silent : bool
        Whether it answers with all ones.
    is_hidden : bool
        Whether its capabilities were kept from who ran lspci.
    port_type : str or None
        Its PCI Express type in lspci's words.
    secondary, subordinate : int or None
        The buses that a bridge leads to.
    windows, resizable : dict of str to int
        Size of each memory window, and the largest size that each can be given, in bytes. Of two
        with one number the first is the function's own; the other is of its virtual functions.
    """

    address: str
    class_code: str
    is_silent: bool = False
    is_hidden: bool = False
    port_type: str | None = None
    secondary: int | None = None
    subordinate: int | None = None
    maximum: Capability | None = None
    current: Capability | None = None
    numa_index: int | None = None
    iommu_group: int | None = None
    slot: str | None = None
    driver: str | None = None
    power_state: str | None = None
    access_control: tuple[str, ...] | None = None
    max_payload_bytes: int | None = None
    max_read_request_bytes: int | None = None
    windows: dict[str, int] = field(default_factory=dict)
    resizable: dict[str, int] = field(default_factory=dict)
    num_virtual: int = 0
    virtual_functions: VirtualFunctions | None = None
    capability: str = ""

    @property
    def position(self) -> Position:
        """The registers that tell its place."""
        return Position(
            self.address, self.class_code, self.secondary, self.subordinate, self.port_type
        )

    @property
    def bar_bytes(self) -> int | None:
        """The largest memory window."""
        return max(self.windows.values(), default=None)

    @property
    def max_bar_bytes(self) -> int | None:
        """The largest window that it could be given."""
        return max(self.resizable.values(), default=None)

    def read(self, lines: Iterable[str]) -> None:
        """Take in the lines of a function, in their order."""
        for line in lines:
            key, _, rest = line.partition(":")
            reader = _READERS.get(key)
            if reader is not None:
                reader(self, rest.strip())
            else:
                self._read_unnamed(line)

    def _read_unnamed(self, line: str) -> None:
        """Read a line whose meaning its first words or its capability tell."""
        if line.startswith("MaxPayload"):
            self._read_payload(line)
        elif line.startswith("!!! Unknown header type"):
            self.is_silent = True
        elif self.capability.startswith("Power Management"):
            self._read_power(line)
        elif self.capability.startswith("Single Root I/O Virtualization"):
            # Its windows are those of the virtual functions.
            self._read_virtual(line)
        elif self.capability.startswith("Physical Resizable BAR"):
            self._read_resizable(line)
        elif "Memory at" in line:
            self._read_window(line)

    def _read_capability(self, text: str) -> None:
        self.is_hidden |= text.startswith("<access denied>")
        match = _CAPABILITY.match(text)
        self.capability = match[1] if match else ""
        express = _EXPRESS.match(self.capability)
        if express:
            self.port_type = express[1]

    def _read_bus(self, text: str) -> None:
        match = _BUS.search(text)
        if match:
            self.secondary, self.subordinate = int(match[1], 16), int(match[2], 16)

    def _read_maximum(self, text: str) -> None:
        self.maximum = _link(text)

    def _read_current(self, text: str) -> None:
        self.current = _link(text)

    def _read_access_control(self, text: str) -> None:
        if _LAST_CONTROL in text:
            on = (word.removesuffix("+") for word in text.split() if word.endswith("+"))
            self.access_control = tuple(on)

    def _read_slot(self, text: str) -> None:
        self.slot = text or None

    def _read_driver(self, text: str) -> None:
        self.driver = text or None

    def _read_numa(self, text: str) -> None:
        self._read_flags(f"NUMA node {text}")

    def _read_group(self, text: str) -> None:
        self._read_flags(f"IOMMU group {text}")

    def _read_flags(self, text: str) -> None:
        numa, group = _NUMA.search(text), _GROUP.search(text)
        if numa:
            self.numa_index = int(numa[1])
        if group:
            self.iommu_group = int(group[1])

    def _read_payload(self, line: str) -> None:
        match = _PAYLOAD.match(line)
        if match:
            self.max_payload_bytes, self.max_read_request_bytes = int(match[1]), int(match[2])

    def _read_power(self, line: str) -> None:
        match = _POWER.match(line)
        if match:
            # In D3cold nothing could have been read.
            self.power_state = "D3hot" if match[1] == "D3" else match[1]

    def _read_virtual(self, line: str) -> None:
        count, places = _NUM_VIRTUAL.search(line), _VIRTUAL_PLACES.search(line)
        if count:
            self.num_virtual = int(count[1])
        if places and self.num_virtual:
            self.virtual_functions = VirtualFunctions(
                self.num_virtual, int(places[1]), int(places[2])
            )

    def _read_resizable(self, line: str) -> None:
        sizes = [int(number) * _UNITS[unit] for number, unit in _SIZE.findall(line)]
        if sizes:
            self.resizable.setdefault(line.partition(":")[0], max(sizes))

    def _read_window(self, line: str) -> None:
        match = _WINDOW.search(line)
        if match:
            # With a single -v windows have no numbers, but each has an address.
            key = line.partition(":")[0]
            self.windows.setdefault(key, int(match[1]) * _UNITS[match[2]])


_READERS = {
    "Capabilities": Details._read_capability,
    "Bus": Details._read_bus,
    "LnkCap": Details._read_maximum,
    "LnkSta": Details._read_current,
    "ACSCtl": Details._read_access_control,
    "Physical Slot": Details._read_slot,
    "Kernel driver in use": Details._read_driver,
    "NUMA node": Details._read_numa,
    "IOMMU group": Details._read_group,
    "Flags": Details._read_flags,
}


def _link(text: str) -> Capability | None:
    """Read ``Speed 16GT/s (downgraded), Width x4 (ok)``; a dead link has width 0."""
    match = _LINK.search(text)
    return capability(parse_speed(match[1]), parse_width(match[2])) if match else None
