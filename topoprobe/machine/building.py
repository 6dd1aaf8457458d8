"""Building the machine document from the facts of its sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from topoprobe.machine.devices import Kind
from topoprobe.machine.facts import Facts
from topoprobe.machine.inventory import ENDPOINTS, FABRIC, LINKED, Inventory
from topoprobe.machine.joining import join
from topoprobe.machine.nodes import make_nodes
from topoprobe.machine.nvlink import expected_num_nvlinks
from topoprobe.machine.paths import Told, pairs_of
from topoprobe.machine.scrutiny import (
    doubtful_memory,
    doubtful_places,
    doubtful_uplinks,
    emulated_switches,
    odd_current_readings,
)
from topoprobe.machine.view import Machine
from topoprobe.machine.wiring import peer_links
from topoprobe.records.base import Missing, Tool
from topoprobe.records.machine import (
    AnyNode,
    Gpu,
    Link,
    LinkKind,
    MachineDocument,
    Package,
    PciNode,
    Provenance,
)

# Facts whose absence is judged after joining, when another source may have told them.
_JUDGED_LATER = {"numa_index", "maximum", "parent"}
# Why a fact is unknown that no source was asked for.
SILENCE = "No source tells it."


def build(
    sources: Sequence[Facts],
    *,
    origin: Literal["live", "recorded", "synthetic"],
    tool: Tool,
    captured_at: str | None = None,
) -> MachineDocument:
    """Join facts and fold them into a machine document.

    Parameters
    ----------
    sources : sequence of Facts
        What each source saw of one and the same machine.
    origin : str
        Whether the machine was read now, from a recording, or made up.
    tool : Tool
        The program that writes the document.
    captured_at : str, optional
        ISO 8601 time of a live reading.
    """
    joined = join(sources)
    facts = emulated_switches(doubtful_memory(doubtful_places(joined.facts)))
    inventory = Inventory(facts)
    made = make_nodes(inventory)
    pcie, lopsided, withdrawn = doubtful_uplinks(list(_pcie_links(inventory)))
    peers, impossible = peer_links(facts.peers, inventory.node_id, FABRIC, made.nodes)
    sockets, unwired = _between_sockets(made.nodes)
    draft = MachineDocument(
        tool=tool,
        origin=origin,
        sources=tuple(s.source for s in sources if _tells_anything(s.source, joined.origins)),
        captured_at=captured_at,
        nodes=made.nodes,
        links=(*pcie, *peers, *sockets),
    )
    pairs = pairs_of(Machine(draft), _told(inventory))
    renamed = (
        msgspec.structs.replace(c, subject=inventory.node_id(c.subject))
        for c in facts.contradictions
    )
    return msgspec.structs.replace(
        draft,
        pairs=pairs.pairs,
        contradictions=(
            *renamed,
            *made.contradictions,
            *lopsided,
            *odd_current_readings(
                [link for link in pcie if not link.may_be_maximum], inventory.functions
            ),
            *impossible,
            *pairs.contradictions,
        ),
        unknown=_distinct(
            (
                *_unknown_to_sources(inventory, draft),
                *made.unknown,
                *withdrawn,
                *_unknown_endpoints(inventory, draft),
                *unwired,
                *pairs.unknown,
                *_unknown_nvlinks(draft, facts),
            )
        ),
        provenance=tuple(_provenance(inventory, joined.origins)),
    )


def _told(inventory: Inventory) -> dict[frozenset[str], Told]:
    return {
        frozenset((inventory.node_id(p.a), inventory.node_id(p.b))): Told(
            p.path_class, p.peer_status, p.pcie_class
        )
        for p in inventory.facts.pairs
    }


def _pcie_links(inventory: Inventory) -> Iterator[Link]:
    for function in inventory.tree.switches():
        link = inventory.tree.link(function, f"pcie_switch@{function.address}")
        if link is not None:
            yield link
    for function in inventory.facts.functions:
        kind = inventory.kinds[function.address]
        if kind is Kind.BRIDGE:
            continue
        link = inventory.tree.link(function, inventory.node_id(function.address))
        if link is not None and link.a == "host":
            link = msgspec.structs.replace(link, a=inventory.above(function))
        # A function that sits on a root bus and is nobody's device is part of the chip set.
        if link is not None and (link.a_port or kind in LINKED):
            yield link


def _between_sockets(nodes: Sequence[AnyNode]) -> tuple[tuple[Link, ...], tuple[Missing, ...]]:
    """Link two sockets, which can only be wired in one way; more could be in several."""
    packages = [node.id for node in nodes if isinstance(node, Package)]
    if len(packages) < 2:
        return (), ()
    if len(packages) > 2:
        reason = "No source tells how they are wired."
        return (), (Missing(subject="host", fact="links between packages", reason=reason),)
    one, other = packages
    link = Link(
        id=f"inter_socket@{one}-{other}",
        kind=LinkKind.INTER_SOCKET,
        a=one,
        b=other,
        wire=f"wire@{one}-{other}",
    )
    reason = "No source tells the rate of the inter-socket link."
    return (link,), (Missing(subject=link.id, fact="nominal", reason=reason),)


def _unknown_endpoints(inventory: Inventory, draft: MachineDocument) -> Iterator[Missing]:
    """Say what is unknown about the place and link of GPUs, NICs and drives."""
    reasons = {(m.subject, m.fact): m.reason for m in inventory.facts.unknown}
    above = {link.b: link for link in draft.links if link.kind is LinkKind.PCIE}
    nodes = {node.pci_address: node for node in draft.nodes if isinstance(node, PciNode)}
    for address, kind in inventory.kinds.items():
        if kind not in ENDPOINTS:
            continue
        node = nodes[address]
        if node.numa_index is None:
            reason = reasons.get((address, "numa_index"), SILENCE)
            yield Missing(subject=node.id, fact="numa_index", reason=reason)
        link = above.get(node.id)
        if link is None or link.a == "host":
            reason = reasons.get((address, "parent"), SILENCE)
            yield Missing(subject=node.id, fact="parent", reason=reason)
        if link is not None and (
            link.nominal is None or link.nominal.bandwidth_bytes_per_s is None
        ):
            reason = reasons.get((address, "maximum"), SILENCE)
            yield Missing(subject=link.id, fact="nominal", reason=reason)
    for gpu in inventory.facts.gpus:
        if gpu.subject in inventory.gpus_without_address and gpu.numa_index is None:
            reason = reasons.get((gpu.subject, "numa_index"), SILENCE)
            yield Missing(subject=gpu.subject, fact="numa_index", reason=reason)


def _unknown_nvlinks(draft: MachineDocument, facts: Facts) -> Iterator[Missing]:
    """Say where GPUs that have or may have NVLinks show none because nobody could see them."""
    explained = {m.subject for m in facts.unknown if "nvlink" in m.fact}
    is_matrix_told = any(pair.path_class for pair in facts.pairs)
    for gpu in draft.nodes:
        if not isinstance(gpu, Gpu) or gpu.num_nvlinks is not None:
            continue
        may_have = _is_of_unknown_model(gpu) and not is_matrix_told
        if (expected_num_nvlinks(gpu) or may_have) and not {gpu.id, gpu.pci_address} & explained:
            reason = "No source shows its NVLinks; classes between GPUs are those of PCIe."
            yield Missing(subject=gpu.id, fact="num_nvlinks", reason=reason)


def _is_of_unknown_model(gpu: Gpu) -> bool:
    """Tell a GPU that may be NVIDIA's of which no source says what it is."""
    is_named = gpu.model or gpu.pci_device or gpu.architecture
    return not is_named and gpu.pci_vendor in {None, "10de"}


