"""Bandwidth matrices between GPUs in hwloc's files: NVLink, xGMI, Xe Link."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from topoprobe.machine.facts import PciFact, PeerFact
from topoprobe.machine.nvlink import (
    capability_of_device,
    capability_of_model,
    nvlink_bytes_per_s,
)
from topoprobe.machine.sources.hwloc_xml.cpus import numbers, words
from topoprobe.records.base import Missing
from topoprobe.records.machine import LinkKind

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_KINDS = {
    "NVLinkBandwidth": LinkKind.NVLINK,
    "XGMIBandwidth": LinkKind.XGMI,
    "XeLinkBandwidth": LinkKind.XELINK,
}
# Bytes per second of a link by the first number of the compute capability; else 25e9.
_ASSUMED = {"6": 20e9, "10": 50e9}


class Ends(NamedTuple):
    """The devices that a matrix may speak of.

    Attributes
    ----------
    addresses : mapping
        Addresses by the file's own numbers of objects.
    functions : mapping
        By address.
    models : mapping
        Names of GPUs by address.
    """

    addresses: Mapping[str, str]
    functions: Mapping[str, PciFact]
    models: Mapping[str, str]


def read_peers(root: Element, ends: Ends) -> Iterator[PeerFact | Missing]:
    """Yield the bundles of links that matrices tell of, or why one tells nothing."""
    for matrix in (*root.iter("distances2"), *root.iter("distances2hetero")):
        name = matrix.get("name", "")
        if name not in _KINDS:
            continue
        indexes, values = words(matrix, "indexes"), numbers(matrix, "u64values")
        size = len(indexes)
        if not size or len(values) != size * size:
            reason = f"The matrix has {len(values)} values for {size} devices."
            yield Missing(subject="host", fact=name, reason=reason)
            continue
        # Mixed matrices write the type before the index: `OSDev:802`.
        addresses = [ends.addresses.get(index.rpartition(":")[2]) for index in indexes]
        if None in addresses:
            reason = "The matrix speaks of devices that the file does not have."
            yield Missing(subject="host", fact=name, reason=reason)
        seen = set()
        for row, a in enumerate(addresses):
            for column, b in enumerate(addresses):
                rate = values[row * size + column] * 1e6
                if a and b and a != b and rate > 0 and (a, b) not in seen:
                    seen.add((a, b))
                    yield from _peer(a, b, _KINDS[name], rate, ends)


def _peer(a: str, b: str, kind: LinkKind, told: float, ends: Ends) -> Iterator[PeerFact]:
    gpu = ends.functions[a]
    if gpu.kind == "nvswitch":
        return  # told by the GPU's row
    count, rate = 1, told
    if kind is LinkKind.NVLINK:
        model = ends.models.get(a)
        capability = capability_of_device(gpu.vendor, gpu.device) or capability_of_model(model)
        count = max(1, round(told / _assumed(capability)))
        nominal = nvlink_bytes_per_s(capability)
        rate = told if nominal is None else count * nominal
    yield PeerFact(
        a=a,
        b=b,
        b_kind="nvswitch" if ends.functions[b].kind == "nvswitch" else "gpu",
        kind=kind,
        count=count,
        bandwidth_bytes_per_s=rate,
    )


def _assumed(capability: str | None) -> float:
    """Return what hwloc takes for the rate of one NVLink: a round figure for each generation."""
    generation = (capability or "").partition(".")[0]
    return _ASSUMED.get(generation, 25e9)
