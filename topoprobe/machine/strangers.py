"""Telling by their GPUs that recordings cannot be of one machine."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence

from topoprobe.machine.devices import Kind, kind_of
from topoprobe.machine.facts import Facts, GpuFact, PciFact
from topoprobe.machine.identities import is_number, numberable
from topoprobe.machine.nvlink import capability_of_device, capability_of_model

# Others write the identities of AMD's GPUs, each in its own way.
_UUID = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def why_strangers(sources: Sequence[Facts]) -> str | None:
    """Say why recordings are not of one machine, as far as their GPUs tell; None if they may be.

    One may show less of a machine than another does: a container has fewer GPUs. So they are
    strangers if they have nothing in common; and, where numbers are all that tells which GPU is
    which, if there are not as many.

    Parameters
    ----------
    sources : sequence of Facts
        As they were read, each with its own names for GPUs.
    """
    for words, identities in _IDENTITIES:
        told = [(facts.source, identities(facts)) for facts in sources]
        for (first, some), (second, others) in itertools.combinations(told, 2):
            if some and others and not some & others:
                return f"{first} and {second} have no {words} in common"
    return _why_unmatched(sources)


def _why_unmatched(sources: Sequence[Facts]) -> str | None:
    """Compare the counts of GPUs that are only numbered with those of the other sources."""
    counts = [
        (facts.source, len(numbered), _uuids_of(numbered))
        for facts in sources
        if (numbered := [gpu for gpu in facts.gpus if is_number(gpu.subject)])
    ]
    most = max(sources, key=lambda facts: len(numberable(facts)), default=None)
    if most is not None and numberable(most):
        placed = [gpu for facts in sources for gpu in facts.gpus if not is_number(gpu.subject)]
        counts.insert(0, (most.source, len(numberable(most)), _uuids_of(placed)))
    for (first, one, some), (second, other, others) in itertools.combinations(counts, 2):
        if one != other and not some & others:
            return (
                f"{first} has {one} GPUs and {second} {other}, with nothing but numbers to match "
                "them by"
            )
    return None


def _gpus(facts: Facts) -> list[PciFact]:
    return [f for f in facts.functions if kind_of(f, has_storage=False) is Kind.GPU]


def _addresses(facts: Facts) -> set[str]:
    return {function.address for function in _gpus(facts)}


def _uuids(facts: Facts) -> set[str]:
    return _uuids_of(facts.gpus)


def _uuids_of(gpus: Iterable[GpuFact]) -> set[str]:
    return {gpu.uuid for gpu in gpus if gpu.uuid and _UUID.fullmatch(gpu.uuid)}


def _models(facts: Facts) -> set[str]:
    return {f"{f.vendor}:{f.device}" for f in _gpus(facts) if f.device is not None}


def _generations(facts: Facts) -> set[str]:
    """Return the generations of its GPUs, whose names are spelt in many ways; all or none."""
    found = {f.address: capability_of_device(f.vendor, f.device) for f in _gpus(facts)}
    for gpu in facts.gpus:
        told = gpu.compute_capability or capability_of_model(gpu.name)
        found[gpu.subject] = told or found.get(gpu.subject)
    known = {capability for capability in found.values() if capability is not None}
    return set() if None in found.values() else known


_IDENTITIES: tuple[tuple[str, Callable[[Facts], set[str]]], ...] = (
    ("GPU", _addresses),
    ("UUID of a GPU", _uuids),
    ("model of GPU", _models),
    ("generation of GPU", _generations),
)