def _unknown_to_sources(inventory: Inventory, draft: MachineDocument) -> Iterator[Missing]:
    """Say what sources missed, unless another one told it."""
    placed = {node.id for node in draft.nodes if isinstance(node, PciNode) and node.cpus}
    kinds = set(inventory.kinds.values())
    for missing in inventory.facts.unknown:
        subject = inventory.node_id(missing.subject)
        is_told = (
            (missing.fact == "cpus" and subject in placed)
            or (missing.fact == "nvlink peers" and bool(inventory.facts.peers))
            or (missing.fact == "kinds" and any(kind in LINKED for kind in kinds))
        )
        if missing.fact not in _JUDGED_LATER and not is_told:
            yield msgspec.structs.replace(missing, subject=subject)


def _distinct(unknown: Iterable[Missing]) -> tuple[Missing, ...]:
    """Keep the first reason for each missing fact: the sources know best why."""
    found: dict[tuple[str, str], Missing] = {}
    for missing in unknown:
        found.setdefault((missing.subject, missing.fact), missing)
    return tuple(found.values())


def _tells_anything(source: str, origins: dict[str, dict[str, tuple[str, ...]]]) -> bool:
    return any(source in said for said in origins.values())


def _provenance(
    inventory: Inventory, origins: dict[str, dict[str, tuple[str, ...]]]
) -> Iterator[Provenance]:
    for subject, said in origins.items():
        # A pair is told of by both its ends.
        ends = " ".join(inventory.node_id(end) for end in subject.split(" "))
        for source, facts in said.items():
            yield Provenance(subject=ends, source=source, facts=facts)
    for function in inventory.facts.functions:
        if function.numa_index is None and inventory.numa_of_cpus(function) is not None:
            yield Provenance(
                subject=inventory.node_id(function.address),
                source="derived from the CPUs near it",
                facts=("numa_index",),
            )
