"""Which NICs serve a GPU best: near ones, and of those the ones that carry most."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import inf

from topoprobe.machine.paths import CLASSES
from topoprobe.machine.view import Machine
from topoprobe.records.machine import Nic

SLOWEST_BITS_PER_S = 10e9
"""A slower port serves logins and management, not GPUs."""
# In names as "I350 Gigabit Network Connection", "82599ES 10-Gigabit" and "X722 for 1GbE".
_GIGABIT = re.compile(r"(?:\b([0-9]+(?:\.[0-9]+)?)[- ]?)?(?:Gigabit|GbE)\b")
_FAR = CLASSES.index("SYS")


def nearest_nics(
    machine: Machine, gpu_id: str, nics: Sequence[Nic]
) -> tuple[str | None, list[str]]:
    """Return the best path class from a GPU to a NIC that serves it, and the NICs that have it.

    A NIC below 10 Gb/s is left aside where a faster one is on the GPU's side (nearer than SYS).
    Of several that are equally near those with the fastest port count. A port that is not told is
    as fast as the product's name or else the NIC's PCIe link says, and one of the fastest if
    neither does.

    Parameters
    ----------
    machine : Machine
    gpu_id : str
        Node id.
    nics : sequence of Nic
        Which ones to choose from.

    Returns
    -------
    path_class : str or None
        None where no class is known.
    ids : list of str
        Node ids, in the order of `nics`.
    """
    ids = {nic.id for nic in nics}
    ranks = {
        pair.b: CLASSES.index(pair.path_class)
        for pair in machine.document.pairs
        if pair.a == gpu_id and pair.b in ids and pair.path_class in CLASSES
    }
    known = [nic for nic in nics if nic.id in ranks]
    if not known:
        return None, []
    rates = {nic.id: _rate(machine, nic) for nic in known}
    fast = [
        nic for nic in known
        if rates[nic.id] >= SLOWEST_BITS_PER_S and ranks[nic.id] < _FAR
    ]  # fmt: skip
    candidates = fast or known
    best = min(ranks[nic.id] for nic in candidates)
    near = [nic.id for nic in candidates if ranks[nic.id] == best]
    fastest = max((rates[nic_id] for nic_id in near if rates[nic_id] < inf), default=inf)
    return CLASSES[best], [nic_id for nic_id in near if rates[nic_id] in {fastest, inf}]


def _rate(machine: Machine, nic: Nic) -> float:
    """Return what a NIC's fastest port carries, in bit/s; infinite where nothing tells."""
    told = [port.rate_bits_per_s for port in nic.ports if port.rate_bits_per_s is not None]
    if told:
        return max(told)
    named = _GIGABIT.search(nic.model or "")
    if named is not None:
        return float(named[1] or 1) * 1e9
    link = machine.link_above(nic.id)
    for what in (link.nominal, link.current) if link is not None else ():
        if what is not None and what.bandwidth_bytes_per_s is not None:
            return 8 * what.bandwidth_bytes_per_s
    return inf
