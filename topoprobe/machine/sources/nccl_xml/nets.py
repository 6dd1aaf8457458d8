"""Network ports in NCCL's files, which may show one NIC in two places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from topoprobe.machine.sources.xml import integer
from topoprobe.records.machine import NicPort

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_NO_GUIDS = {"", "0x0", "0"}


class Net(NamedTuple):
    """A `net` element: one port of a NIC, as NCCL would use it."""

    name: str
    port: str
    guid: str | None
    rate_bits_per_s: float | None

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the other ports of its NIC."""
        return self.name, self.port


def read_nets(element: Element) -> Iterator[Net]:
    """Yield the ports in an element, which may be one itself."""
    for net in element.iter("net"):
        speed, guid = integer(net.get("speed")), net.get("guid", "").strip().lower()
        yield Net(
            name=net.get("name") or f"net{net.get('dev', '')}",
            port=net.get("port", ""),
            guid=None if guid in _NO_GUIDS else guid,
            # Mb/s; -1 and 0 are a port that is down or whose driver does not tell.
            rate_bits_per_s=speed * 1e6 if speed is not None and speed > 0 else None,
        )


def ports_of(nets: Sequence[Net]) -> tuple[NicPort, ...]:
    """Return each port once; those of one name get their number."""
    distinct = list({net.key: net for net in nets}.values())
    names = [net.name for net in distinct]
    return tuple(
        NicPort(
            name=f"{net.name}:{net.port}" if names.count(net.name) > 1 else net.name,
            rate_bits_per_s=net.rate_bits_per_s,
        )
        for net in distinct
    )
