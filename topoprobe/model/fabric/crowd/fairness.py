"""Whether rates of a table are fair, by the rules of `equilibrium`."""

from __future__ import annotations

import numpy as np

from topoprobe.model.fabric.crowd.arbiters import Floats, Mask
from topoprobe.model.fabric.crowd.table import Table


def unheld(table: Table, rates: Floats, tolerance_ratio: float = 1e-9) -> Mask:
    """Find flows that could have more, or have too much: beyond their limit or an arbiter's.

    Parameters
    ----------
    table : Table
        Who waits where.
    rates : ndarray, shape (flows,), float64
        What they have.
    tolerance_ratio : float
        How far rounding may carry a number.

    Returns
    -------
    ndarray, shape (flows,), bool
    """
    arbiters = table.arbiters
    more = 1.0 + tolerance_ratio
    had = rates[table.flows] / arbiters.grows  # turns, where a flow meets others first
    depths = np.zeros(len(had), dtype=np.int64)
    for depth, ports in enumerate(arbiters.ports):
        depths[ports.entries] = depth
    sums = [ports.sums(ports.turns * rates[table.flows[ports.entries]]) for ports in arbiters.ports]
    is_over = sums[0] > arbiters.capacities * more
    is_first = sums[0] * more >= arbiters.capacities
    holds = np.zeros(len(had), dtype=bool)
    for depth, ports in enumerate(arbiters.ports):
        # Of the children of each port, those that have as many turns as any other.
        here = np.flatnonzero(depths[ports.entries] == depth)
        entries, groups = ports.entries[here], ports.groups[here]
        most = np.zeros(len(ports.arbiters))
        np.maximum.at(most, groups, had[entries])
        inner = arbiters.ports[depth + 1] if depth + 1 < len(arbiters.ports) else None
        if inner is not None:
            np.maximum.at(most, inner.parents, sums[depth + 1])
        holds[entries] = is_first[groups] & (had[entries] * more >= most[groups])
        if inner is not None:
            is_first = is_first[inner.parents] & (sums[depth + 1] * more >= most[inner.parents])
    is_held = rates * more >= table.limits
    is_held[table.flows[holds]] = True
    is_held[table.flows[is_over[arbiters.at]]] = False
    return ~is_held | (rates > table.limits * more)
