"""Whether every GPU has a network card on its side of the machine."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.verdicts.check import Check, ok, warn
from topoprobe.machine.view import Machine
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu, Nic

NAME = "nic-distance"
# A slower port serves logins, not GPUs.
_SLOWEST_BITS_PER_S = 10e9
_DETOUR = (
    ", or give network work to GPUs that have one near (NCCL goes through such a peer by itself "
    "where they share NVLinks)"
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
    detour = "" if len(far) == len(judged) else _DETOUR
    for gpu in judged:
        if gpu.id in far:
            there = "the only NIC is" if len(nics) == 1 else f"the {len(nics)} NICs are"
            evidence = f"Has no NIC on its side: {there} across the link between NUMA nodes."
            fix = f"Move a NIC to its side{detour}."
            yield warn(NAME, gpu.id, evidence, fix)
        else:
            yield ok(NAME, gpu.id, "Has a NIC on its side.")


CHECK = Check(NAME, "GPUs have a NIC on their side", judge)


def _serves_gpus(nic: Nic) -> bool:
    rates = [port.rate_bits_per_s for port in nic.ports]
    known = [rate for rate in rates if rate is not None]
    return len(known) < len(rates) or not rates or max(known) >= _SLOWEST_BITS_PER_S
