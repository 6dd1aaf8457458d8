"""Links between devices that are no PCIe: NVLink, xGMI and C2C, from what each end tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from topoprobe.machine.facts import PeerFact
from topoprobe.machine.nvlink import (
    capability_of_device,
    capability_of_model,
    nvlink_bytes_per_s,
)
from topoprobe.records.machine import (
    AnyNode,
    Capability,
    Contradiction,
    Gpu,
    Link,
    LinkKind,
    PciNode,
)


def peer_links(
    peers: Sequence[PeerFact],
    id_of: Callable[[str], str],
    fabric: str,
    nodes: Sequence[AnyNode],
) -> tuple[tuple[Link, ...], tuple[Contradiction, ...]]:
    """Join what both ends tell about each bundle of links.

    Parameters
    ----------
    peers : sequence of PeerFact
        One entry per end and bundle; GPU-GPU bundles are usually told by both ends.
    id_of : callable
        Gives the node id of a PCI address.
    fabric : str
        Node id of the NVSwitch whose address is hidden.
    nodes : sequence of nodes
        What there is; a link to anything else is reported and left out.

    Returns
    -------
    links : tuple of Link
    contradictions : tuple of Contradiction
        Links of a GPU to itself, to devices that are not there, and ends that disagree.
    """
    known = {node.id: node for node in nodes}
    links: dict[tuple[str, str, str], Link] = {}
    contradictions = []
    for peer in peers:
        a, b = id_of(peer.a), _far_end(peer, id_of, fabric, known)
        complaint = _impossible(peer, a, b, known)
        if complaint is not None:
            contradictions.append(complaint)
            continue
        key = (min(a, b), max(a, b), peer.kind.value)
        other = links.get(key)
        if other is None:
            links[key] = _link(peer, a, b, known[a])
        elif other.a == b and other.count != peer.count:
            contradictions.append(
                Contradiction(
                    subject=other.id,
                    fact="count",
                    readings=(f"{other.a}: {other.count}", f"{a}: {peer.count}"),
                    meaning="The two ends count their links differently; the first is used.",
                )
            )
    return tuple(links.values()), tuple(contradictions)


def _far_end(
    peer: PeerFact, id_of: Callable[[str], str], fabric: str, known: Mapping[str, AnyNode]
) -> str:
    if peer.b_kind == "cpu":
        gpu = known.get(id_of(peer.a))
        beside = gpu.numa_index if isinstance(gpu, PciNode) else None
        numa = f"numa:{beside if peer.b_numa_index is None else peer.b_numa_index}"
        return numa if numa in known else "host"
    if peer.b is None:
        return fabric
    found = id_of(peer.b)
    return f"nvswitch@{peer.b}" if peer.b_kind == "nvswitch" and found == peer.b else found


def _impossible(
    peer: PeerFact, a: str, b: str, known: Mapping[str, AnyNode]
) -> Contradiction | None:
    if a == b:
        return Contradiction(
            subject=a,
            fact=f"{peer.kind} peers",
            readings=(f"{peer.count} links to itself",),
            meaning="A GPU has no link to itself; the recording is wrong and the links are left "
            "out.",
        )
    missing = next((end for end in (a, b) if end not in known), None)
    if missing is not None:
        return Contradiction(
            subject=a if missing == b else b,
            fact=f"{peer.kind} peers",
            readings=(f"{peer.count} links to {missing}", f"no device {missing}"),
            meaning="The other end is hidden from this process or left out of the recording; the "
            "links are left out.",
        )
    return None


def _link(peer: PeerFact, a: str, b: str, gpu: AnyNode) -> Link:
    link_id = f"{peer.kind}@{a}-{b}"
    rate = peer.bandwidth_bytes_per_s
    if rate is None and peer.kind is LinkKind.NVLINK and isinstance(gpu, Gpu):
        per_link = _per_link(gpu)
        rate = None if per_link is None else per_link * peer.count
    return Link(
        id=link_id,
        kind=peer.kind,
        a=a,
        b=b,
        wire=f"wire@{link_id}",
        count=peer.count,
        nominal=None if rate is None else Capability(bandwidth_bytes_per_s=rate),
    )


def _per_link(gpu: Gpu) -> float | None:
    """Return the rate of a product's NVLinks, for sources that only count them."""
    capability = (
        gpu.compute_capability
        or capability_of_device(gpu.pci_vendor, gpu.pci_device)
        or capability_of_model(gpu.model)
    )
    return nvlink_bytes_per_s(capability)
