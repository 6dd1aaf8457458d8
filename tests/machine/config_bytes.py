"""Configuration spaces for tests, written capability by capability."""

from __future__ import annotations

from topoprobe.machine.config_space import ConfigSpace, read_config_space


class Space:
    """Bytes of a configuration space with capabilities put in one after the other."""

    def __init__(self, *, is_bridge: bool = False) -> None:
        self.data = bytearray(4096)
        self.put(0x00, 2, 0x10DE).put(0x02, 2, 0x2330)
        self.put(0x0A, 2, 0x0604 if is_bridge else 0x0302).put(0x0E, 1, int(is_bridge))
        self._pointer, self._next = 0x34, 0x40
        self._extended_pointer, self._extended_next = 0, 0x100

    def put(self, at: int, size: int, value: int) -> Space:
        self.data[at : at + size] = value.to_bytes(size, "little")
        return self

    def capability(self, number: int, size: int) -> int:
        at, self._next = self._next, self._next + size
        self.put(0x06, 1, 0x10).put(self._pointer, 1, at).put(at, 1, number)
        self._pointer = at + 1
        return at

    def extended(self, number: int, size: int) -> int:
        at, self._extended_next = self._extended_next, self._extended_next + size
        self.put(at, 4, 1 << 16 | number)
        if self._extended_pointer:
            earlier = int.from_bytes(self.data[self._extended_pointer :][:4], "little")
            self.put(self._extended_pointer, 4, earlier | at << 20)
        self._extended_pointer = at
        return at

    def express(
        self, port_type: int, maximum: tuple[int, int], current: tuple[int, int], rates: int = 0,
        version: int = 2,
    ) -> int:  # fmt: skip
        at = self.capability(0x10, 0x40)
        self.put(at + 2, 2, port_type << 4 | version)
        self.put(at + 0x04, 4, 2).put(at + 0x08, 2, 1 << 5 | 5 << 12)
        self.put(at + 0x0C, 4, maximum[0] | maximum[1] << 4)
        self.put(at + 0x12, 2, current[0] | current[1] << 4)
        self.put(at + 0x2C, 4, rates << 1)
        return at

    def read(self, length: int = 4096) -> ConfigSpace:
        found = read_config_space(bytes(self.data[:length]))
        assert found is not None
        return found


def gpu() -> Space:
    """A Gen5 x16 GPU at rest, with ACS, a resizable BAR, virtual functions and CXL."""
    space = Space()
    power = space.capability(0x01, 8)
    space.put(power + 4, 2, 0x0003)
    space.express(0, (5, 16), (1, 16), rates=0b11111)
    acs = space.extended(0x0D, 8)
    space.put(acs + 4, 2, 0b1011111).put(acs + 6, 2, 0b0011101)
    bars = space.extended(0x15, 20)
    space.put(bars + 4, 4, 0b11 << (4 + 8)).put(bars + 8, 4, 1 | 2 << 5 | 8 << 8)
    space.put(bars + 12, 4, 1 << (4 + 17)).put(bars + 16, 4, 3 | 17 << 8)
    sriov = space.extended(0x10, 64)
    space.put(sriov + 8, 2, 1).put(sriov + 0x0C, 2, 32).put(sriov + 0x0E, 2, 32)
    space.put(sriov + 0x10, 2, 4).put(sriov + 0x14, 2, 4).put(sriov + 0x16, 2, 1)
    dvsec = space.extended(0x23, 16)
    space.put(dvsec + 4, 4, 0x1E98 | 16 << 20)
    return space
