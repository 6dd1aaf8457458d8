"""Joining the facts of several sources about one machine, keeping who said what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from topoprobe.machine.addresses import format_cpu_list, sort_key
from topoprobe.machine.facts import Fact, Facts, PartitionFact, PciFact
from topoprobe.machine.identities import with_addresses
from topoprobe.records.base import Missing
from topoprobe.records.machine import Capability, Contradiction

F = TypeVar("F", bound=Fact)

# Fields that honest sources may tell differently: a name is a matter of taste, a link rests when
# idle, some memory is reserved before it is counted, and sources see more or less of the tree
# (`_tree_first` chooses among those).
_MAY_DIFFER = {
    "name", "current", "nominal", "memory_bytes", "root", "parent", "role", "ports", "driver",
    "has_interface", "performance_state", "is_idle", "power_state", "num_pcie_replays",
    "current_or_maximum", "allowed_cpus", "allowed_numas", "health",
}  # fmt: skip
_KEYS = {"address", "subject", "key", "os_index", "a", "b"}


class Joined(NamedTuple):
    """All facts about one machine.

    `origins` tells, for each subject (``host``, an address, ``numa:0``…), which source gave which
    of its fields.
    """

    facts: Facts
    origins: dict[str, dict[str, tuple[str, ...]]]


def join(sources: Sequence[Facts]) -> Joined:
    """Join facts field by field; where two sources disagree the first stays and both are told.

    The source with the most complete PCI tree is asked first. Bridges that only a less complete
    tree shows are left out: NCCL's files invent switches and skip root ports.
    """
    ordered = _tree_first(with_addresses(sources))
    origins: dict[str, dict[str, tuple[str, ...]]] = {}
    contradictions: list[Contradiction] = [c for s in ordered for c in s.contradictions]

    def merge(attribute: str, subject: Callable[[Any], str]) -> tuple[Any, ...]:
        gathered: dict[str, list[tuple[str, Fact]]] = {}
        for source in ordered:
            for fact in getattr(source, attribute):
                gathered.setdefault(subject(fact), []).append((source.source, fact))
        return tuple(
            _merge_one(name, said, origins, contradictions) for name, said in gathered.items()
        )

    hosts = [(s.source, s.host) for s in ordered if s.host is not None]
    facts = Facts(
        source=", ".join(s.source for s in ordered),
        tree=ordered[0].tree if ordered else "none",
        host=_merge_one("host", hosts, origins, contradictions) if hosts else None,
        packages=merge("packages", lambda f: f"package:{f.os_index}"),
        numas=merge("numas", lambda f: f"numa:{f.os_index}"),
        roots=merge("roots", lambda f: f"root {f.key}"),
        functions=_in_order(merge("functions", lambda f: f.address)),
        nics=merge("nics", lambda f: f.address or f"nic {f.key}"),
        storage=merge("storage", lambda f: f.address),
        memory_devices=merge("memory_devices", lambda f: f.address),
        gpus=merge("gpus", lambda f: f.subject),
        partitions=_first_of_each(p for s in ordered for p in s.partitions),
        peers=_first_that_tells(ordered),
        pairs=merge("pairs", lambda f: " ".join(sorted((f.a, f.b)))),
        unknown=_distinct(m for s in ordered for m in s.unknown),
        contradictions=tuple(contradictions),
    )
    return Joined(facts, origins)


def _tree_first(sources: Sequence[Facts]) -> list[Facts]:
    rank = {"full": 0, "switches": 1, "none": 2}
    ordered = sorted(sources, key=lambda s: rank[s.tree])
    if not ordered or ordered[0].tree != "full":
        return ordered
    known = {f.address for f in ordered[0].functions}
    return [ordered[0], *(_without_invented_bridges(source, known) for source in ordered[1:])]


def _without_invented_bridges(source: Facts, known: set[str]) -> Facts:
    kept = []
    for function in source.functions:
        is_placed = function.address in known
        is_bridge = function.class_code is not None and function.class_code.startswith("0604")
        if is_bridge and (source.tree == "switches" or not is_placed):
            continue
        kept.append(
            msgspec.structs.replace(function, parent=None, root=None)
            if is_placed or function.parent not in known
            else function
        )
    return msgspec.structs.replace(source, functions=tuple(kept), roots=())


def _merge_one(
    subject: str,
    said: Sequence[tuple[str, F]],
    origins: dict[str, dict[str, tuple[str, ...]]],
    contradictions: list[Contradiction],
) -> F:
    merged = said[0][1]
    mine = origins.setdefault(subject, {})
    for source, fact in said:
        given, changes = [], {}
        for field in fact.__struct_fields__:
            value = getattr(fact, field)
            if value is None or value == () or field in _KEYS:
                continue
            given.append(field)
            kept = getattr(merged, field)
            if kept is None or kept == () or _is_more(field, kept, value):
                changes[field] = value
            elif not _agree(field, kept, value):
                contradictions.append(
                    Contradiction(
                        subject=subject,
                        fact=field,
                        readings=(
                            f"{said[0][0]}: {_reading(field, kept)}",
                            f"{source}: {_reading(field, value)}",
                        ),
                        meaning="Two sources disagree; the first is used.",
                    )
                )
        if changes:
            merged = msgspec.structs.replace(merged, **changes)
        if given:
            mine[source] = tuple(dict.fromkeys((*mine.get(source, ()), *given)))
    return merged


def _reading(field: str, value: Any) -> str:
    return format_cpu_list(value) if field == "cpus" else str(value)


def _is_more(field: str, kept: object, value: object) -> bool:
    """Tell whether a later source knows the same better: more digits, or an interface it saw."""
    if field == "class_code":
        return str(value).startswith(str(kept)) and value != kept
    return field == "has_interface" and value is True and kept is False


def _agree(field: str, kept: object, value: object) -> bool:
    if field == "class_code":
        return str(kept).startswith(str(value))
    if isinstance(kept, Capability) and isinstance(value, Capability):
        # A driver tells the generation of a port without its lanes.
        both = zip(msgspec.structs.astuple(kept), msgspec.structs.astuple(value), strict=True)
        return field in _MAY_DIFFER or all(a is None or b is None or a == b for a, b in both)
    return kept == value or field in _MAY_DIFFER


def _in_order(functions: Iterable[PciFact]) -> tuple[PciFact, ...]:
    return tuple(sorted(functions, key=lambda f: sort_key(f.address)))


def _first_that_tells(sources: Sequence[Facts]) -> tuple[Any, ...]:
    """Take peer links from one source only: sources count and name them too differently to mix."""
    told = sorted((s for s in sources if s.peers), key=lambda s: s.are_peers_inferred)
    return told[0].peers if told else ()


def _first_of_each(partitions: Iterable[PartitionFact]) -> tuple[PartitionFact, ...]:
    found: dict[tuple[str, str], PartitionFact] = {}
    for partition in partitions:
        found.setdefault((partition.subject, partition.key), partition)
    return tuple(found.values())


def _distinct(missing: Iterable[Missing]) -> tuple[Missing, ...]:
    return tuple({(m.subject, m.fact): m for m in missing}.values())
