"""Finding the PCI addresses of devices that a source only numbers or names.

`nvidia-smi` prints GPUs by number, in the order of their PCI addresses, and NICs by the name of
their verbs device. Where another source of the same machine tells the addresses, the facts move
there; where none does, the device stays what it was called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from topoprobe.machine.addresses import sort_key
from topoprobe.machine.devices import Kind, kind_of
from topoprobe.machine.facts import Facts, GpuFact
from topoprobe.records.machine import Contradiction


def with_addresses(sources: Sequence[Facts]) -> list[Facts]:
    """Rename the subjects of each source to the addresses that the other sources know.

    A GPU is recognised by its UUID, or else by its number among NVIDIA's GPUs, if their count is
    the same; a NIC by the name of a port. Where the counts differ the numbers mean nothing, which
    is reported.
    """
    by_uuid = _addresses_by_uuid(sources)
    by_order = _addresses_in_order(sources)
    by_port = _addresses_by_port(sources)
    renamed = []
    for facts in sources:
        numbered = {g.subject: g for g in facts.gpus if g.subject.startswith("gpu:")}
        names = _gpu_names(numbered, by_uuid, by_order)
        nics = {f"nic:{n.key}": by_port[n.key] for n in facts.nics if n.key in by_port}
        names.update(nics)
        changed = _renamed(facts, names)
        if numbered and by_order and not names.keys() & numbered.keys():
            changed = _with_complaint(changed, len(numbered), len(by_order))
        renamed.append(changed)
    return renamed


def _addresses_by_uuid(sources: Sequence[Facts]) -> dict[str, str]:
    return {
        gpu.uuid: gpu.subject
        for facts in sources
        for gpu in facts.gpus
        if gpu.uuid and not gpu.subject.startswith("gpu:")
    }


def _addresses_in_order(sources: Sequence[Facts]) -> list[str]:
    """List the GPUs that `nvidia-smi` would number, as the most complete source knows them."""
    lists: list[list[str]] = [
        [
            f.address
            for f in facts.functions
            if kind_of(f, has_storage=False) is Kind.GPU and f.vendor in {"10de", None}
        ]
        for facts in sources
    ]
    longest = max(lists, key=lambda addresses: len(addresses), default=[])
    return sorted(longest, key=sort_key)


def _addresses_by_port(sources: Sequence[Facts]) -> dict[str, str]:
    return {
        name: nic.address
        for facts in sources
        for nic in facts.nics
        if nic.address is not None
        for port in nic.ports
        for name in (port.name, port.net_interface, port.verbs_device)
        if name
    }


def _gpu_names(
    numbered: Mapping[str, GpuFact], by_uuid: Mapping[str, str], by_order: Sequence[str]
) -> dict[str, str]:
    names = {s: by_uuid[g.uuid] for s, g in numbered.items() if g.uuid and g.uuid in by_uuid}
    if names or len(numbered) != len(by_order):
        return names
    ordered = sorted(numbered, key=lambda subject: int(subject.removeprefix("gpu:")))
    return dict(zip(ordered, by_order, strict=True))


def _renamed(facts: Facts, names: Mapping[str, str]) -> Facts:
    if not names:
        return facts

    def name(subject: str | None) -> str | None:
        return names.get(subject or "", subject)

    replace = msgspec.structs.replace
    return replace(
        facts,
        gpus=tuple(replace(g, subject=name(g.subject)) for g in facts.gpus),
        partitions=tuple(replace(p, subject=name(p.subject)) for p in facts.partitions),
        peers=tuple(replace(p, a=name(p.a), b=name(p.b)) for p in facts.peers),
        pairs=tuple(replace(p, a=name(p.a), b=name(p.b)) for p in facts.pairs),
        numas=tuple(replace(n, memory_of=name(n.memory_of)) for n in facts.numas),
        nics=tuple(
            replace(n, address=names[f"nic:{n.key}"]) if f"nic:{n.key}" in names else n
            for n in facts.nics
        ),
        unknown=tuple(replace(m, subject=name(m.subject)) for m in facts.unknown),
        contradictions=tuple(replace(c, subject=name(c.subject)) for c in facts.contradictions),
    )


def _with_complaint(facts: Facts, numbered: int, addressed: int) -> Facts:
    complaint = Contradiction(
        subject="host",
        fact="number of GPUs",
        readings=(f"{facts.source}: {numbered}", f"other sources: {addressed}"),
        meaning="The GPUs that are only numbered cannot be matched with those that have addresses.",
    )
    return msgspec.structs.replace(facts, contradictions=(*facts.contradictions, complaint))
