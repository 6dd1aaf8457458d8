"""Whether every GPU has a network card on its side of the machine."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.nearness import SLOWEST_BITS_PER_S
from topoprobe.machine.verdicts.check import Check, ok, warn
from topoprobe.machine.view import Machine
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, Nic, Numa

NAME = "nic-distance"
_DETOUR = ", or give network work to GPUs that have one near"
_BY_NCCL = " (NCCL goes through such a peer by itself where they share NVLinks)"
_NVIDIA = "10de"
_MEASURE = (
    "Find out whether the firmware hides NUMA nodes (NPS0, node interleaving, a guest without "
    "them), or measure both ways with `topoprobe bench`."
)


def judge(machine: Machine) -> Iterator[Verdict]:
    """Look for GPUs whose ways to all NICs cross between NUMA nodes."""
    nics = {nic.id for nic in machine.all(Nic) if _serves_gpus(nic)}
    classes: dict[str, list[str]] = {}
    for pair in machine.document.pairs:
        if pair.b in nics and pair.path_class is not None:
            classes.setdefault(pair.a, []).append(pair.path_class)
    judged = [gpu for gpu in machine.all(Gpu) if nics and len(classes.get(gpu.id, ())) == len(nics)]
    far = {gpu.id for gpu in judged if set(classes[gpu.id]) == {"SYS"}}
    detour = "" if len(far) == len(judged) else _detour(judged)
    places = _places(machine, nics)
    for gpu in judged:
        if gpu.id not in far:
            yield ok(NAME, gpu.id, "Has a NIC on its side.")
        elif gpu.numa_index in places:
            yield warn(NAME, gpu.id, _contradictory(nics, gpu.numa_index), _MEASURE)
        else:
            yield warn(NAME, gpu.id, _far(machine, nics), f"Move a NIC to its side{detour}.")


CHECK = Check(NAME, "GPUs have a NIC on their side", judge)


def _detour(gpus: list[Gpu]) -> str:
    """Advise a way through another GPU, which NVIDIA's library finds by itself."""
    are_nvidias = all(gpu.pci_vendor in {_NVIDIA, None} for gpu in gpus)
    return _DETOUR + (_BY_NCCL if are_nvidias else "")


def _places(machine: Machine, nics: set[str]) -> set[int | None]:
    """Return the NUMA nodes that NICs are on, by their own word or as a near GPU has them."""
    numas = {node.id: node.numa_index for node in (*machine.all(Gpu), *machine.all(Nic))}
    near = {
        numas.get(pair.a)
        for pair in machine.document.pairs
        if pair.b in nics and pair.path_class not in {None, "SYS"}
    }
    return ({numas[nic] for nic in nics} | near) - {None}


def _contradictory(nics: set[str], numa: int | None) -> str:
    there = "The only NIC is" if len(nics) == 1 else "NICs are"
    return (
        f"Is told to have no NIC on its side (SYS to {_all(nics)}). {there} on its NUMA node "
        f"{numa} all the same, so one of these is wrong."
    )


def _far(machine: Machine, nics: set[str]) -> str:
    own = [numa for numa in machine.all(Numa) if numa.memory_of is None]
    if len(own) == 1:
        return f"Has no NIC on its side: the way to {_all(nics)} is told to be the longest (SYS)."
    there = "the only NIC is" if len(nics) == 1 else f"the {len(nics)} NICs are"
    return f"Has no NIC on its side: {there} across the link between NUMA nodes."


def _all(nics: set[str]) -> str:
    return "the only NIC" if len(nics) == 1 else f"each of {len(nics)} NICs"


def _serves_gpus(nic: Nic) -> bool:
    rates = [port.rate_bits_per_s for port in nic.ports]
    known = [rate for rate in rates if rate is not None]
    return len(known) < len(rates) or not rates or max(known) >= SLOWEST_BITS_PER_S
