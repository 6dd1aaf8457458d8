"""Who waits at a resource, behind which ports, and what each gets when the ports take turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from topoprobe.errors import ModelError
from topoprobe.model.fabric.demand import Allocation, Demand
from topoprobe.model.fabric.resource import Resource

# How close to its capacity what its flows want makes a resource one that can run out: a margin
# for rounding in running sums, on the side that only costs time.
NEARLY = 1.0 - 1e-9
TIE_RATIO = 1e-12  # levels that differ by less are equal
UNLIMITED = float("inf")


class Flow:
    """A demand in the terms of arbiters.

    Attributes
    ----------
    demand : Demand
        What was asked for.
    takes : dict of str to float
        Units of each resource per payload byte.
    ports : dict of str to tuple of str
        For each resource, those crossed before it, nearest first.
    turns : dict of str to float
        Turns of each resource per payload byte.
    num_along : int
        How many resources are on its way; those beside it come after these in `takes`, in `turns`
        and in `ports`.
    cap_bytes_per_s : float
        Its own.
    limit_bytes_per_s : float
        What it gets if nobody else is there; 0 until somebody has told it.
    limit_by : str or None
        The resource that says so; None where its cap does.
    """

    __slots__ = (
        "cap_bytes_per_s", "demand", "limit_by", "limit_bytes_per_s", "num_along", "ports", "takes",
        "turns",
    )  # fmt: skip

    def __init__(self, demand: Demand, resources: Mapping[str, Resource]) -> None:
        self.demand = demand
        self.cap_bytes_per_s = demand.cap_bytes_per_s
        self.limit_bytes_per_s = 0.0
        self.limit_by: str | None = None
        self.takes: dict[str, float] = {}
        self.ports: dict[str, tuple[str, ...]] = {}
        before: tuple[str, ...] = ()
        for use in demand.along:
            self.takes[use.resource] = self.takes.get(use.resource, 0.0) + use.per_byte
            if use.resource not in self.ports:
                self.ports[use.resource] = before
                before = (use.resource, *before)
        self.num_along = len(before)
        for use in demand.beside:
            self.takes[use.resource] = self.takes.get(use.resource, 0.0) + use.per_byte
            self.ports.setdefault(use.resource, ())
        self.turns = {
            name: turns_per_byte(resources[name], demand, takes)
            for name, takes in self.takes.items()
        }

    @property
    def alone(self) -> Allocation:
        """What it gets if nobody else is there."""
        return Allocation(self.limit_bytes_per_s, self.limit_by)


def turns_per_byte(resource: Resource, demand: Demand, per_byte: float) -> float:
    """Count a flow's turns at a resource.

    A turn serves ``size ** exponent`` units of it, where the size is what one transaction, or all
    that is outstanding, takes.

    Parameters
    ----------
    resource : Resource
        With its law.
    demand : Demand
        The flow.
    per_byte : float
        Units of the resource per payload byte.

    Returns
    -------
    float
        Turns per payload byte.

    Raises
    ------
    ModelError
        If outstanding bytes count and nothing limits the flow's.
    """
    if resource.sharing.exponent == 0.0:
        return per_byte
    size_bytes = demand.txn_bytes
    if resource.sharing.by == "outstanding":
        size_bytes = demand.outstanding_bytes
        if size_bytes == UNLIMITED:
            raise ModelError(
                f"{resource.id} serves flows by the bytes they keep outstanding, which for "
                f"{demand.id} are unlimited; give it outstanding_bytes."
            )
    return float(per_byte / (size_bytes * per_byte) ** resource.sharing.exponent)


class Port:
    """A place where flows merge: its children take turns, served by one law.

    Attributes
    ----------
    law : str
        The resource that this is, or the nearest before it at which anything merges.
    flows : list of Flow
        Those that meet the others here.
    ports : list of Port
        Those behind it, at which others have met before.
    behind : sequence of Flow
        All that come through it.
    """

    __slots__ = ("behind", "flows", "law", "ports")

    def __init__(self, law: str, flows: Sequence[Flow], at: str, depth: int) -> None:
        self.behind = flows
        while True:
            self.law = law
            self.flows: list[Flow] = []
            behind: dict[str, list[Flow]] = {}
            for flow in flows:
                names = flow.ports[at]
                if len(names) > depth:
                    behind.setdefault(names[depth], []).append(flow)
                else:
                    self.flows.append(flow)
            depth += 1
            if self.flows or len(behind) != 1:
                break
            ((law, flows),) = behind.items()
        self.ports: list[Port] = []
        for name, all_ in behind.items():
            if len(all_) == 1:
                self.flows += all_
            else:
                self.ports.append(Port(name, all_, at, depth))


# Rates over turns: the slope of each flow's, and the offsets that are not zero.
Lines: TypeAlias = tuple[dict[Flow, float], dict[Flow, float]]


class Arbiter:
    """A resource and the flows that share it.

    An arbiter serves its ports in turns, and a port passes its turns on to the ports behind it, as
    each switch of a cascade does. Whoever needs less than its turns leaves the rest to those behind
    the same port, and what these leave goes to the other ports.

    Attributes
    ----------
    id : str
        The resource's.
    capacity_per_s : float
        The resource's, or what it was changed to.
    flows : dict of Flow to float
        Those that wait here, with the units that a payload byte takes.
    can_run_out : bool
        Whether they could want more than there is, if each were alone.
    """

    __slots__ = ("_root", "_wanted_per_s", "can_run_out", "capacity_per_s", "flows", "id")

    def __init__(self, resource: Resource) -> None:
        self.id = resource.id
        self.capacity_per_s = resource.capacity_per_s
        self.can_run_out = False
        self._wanted_per_s = 0.0
        self.flows: dict[Flow, float] = {}
        self._root: Port | None = None

    @property
    def root(self) -> Port:
        """Where all flows have merged."""
        if self._root is None:
            self._root = Port(self.id, list(self.flows), self.id, 0)
        return self._root

    def want(self, more_per_s: float) -> None:
        """Take in that flows would take so much more if each were alone."""
        self._wanted_per_s += more_per_s
        is_asked_for = self._wanted_per_s > self.capacity_per_s * NEARLY
        self.can_run_out = is_asked_for and len(self.flows) > 1

    def add(self, flow: Flow) -> None:
        """Let a flow wait here."""
        self.flows[flow] = flow.takes[self.id]
        self._root = None

    def remove(self, flow: Flow) -> None:
        """Forget a flow."""
        self.want(-self.flows.pop(flow) * flow.limit_bytes_per_s)
        if not self.flows:
            self._wanted_per_s = 0.0
        self._root = None

    def offers(self, held: Mapping[Flow, float]) -> dict[Flow, float]:
        """Say what each flow that is not held gets if all those take what their turns give."""
        if self.root.ports:
            return _at(*self._level(held))
        law, left, slope = self.root.law, self.capacity_per_s, 0.0
        waiting: dict[Flow, float] = {}
        for flow, takes in self.flows.items():
            if flow in held:
                left -= takes * held[flow]
            else:
                waiting[flow] = grows = 1.0 / flow.turns[law]
                slope += takes * grows
        if waiting:
            level = left / slope
            for flow in waiting:
                waiting[flow] *= level
        return waiting

    def _level(self, held: Mapping[Flow, float]) -> tuple[Lines, float]:
        """Lines of the flows that are not held, and the turns that use up the resource."""
        lines, shut = _lines(self.root, held)
        slopes, offsets = lines
        if not slopes:
            return lines, 0.0
        takes = self.flows
        left = self.capacity_per_s
        for flow in shut:
            left -= takes[flow] * held[flow]
        for flow, offset in offsets.items():
            left -= takes[flow] * offset
        slope = 0.0
        for flow, grows in slopes.items():
            slope += takes[flow] * grows
        return lines, left / slope


def _at(lines: Lines, level: float) -> dict[Flow, float]:
    slopes, offsets = lines
    rates = {flow: grows * level for flow, grows in slopes.items()}
    for flow, offset in offsets.items():
        rates[flow] += offset
    return rates


def _lines(port: Port, held: Mapping[Flow, float]) -> tuple[Lines, list[Flow]]:
    """Rates of the flows behind a port over the turns of each of its children; and held flows."""
    law = port.law
    slopes: dict[Flow, float] = {}
    offsets: dict[Flow, float] = {}
    shut: list[Flow] = []
    for flow in port.flows:
        if flow in held:
            shut.append(flow)
        else:
            slopes[flow] = 1.0 / flow.turns[law]
    for child in port.ports:
        (inner, inner_offsets), inner_shut = _lines(child, held)
        slope = taken = 0.0
        for flow in inner_shut:
            taken += flow.turns[law] * held[flow]
        for flow, offset in inner_offsets.items():
            taken += flow.turns[law] * offset
        for flow, grows in inner.items():
            slope += flow.turns[law] * grows
        for flow, grows in inner.items():
            slopes[flow] = grows / slope
        if taken:
            for flow in inner:
                offsets[flow] = inner_offsets.get(flow, 0.0) - slopes[flow] * taken
        shut += inner_shut
    return (slopes, offsets), shut
