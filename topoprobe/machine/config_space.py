"""The configuration space of a PCI function: what its bytes say.

Ordinary users can read 64 of them, the header; the capabilities are in the next 192, the extended
ones in the 3840 after those. Offsets and values are those of the PCI Express base specification
[pcie-base]. A list that leads in a circle or out of what was read ends there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from topoprobe.machine.pcie import LANE_COUNTS, capability_of_generation
from topoprobe.records.machine import Capability, PortRole

_HEADER_BYTES = 64
_EXTENDED = 0x100
# As many as fit, four bytes each.
_MOST_CAPABILITIES = (_EXTENDED - _HEADER_BYTES) // 4
_MOST_EXTENDED = (4096 - _EXTENDED) // 4

_STATUS, _HAS_CAPABILITIES = 0x06, 0x10
_HEADER_TYPE, _BRIDGE = 0x0E, 1
_SECONDARY_BUS, _SUBORDINATE_BUS = 0x19, 0x1A
_CAPABILITIES = 0x34

_POWER_MANAGEMENT, _PCI_EXPRESS = 0x01, 0x10
_ACCESS_CONTROL, _SRIOV, _RESIZABLE_BAR, _DVSEC = 0x0D, 0x10, 0x15, 0x23
_CXL_CONSORTIUM = 0x1E98

_POWER_STATES = ("D0", "D1", "D2", "D3hot")
_ROLES = {4: PortRole.ROOT, 5: PortRole.UPSTREAM, 6: PortRole.DOWNSTREAM, 7: PortRole.BRIDGE}
# The names that lspci prints, in the order of their bits.
_CONTROLS = (
    "SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans",
)  # fmt: skip


class AccessControl(NamedTuple):
    """What access control services (ACS) a function has, and which are switched on."""

    supported: tuple[str, ...]
    enabled: tuple[str, ...]


class VirtualFunctions(NamedTuple):
    """How many virtual functions (SR-IOV) there can be and are, and where they stand."""

    total: int
    enabled: int
    first_offset: int
    stride: int


class ResizableBar(NamedTuple):
    """A memory window whose size can be chosen."""

    number: int
    size_bytes: int
    supported_bytes: tuple[int, ...]


class ConfigSpace(msgspec.Struct, frozen=True, kw_only=True):
    """What a function's configuration space says; None and empty where it does not.

    Attributes
    ----------
    is_gone : bool
        Everything reads as ones: nothing answers any more.
    is_blank : bool
        Everything reads as zeros: it was not let be read.
    secondary_bus, subordinate_bus : int or None
        First and last bus behind a bridge.
    port_type : int or None
        Of the PCI Express capability: 0 an endpoint, 4 a root port, 5 and 6 a switch's upstream
        and downstream ports…
    maximum, current : Capability or None
        Of its link.
    max_payload_supported_bytes : int or None
        What packets it can take at most; `max_payload_bytes` is what they are set to.
    access_control : AccessControl or None
        Only told where the extended capabilities were read.
    is_cxl : bool
        Whether it has a capability that the CXL consortium defines.
    """

    is_gone: bool = False
    is_blank: bool = False
    secondary_bus: int | None = None
    subordinate_bus: int | None = None
    power_state: str | None = None
    port_type: int | None = None
    maximum: Capability | None = None
    current: Capability | None = None
    max_payload_supported_bytes: int | None = None
    max_payload_bytes: int | None = None
    max_read_request_bytes: int | None = None
    access_control: AccessControl | None = None
    resizable_bars: tuple[ResizableBar, ...] = ()
    virtual_functions: VirtualFunctions | None = None
    is_cxl: bool = False

    @property
    def role(self) -> PortRole | None:
        """The side of a link that a bridge is, where it tells."""
        return None if self.port_type is None else _ROLES.get(self.port_type)


def read_config_space(data: bytes) -> ConfigSpace | None:
    """Read a configuration space of 64, 256 or 4096 bytes, or of any length between.

    Returns
    -------
    ConfigSpace or None
        None if there is not even a header.
    """
    if len(data) < _HEADER_BYTES:
        return None
    header = data[:_HEADER_BYTES]
    if header.count(0xFF) == _HEADER_BYTES:
        return ConfigSpace(is_gone=True)
    if header.count(0) == _HEADER_BYTES:
        return ConfigSpace(is_blank=True)
    is_bridge = data[_HEADER_TYPE] & 0x7F == _BRIDGE
    plain, extended = dict(_plain(data)), tuple(_extended(data))
    express = _Express(data, plain.get(_PCI_EXPRESS))
    offsets = dict(extended)
    return ConfigSpace(
        secondary_bus=data[_SECONDARY_BUS] if is_bridge else None,
        subordinate_bus=data[_SUBORDINATE_BUS] if is_bridge else None,
        power_state=_power_state(data, plain.get(_POWER_MANAGEMENT)),
        port_type=express.port_type(),
        maximum=express.maximum(),
        current=express.current(),
        max_payload_supported_bytes=express.packet_bytes(0x04, 0),
        max_payload_bytes=express.packet_bytes(0x08, 5),
        max_read_request_bytes=express.packet_bytes(0x08, 12),
        access_control=_access_control(data, offsets.get(_ACCESS_CONTROL)),
        resizable_bars=tuple(_resizable_bars(data, offsets.get(_RESIZABLE_BAR))),
        virtual_functions=_virtual_functions(data, offsets.get(_SRIOV)),
        is_cxl=any(
            _word(data, offset + 4) == _CXL_CONSORTIUM
            for number, offset in extended
            if number == _DVSEC
        ),
    )


class _Express:
    """The PCI Express capability, at `offset` if there is one."""

    def __init__(self, data: bytes, offset: int | None) -> None:
        self._data = data
        self._offset = offset
        self._flags = None if offset is None else _word(data, offset + 2)

    def port_type(self) -> int | None:
        return None if self._flags is None else self._flags >> 4 & 0xF

    def maximum(self) -> Capability | None:
        """Return the best of the link; version 2 lists the rates, version 1 tells the highest."""
        told = self._double(0x0C)
        if told is None or self._flags is None:
            return None
        rates = (self._double(0x2C) or 0) >> 1 & 0x7F if self._flags & 0xF >= 2 else 0
        return _link(rates.bit_length() or told & 0xF, told >> 4 & 0x3F)

    def current(self) -> Capability | None:
        told = self._register(0x12)
        return None if told is None else _link(told & 0xF, told >> 4 & 0x3F)

    def packet_bytes(self, register: int, shift: int) -> int | None:
        """Return a size that is written as the power of two by which it is over 128 bytes."""
        told = self._register(register)
        power = None if told is None else told >> shift & 7
        return None if power is None or power > 5 else 128 << power

    def _register(self, at: int) -> int | None:
        return None if self._offset is None else _word(self._data, self._offset + at)

    def _double(self, at: int) -> int | None:
        return None if self._offset is None else _double(self._data, self._offset + at)


def _link(generation: int, lanes: int) -> Capability | None:
    """Return a link; devices inside a chip have none and say 0, those that are gone say 63."""
    return capability_of_generation(generation, lanes if lanes in LANE_COUNTS else None)


def _plain(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield number and offset of the capabilities in the first 256 bytes."""
    if not data[_STATUS] & _HAS_CAPABILITIES:
        return
    offset = data[_CAPABILITIES] & 0xFC
    for _ in range(_MOST_CAPABILITIES):
        if offset < _HEADER_BYTES or offset + 2 > len(data):
            return
        yield data[offset], offset
        offset = data[offset + 1] & 0xFC


