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
    numas : mapping
        NUMA nodes of CPUs by the same numbers: POWER's CPUs have NVLinks.
    functions : mapping
        By address.
    models : mapping
        Names of GPUs by address.
    """

    addresses: Mapping[str, str]
    numas: Mapping[str, int]
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
        devices = [_device(index.rpartition(":")[2], ends) for index in indexes]
        if None in devices:
            reason = "The matrix speaks of devices that the file does not have."
            yield Missing(subject="host", fact=name, reason=reason)
        seen = set()
        for row, a in enumerate(devices):
            for column, b in enumerate(devices):
                rate = values[row * size + column] * 1e6
                # What a switch or a CPU reaches is told by the GPU's row.
                is_told = not isinstance(a, str) or ends.functions[a].kind == "nvswitch"
                if isinstance(a, str) and b is not None and a != b and rate > 0 and not is_told:
                    if (a, b) not in seen:
                        yield _peer(a, b, _KINDS[name], rate, ends)
                    seen.add((a, b))


def _device(number: str, ends: Ends) -> str | int | None:
    """Return the address of a device, or the NUMA node of a CPU."""
    address = ends.addresses.get(number)
    return ends.numas.get(number) if address is None else address


def _peer(a: str, b: str | int, kind: LinkKind, told: float, ends: Ends) -> PeerFact:
    gpu = ends.functions[a]
    count, rate = 1, told
    if kind is LinkKind.NVLINK:
        model = ends.models.get(a)
        capability = capability_of_device(gpu.vendor, gpu.device) or capability_of_model(model)
        count = max(1, round(told / _assumed(capability)))
        nominal = nvlink_bytes_per_s(capability)
        rate = told if nominal is None else count * nominal
    if isinstance(b, int):
        return PeerFact(
            a=a,
            b_kind="cpu",
            b_numa_index=b,
            kind=kind,
            count=count,
            bandwidth_bytes_per_s=rate,
        )
    return PeerFact(
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
