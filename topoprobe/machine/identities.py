"""Finding the PCI addresses of devices that a source only numbers or names.

`nvidia-smi` prints GPUs by number, in the order of their PCI addresses, and NICs by the name of
their verbs device. Where another source of the same machine tells the addresses, the facts move
there; where none does, the device stays what it was called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from topoprobe.machine.addresses import sort_key
from topoprobe.machine.devices import Kind, kind_of
from topoprobe.machine.facts import Facts, NicFact, PciFact
from topoprobe.records.base import Missing

_DRIVER = "nvidia"


def with_addresses(sources: Sequence[Facts]) -> list[Facts]:
    """Rename the subjects of each source to the addresses that the other sources know.

    A GPU is recognised by its UUID, or else by its number among NVIDIA's GPUs, if their count is
    the same; a NIC by the name of a port. Where the counts differ the numbers mean nothing
    (`strangers` says so). Sources that only number their GPUs mean the same ones by the same
    numbers.
    """
    by_uuid = _names_by_uuid(sources)
    in_order = _addresses_in_order(sources)
    by_port = _addresses_by_port(sources)
    nameless = _nics_without_names(sources, by_port)
    renamed = []
    for facts in sources:
        numbered = sorted(filter(is_number, (g.subject for g in facts.gpus)), key=_number)
        names = _gpu_names(numbered, by_uuid, in_order)
        names.update({f"nic:{n.key}": by_port[n.key] for n in facts.nics if n.key in by_port})
        renamed.append(_renamed(_without_doubles(facts, by_port, nameless), names))
    return renamed


def is_number(subject: str) -> bool:
    """Tell whether a source knows a GPU by its number alone."""
    return subject.startswith("gpu:")


def _number(subject: str) -> int:
    return int(subject.removeprefix("gpu:"))


def _names_by_uuid(sources: Sequence[Facts]) -> dict[str, str]:
    """Return the addresses of the numbers that one source tells together with a known UUID."""
    known = [gpu for facts in sources for gpu in facts.gpus if gpu.uuid]
    addresses = {gpu.uuid: gpu.subject for gpu in known if not is_number(gpu.subject)}
    return {
        gpu.subject: addresses[gpu.uuid]
        for gpu in known
        if is_number(gpu.subject) and gpu.uuid in addresses
    }


def _addresses_in_order(sources: Sequence[Facts]) -> list[str]:
    """List the GPUs that `nvidia-smi` would number, as the most complete source knows them."""
    longest = max((numberable(facts) for facts in sources), key=len, default=[])
    return sorted((function.address for function in longest), key=sort_key)


def numberable(facts: Facts) -> list[PciFact]:
    """Choose NVIDIA's GPUs, without those that were given to another driver."""
    gpus = [
        f
        for f in facts.functions
        if kind_of(f, has_storage=False) is Kind.GPU and f.vendor in {"10de", None}
    ]
    driven = [f for f in gpus if f.driver == _DRIVER]
    return driven or gpus


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


def _nics_without_names(sources: Sequence[Facts], by_port: Mapping[str, str]) -> set[str]:
    """Return the addresses of NICs whose ports no source names."""
    nics = {
        f.address
        for facts in sources
        for f in facts.functions
        if kind_of(f, has_storage=False) is Kind.NIC
    }
    return nics - set(by_port.values())


def _gpu_names(
    numbered: Sequence[str], by_uuid: Mapping[str, str], in_order: Sequence[str]
) -> dict[str, str]:
    names = {subject: by_uuid[subject] for subject in numbered if subject in by_uuid}
    others = [subject for subject in numbered if subject not in names]
    places = [address for address in in_order if address not in set(names.values())]
    if len(others) == len(places):
        names.update(zip(others, places, strict=True))
    return names


def _without_doubles(facts: Facts, by_port: Mapping[str, str], nameless: set[str]) -> Facts:
    """Leave out NICs that another source lists too, where no name tells which one is which.

    What has no name at all is one of the others' NICs; what has one may be.
    """
    doubles = [
        nic
        for nic in facts.nics
        if nic.address is None
        and nic.key not in by_port
        and (nameless or (by_port and not nic.ports))
    ]
    if not doubles:
        return facts
    subjects = {f"nic:{nic.key}" for nic in doubles}
    replace = msgspec.structs.replace
    return replace(
        facts,
        nics=tuple(nic for nic in facts.nics if nic not in doubles),
        pairs=tuple(pair for pair in facts.pairs if not {pair.a, pair.b} & subjects),
        unknown=(*(m for m in facts.unknown if m.subject not in subjects), *_lost(facts, doubles)),
    )


def _lost(facts: Facts, doubles: Sequence[NicFact]) -> Iterator[Missing]:
    names = ", ".join(nic.key for nic in doubles)
    reason = f"{facts.source} names no address and the sources with addresses name no such port."
    yield Missing(subject="host", fact=f"which NIC is {names}", reason=reason)


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