def _extended(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield number and offset of the capabilities beyond the first 256 bytes."""
    offset = _EXTENDED
    for _ in range(_MOST_EXTENDED):
        header = _double(data, offset)
        if offset < _EXTENDED or header is None or header in {0, 0xFFFFFFFF}:
            return
        yield header & 0xFFFF, offset
        offset = header >> 20 & 0xFFC


def _power_state(data: bytes, offset: int | None) -> str | None:
    told = None if offset is None else _word(data, offset + 4)
    return None if told is None else _POWER_STATES[told & 3]


def _access_control(data: bytes, offset: int | None) -> AccessControl | None:
    if offset is None:
        return None
    supported, enabled = _word(data, offset + 4), _word(data, offset + 6)
    if supported is None or enabled is None:
        return None
    return AccessControl(_controls(supported), _controls(enabled))


def _controls(bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in enumerate(_CONTROLS) if bits >> bit & 1)


def _resizable_bars(data: bytes, offset: int | None) -> Iterator[ResizableBar]:
    first = None if offset is None else _double(data, offset + 8)
    if offset is None or first is None:
        return
    for at in range(offset + 4, offset + 4 + 8 * min(first >> 5 & 7, 6), 8):
        sizes, control = _double(data, at), _double(data, at + 4)
        if sizes is None or control is None:
            return
        # Bit 4 is 1 MiB and bit 31 is 128 TiB; the control register's upper half goes on.
        sizes = sizes >> 4 | control >> 16 << 28
        yield ResizableBar(
            number=control & 7,
            size_bytes=1 << 20 + (control >> 8 & 0x3F),
            supported_bytes=tuple(1 << 20 + bit for bit in range(44) if sizes >> bit & 1),
        )


def _virtual_functions(data: bytes, offset: int | None) -> VirtualFunctions | None:
    if offset is None:
        return None
    found = [_word(data, offset + at) for at in (0x0E, 0x10, 0x14, 0x16)]
    control = _word(data, offset + 8)
    if control is None or any(word is None for word in found):
        return None
    total, enabled, first_offset, stride = (word or 0 for word in found)
    return VirtualFunctions(total, enabled if control & 1 else 0, first_offset, stride)


def _word(data: bytes, offset: int) -> int | None:
    return _number(data, offset, 2)


def _double(data: bytes, offset: int) -> int | None:
    return _number(data, offset, 4)


def _number(data: bytes, offset: int, size: int) -> int | None:
    """Return a little-endian number, or None if it was not read."""
    part = data[offset : offset + size]
    return int.from_bytes(part, "little") if len(part) == size else None
