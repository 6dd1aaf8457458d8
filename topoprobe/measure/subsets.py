"""Which devices to run together: those that share something first, then a sample of the rest.

n devices have 2^n sets, most of which say the same. Devices below one switch, one host bridge, one
NUMA node or one socket share that and what leads to it, so these groups are what a topology
predicts to matter; a seeded sample of the rest says whether it is right.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

from topoprobe.machine.view import Machine
from topoprobe.records.machine import HostBridge, PcieSwitch

Subset = tuple[str, ...]

_KINDS = ("switch", "host_bridge", "numa", "package", "machine")
# Draws of one set before what is left is taken to be too rare to find.
_MAX_DRAWS = 1000


def subsets(
    machine: Machine, devices: Sequence[str], most: int, *, seed: int = 0
) -> tuple[Subset, ...]:
    """Return sets of at least two devices, the most telling first.

    Every group that shares something comes first, nearest first, and one pair of each larger group;
    then sets drawn at random.

    Parameters
    ----------
    machine : Machine
        Where they are.
    devices : sequence of str
        Ids of nodes.
    most : int
        How many sets at most.
    seed : int
        Of the drawn ones.

    Returns
    -------
    tuple of tuple of str
        Different sets, each in the order of `devices`.

    Raises
    ------
    ModelError
        If a node does not exist.
    """
    chosen: dict[Subset, None] = {}
    for group in _groups(machine, devices):
        chosen.setdefault(group)
        chosen.setdefault(group[:2])
    drawn = _drawn(devices, random.Random(seed), set(chosen))
    return tuple(itertools.islice(itertools.chain(chosen, drawn), most))


def _groups(machine: Machine, devices: Sequence[str]) -> Iterator[Subset]:
    """Yield the devices that have each place in common, by kind of place, nearest first."""
    members: dict[tuple[int, str], list[str]] = {}
    for device in devices:
        for place in _places(machine, device):
            members.setdefault(place, []).append(device)
    # Of nested switches the smaller group shares more.
    order = sorted(members, key=lambda place: (place[0], len(members[place])))
    yield from (tuple(members[place]) for place in order if len(members[place]) > 1)


def _places(machine: Machine, device: str) -> Iterator[tuple[int, str]]:
    """Yield the kind, by its rank, and the id of every place that a device is below."""
    for bridge in machine.bridges_above(device):
        if isinstance(bridge, PcieSwitch):
            yield _KINDS.index("switch"), bridge.id
        elif isinstance(bridge, HostBridge):
            yield _KINDS.index("host_bridge"), bridge.id
    numa, package = machine.numa(device), machine.package(device)
    if numa is not None:
        yield _KINDS.index("numa"), numa.id
    if package is not None:
        yield _KINDS.index("package"), package.id
    yield _KINDS.index("machine"), ""


def _drawn(devices: Sequence[str], dice: random.Random, seen: set[Subset]) -> Iterator[Subset]:
    """Yield other sets at random, all sizes alike, until there are none or they hide too well."""
    num_left = 2 ** len(devices) - len(devices) - 1 - len(seen)
    while num_left > 0:
        for _ in range(_MAX_DRAWS):
            size = dice.randint(2, len(devices))
            positions = sorted(dice.sample(range(len(devices)), size))
            subset = tuple(devices[position] for position in positions)
            if subset not in seen:
                break
        else:
            return
        seen.add(subset)
        num_left -= 1
        yield subset
