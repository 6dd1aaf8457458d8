"""Findings about how the machine is wired, and what nobody knows about it."""

from __future__ import annotations

from collections.abc import Mapping

from topoprobe.records.machine import Contradiction, Gpu, Link, LinkKind

from .finding import Finding, capital, count, some, word
from .links import is_narrowed
from .nodes import title_of
from .quantity import format_percent
from .section import Documents

_MOST_GROUPS = 8
_FACTS = {
    "base_clock_hz": "the base clock",
    "current": "the speed",
    "nominal": "the nominal rate",
    "numa_index": "the NUMA node",
    "memory_bytes": "the memory size",
    "nvml": "what the driver knows",
    "parent": "the place in the tree",
    "pci_vendor": "the vendor",
}


def narrow_links(documents: Documents) -> list[Finding]:
    """Name links with fewer lanes than both ends have."""
    if documents.machine is None:
        return []
    titles = {node.id: title_of(node) for node in documents.machine.nodes}
    found = []
    for link in documents.machine.links:
        if link.nominal is None or link.current is None or not is_narrowed(link):
            continue
        lanes, all_lanes = link.current.num_lanes or 0, link.nominal.num_lanes or 1
        rest = (
            f"That costs {format_percent(1 - lanes / all_lanes)} of its link: reseat it, or check "
            f"how its slot is wired ({link.b})."
        )
        lead = f"{titles.get(link.b, link.b)} runs x{lanes} of x{all_lanes}."
        found.append(Finding("bad", lead, rest))
    return found


def shared_uplinks(documents: Documents) -> list[Finding]:
    """Name GPUs that share one link to the CPUs."""
    if documents.machine is None:
        return []
    uplinks = {link.b: link for link in documents.machine.links if link.kind is LinkKind.PCIE}
    sharing: dict[str, list[str]] = {}
    for node in documents.machine.nodes:
        top = _top_link(node.id, uplinks) if isinstance(node, Gpu) else None
        if top is not None:
            sharing.setdefault(top.id, []).append(title_of(node))
    groups = [names for names in sharing.values() if len(names) > 1]
    if not groups:
        return []
    sizes = " or ".join(word(size) for size in sorted({len(names) for names in groups}))
    gpus = capital(count(sum(map(len, groups)), "GPU"))
    lead = f"{gpus} share links to the CPUs, {sizes} to a link."
    listed = "; ".join(", ".join(names) for names in groups[:_MOST_GROUPS])
    return [Finding("note", lead, f"Host copies of these get one link's rate together: {listed}.")]


def contradictions(documents: Documents) -> list[Finding]:
    """Tell of facts with two readings, the same mistake on many devices once."""
    if documents.machine is None:
        return []
    alike: dict[tuple[str, str], list[Contradiction]] = {}
    for one in documents.machine.contradictions:
        alike.setdefault((one.fact, one.meaning), []).append(one)
    found = []
    for (fact, meaning), ones in alike.items():
        more = f" and {len(ones) - 1} more" if len(ones) > 1 else ""
        lead = f"Two readings of {_words(fact)} of {ones[0].subject}{more} disagree."
        rest = f"{' against '.join(ones[0].readings)}. {capital(meaning)}"
        found.append(Finding("warn", lead, rest))
    return found


def unknown_facts(documents: Documents) -> list[Finding]:
    """Say how many facts are unknown and why, one clause for each reason."""
    if documents.machine is None or not documents.machine.unknown:
        return []
    by_reason: dict[str, list[str]] = {}
    for one in documents.machine.unknown:
        fact = f"{_words(one.fact)} of {one.subject}"
        by_reason.setdefault(one.reason.rstrip("."), []).append(fact)
    clauses = [
        f"{facts[0]}{f' and {len(facts) - 1} alike' if len(facts) > 1 else ''} ({reason})"
        for reason, facts in by_reason.items()
    ]
    number = len(documents.machine.unknown)
    verb = "is" if number == 1 else "are"
    lead = f"{capital(count(number, 'fact'))} about the machine {verb} unknown."
    counts = [len(facts) for facts in by_reason.values()]
    return [Finding("note", lead, f"{capital(some(clauses, counts))}.")]


def _top_link(node_id: str, uplinks: Mapping[str, Link]) -> Link | None:
    """Return the link nearest to the CPUs on the way up from a node."""
    top, seen = uplinks.get(node_id), {node_id}
    while top is not None and top.a in uplinks and top.a not in seen:
        seen.add(top.a)
        top = uplinks[top.a]
    return top


def _words(fact: str) -> str:
    return _FACTS.get(fact, fact.replace("_", " "))
