"""`lspci -v`, `-vv` and `-vvv`: every function with its link, ACS, windows and NUMA node.

Without ``-nn`` classes and vendors are known by their words only. What a text does not say was not
readable or not asked for: ordinary users see no capabilities, and a single ``-v`` shows no links.
"""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.buses import Place, places_of
from topoprobe.machine.facts import Facts, NumaFact, PciFact, RootFact
from topoprobe.machine.sources.lspci.blocks import holds_functions, split
from topoprobe.machine.sources.lspci.details import Details
from topoprobe.machine.sources.lspci.functions import once_each, silence, with_interfaces
from topoprobe.machine.sources.lspci.guests import host_of
from topoprobe.machine.sources.lspci.words import Identity
from topoprobe.machine.virtual_functions import with_owners
from topoprobe.records.base import Missing
from topoprobe.records.machine import PortRole

_MARKS = ("Control: I/O", "Capabilities: [", "Capabilities: <", " devsel", "!!! Unknown header")
_ROLES = {
    "Root Port": PortRole.ROOT,
    "Upstream Port": PortRole.UPSTREAM,
    "Downstream Port": PortRole.DOWNSTREAM,
    "PCI-Express to PCI": PortRole.BRIDGE,
}


def matches(text: str) -> bool:
    """Tell whether a text holds such output."""
    return any(mark in text for mark in _MARKS) and holds_functions(text)


def read(text: str, name: str) -> Facts:
    """Read it; the tree follows from the bus numbers of the bridges."""
    found = split(text)
    details = []
    for block in found.functions:
        identity = block.identity
        detail = Details(block.address, identity.class_code or "", identity.is_silent)
        detail.read(block.lines)
        details.append(detail)
    places = places_of(detail.position for detail in details)
    functions = once_each(
        _function(detail, block.identity, places[detail.address])
        for detail, block in zip(details, found.functions, strict=True)
    )
    sriov = {d.address: d.virtual_functions for d in details if d.virtual_functions}
    has_links = any(detail.maximum for detail in details)
    return Facts(
        source=f"lspci {name}",
        tree="full" if any(place.parent for place in places.values()) else "none",
        host=host_of(functions),
        numas=tuple(
            NumaFact(os_index=index)
            for index in sorted({f.numa_index for f in functions if f.numa_index is not None})
        ),
        roots=tuple(RootFact(key=key) for key in sorted({f.root for f in functions if f.root})),
        functions=with_owners(with_interfaces(functions), sriov),
        unknown=(
            *found.unknown,
            *(m for d in details for m in _missing(d, places[d.address], has_links=has_links)),
        ),
    )


def _function(detail: Details, identity: Identity, place: Place) -> PciFact:
    port_type = detail.port_type or ""
    return PciFact(
        address=detail.address,
        root=place.root,
        parent=place.parent,
        class_code=identity.class_code,
        vendor=identity.vendor,
        device=identity.device,
        name=identity.name,
        role=next((role for words, role in _ROLES.items() if port_type.startswith(words)), None),
        maximum=detail.maximum,
        current=detail.current,
        numa_index=detail.numa_index,
        driver=detail.driver,
        power_state=detail.power_state,
        slot=detail.slot,
        iommu_group=detail.iommu_group,
        access_control=detail.access_control,
        max_payload_bytes=detail.max_payload_bytes,
        max_read_request_bytes=detail.max_read_request_bytes,
        bar_bytes=detail.bar_bytes,
        max_bar_bytes=detail.max_bar_bytes,
    )


def _missing(detail: Details, place: Place, *, has_links: bool) -> Iterator[Missing]:
    address = detail.address
    if detail.is_silent:
        yield silence(address)
    if place.root is None and place.parent is None:
        bus = address.rpartition(":")[0]
        reason = f"The text shows no bridge that leads to bus {bus}."
        yield Missing(subject=address, fact="parent", reason=reason)
    if detail.numa_index is None:
        reason = "lspci prints no NUMA node for it."
        yield Missing(subject=address, fact="numa_index", reason=reason)
    if detail.maximum is None:
        if detail.is_hidden:
            reason = "Capabilities are hidden from ordinary users; run lspci -vvv as root."
        elif has_links:
            reason = "lspci prints no LnkCap for it."
        else:
            reason = "The text has no LnkCap lines; run lspci -vvv as root."
        yield Missing(subject=address, fact="maximum", reason=reason)
