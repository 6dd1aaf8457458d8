"""Links of a GPU in NCCL's files: nvlink, xgmi and c2c elements."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from topoprobe.machine.addresses import normal_address
from topoprobe.machine.facts import PeerFact
from topoprobe.machine.nvlink import nvlink_bytes_per_s
from topoprobe.machine.sources.nccl_xml.words import class_code
from topoprobe.machine.sources.xml import integer
from topoprobe.records.base import Missing
from topoprobe.records.machine import LinkKind

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

PEER_KINDS = {"nvlink": LinkKind.NVLINK, "xgmi": LinkKind.XGMI, "c2c": LinkKind.C2C}
# What NCCL writes for NVSwitches that a container hides: fffffff:ffff:ff, fffffff:ff:ff.0.
_HIDDEN_SWITCH = re.compile(r"f+:f+:f+(\.0)?", re.IGNORECASE)
_BRIDGE, _IBM_LINK_UNIT = "0680", "068001"  # NVSwitches are bridges; POWER9 has link units
# NVLinks of a GPU are 36 at most, and xGMI links 8.
_MAX_COUNT = 64


def read_peer(
    element: Element, subject: str, compute_capability: str | None, numa: int | None
) -> PeerFact | Missing:
    """Return the bundle that an element tells of, or what is wrong with it.

    Parameters
    ----------
    element : Element
        With one of the tags of `PEER_KINDS`.
    subject : str
        Of the GPU.
    compute_capability : str or None
        Of the GPU: a link's rate follows from it.
    numa : int or None
        Node of the CPU that the GPU hangs on, which is the far end of a C2C link.
    """
    written, count = element.get("target", ""), integer(element.get("count"))
    fact = f"{element.tag} to {written or 'an end that is not told'}"
    if count is None or not 0 < count <= _MAX_COUNT:
        told = element.get("count")
        reason = f"The file says count={told!r}." if told else "The file tells no count."
        return Missing(subject=subject, fact=fact, reason=reason)
    kind, target = PEER_KINDS[element.tag], normal_address(written)
    end = _far_end(kind, class_code(element.get("tclass")) or "", written, target)
    if end is None:
        reason = "Its other end is no PCI address."
        return Missing(subject=subject, fact=fact, reason=reason)
    rate = nvlink_bytes_per_s(compute_capability) if kind is LinkKind.NVLINK else None
    per_link = integer(element.get("bw"))  # MB/s
    if per_link is not None and per_link > 0:
        rate = per_link * 1e6
    return PeerFact(
        a=subject,
        b=target,
        b_kind=end,
        b_numa_index=numa if end == "cpu" else None,
        kind=kind,
        count=count,
        bandwidth_bytes_per_s=None if rate is None else rate * count,
    )


def _far_end(
    kind: LinkKind, target_class: str, written: str, target: str | None
) -> Literal["gpu", "nvswitch", "cpu"] | None:
    if target_class == _IBM_LINK_UNIT or (kind is LinkKind.C2C and target is None):
        return "cpu"
    if target_class.startswith(_BRIDGE) or _HIDDEN_SWITCH.fullmatch(written.strip()):
        return "nvswitch"
    return None if target is None else "gpu"
