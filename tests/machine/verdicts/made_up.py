"""Machines made up of a few nodes and links, for tests of verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from topoprobe.machine.pcie import capability, lesser
from topoprobe.machine.view import Machine
from topoprobe.records.base import Missing, Tool, Verdict
from topoprobe.records.machine import (
    AnyNode,
    Contradiction,
    Gpu,
    Host,
    HostBridge,
    Link,
    LinkKind,
    MachineDocument,
    Nic,
    NicPort,
    Numa,
    Pair,
    Provenance,
)

GT = {1: 2.5e9, 2: 5e9, 3: 8e9, 4: 16e9, 5: 32e9, 6: 64e9}
Lanes = tuple[int | None, int | None]


def gpu(index: int = 0, **more: Any) -> Gpu:
    address = f"0000:{index + 1:02x}:00.0"
    fields = {"pci_vendor": "10de", "parent": "host_bridge@0000:00"} | more
    return Gpu(id=f"gpu@{address}", name="GPU", index=index, pci_address=address, **fields)


def nic(index: int = 0, rate: float | None = None, **more: Any) -> Nic:
    address = f"0000:{index + 129:02x}:00.0"
    fields = {"parent": "host_bridge@0000:00"} | more
    port = NicPort(name=f"eth{index}", rate_bits_per_s=rate)
    return Nic(
        id=f"nic@{address}", name=f"eth{index}", pci_address=address, ports=(port,), **fields
    )


def numas(number: int) -> tuple[Numa, ...]:
    return tuple(
        Numa(id=f"numa:{i}", name=f"node {i}", parent="host", os_index=i, cpus=(2 * i, 2 * i + 1))
        for i in range(number)
    )


def link(
    node: AnyNode, now: Lanes, own: Lanes | None, slot: Lanes | None, above: str | None = None
) -> Link:
    """Join a node to what is above it; generation and lanes of the link now and of both ends."""
    address = node.id.partition("@")[2]
    port = f"0000:00:{address[5:7]}.0"
    ends = _can(slot), _can(own)
    return Link(
        id=f"pcie@{address}",
        kind=LinkKind.PCIE,
        a=above or "host_bridge@0000:00",
        b=node.id,
        a_port=port,
        b_port=address,
        wire=f"wire@{port}",
        a_capability=ends[0],
        b_capability=ends[1],
        nominal=lesser(*ends),
        current=_can(now),
    )


def machine(
    *nodes: AnyNode,
    links: Iterable[Link] = (),
    pairs: Iterable[Pair] = (),
    contradictions: Iterable[Contradiction] = (),
    unknown: Iterable[Missing] = (),
    provenance: Iterable[Provenance] = (),
    origin: Literal["live", "recorded", "synthetic"] = "live",
    **host: Any,
) -> Machine:
    root = HostBridge(id="host_bridge@0000:00", name="root", parent="host", pci_address="0000:00")
    return Machine(
        MachineDocument(
            tool=Tool(tool_version="0"),
            origin=origin,
            sources=("test",),
            nodes=(Host(id="host", name="box", **host), root, *nodes),
            links=tuple(links),
            pairs=tuple(pairs),
            contradictions=tuple(contradictions),
            unknown=tuple(unknown),
            provenance=tuple(provenance),
        )
    )


def levels(verdicts: Iterable[Verdict]) -> list[str]:
    return [verdict.level for verdict in verdicts]


def _can(what: Lanes | None) -> Any:
    if what is None:
        return None
    generation, lanes = what
    return capability(None if generation is None else GT[generation], lanes)
