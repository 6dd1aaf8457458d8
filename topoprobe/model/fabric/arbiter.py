"""Who waits at a resource, behind which ports, and what each gets when the ports take turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from topoprobe.errors import ModelError
from topoprobe.model.fabric.demand import Demand
from topoprobe.model.fabric.resource import Resource, Sharing

# How close to its capacity what its flows want makes a resource one that can run out: a margin
# for rounding in running sums, on the side that only costs time.
NEARLY = 1.0 - 1e-9
TIE_RATIO = 1e-12  # levels that differ by less are equal


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
    cap_bytes_per_s : float
        Its own.
    limit_bytes_per_s : float
        What it gets if nobody else is there; 0 until somebody has told it.
    limit_by : str or None
        The resource that says so; None where its cap does.
    """

    __slots__ = ("cap_bytes_per_s", "demand", "limit_by", "limit_bytes_per_s", "ports", "takes")

    def __init__(self, demand: Demand) -> None:
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
        for use in demand.beside:
            self.takes[use.resource] = self.takes.get(use.resource, 0.0) + use.per_byte
            self.ports.setdefault(use.resource, ())


# A rate as slope and offset over turns.
Line: TypeAlias = tuple[Flow, float, float]


class Port:
    """A place where flows merge: its children take turns, served by one law.

    Attributes
    ----------
    children : dict
        Ports behind this one by the resource they are, flows that start here by themselves.
    turns : dict of Flow to float
        Turns of this port's resource that a payload byte costs; of all flows behind it.
    """

    __slots__ = ("children", "turns")

    def __init__(self) -> None:
        self.children: dict[str | Flow, Port | Flow] = {}
        self.turns: dict[Flow, float] = {}


class Arbiter:
    """A resource and the flows that share it.

    An arbiter serves its ports in turns, and a port passes its turns on to the ports behind it, as
    each switch of a cascade does. Whoever needs less than its turns leaves the rest to those behind
    the same port, and what these leave goes to the other ports.

    Attributes
    ----------
    resource : Resource
        What it gives out.
    capacity_per_s : float
        The resource's, or what it was changed to.
    flows : dict of Flow to float
        Those that wait here, with the units that a payload byte takes.
    wanted_per_s : float
        Units that they would take together if each were alone.
    root : Port
        Where all of them have merged.
    """

    __slots__ = ("capacity_per_s", "flows", "resource", "root", "wanted_per_s")

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.capacity_per_s = resource.capacity_per_s
        self.root = Port()
        self.wanted_per_s = 0.0
        self.flows: dict[Flow, float] = {}

    @property
    def can_run_out(self) -> bool:
        """Whether its flows could want more than there is."""
        return self.wanted_per_s > self.capacity_per_s * NEARLY and len(self.flows) > 1

    def add(self, flow: Flow, resources: Mapping[str, Resource]) -> None:
        """Let a flow wait here, behind the ports it came through."""
        self.flows[flow] = flow.takes[self.resource.id]
        port = self.root
        port.turns[flow] = turns_per_byte(self.resource, flow)
        for name in flow.ports[self.resource.id]:
            child = port.children.setdefault(name, Port())
            assert isinstance(child, Port)
            child.turns[flow] = turns_per_byte(resources[name], flow)
            port = child
        port.children[flow] = flow

    def remove(self, flow: Flow) -> None:
        """Forget a flow, and the ports that only it came through."""
        self.wanted_per_s -= self.flows.pop(flow) * flow.limit_bytes_per_s
        if not self.flows:
            self.wanted_per_s = 0.0
        _prune(self.root, flow, flow.ports[self.resource.id])

    def offers(self, held: Mapping[Flow, float]) -> dict[Flow, float]:
        """Divide what flows of known rates leave among the others.

        Parameters
        ----------
        held : mapping of Flow to float
            Rates of flows that take no more than their turns give them.

        Returns
        -------
        dict of Flow to float
            What each other flow gets if it can take all that its turns give.
        """
        lines, level = self._level(held)
        return {flow: grows * level + offset for flow, grows, offset in lines}

    def answers(self, wants: Mapping[Flow, float]) -> dict[Flow, float]:
        """Divide the resource among flows that want no more than they say.

        Turns are raised from none for everybody; a flow that has what it wants stays there, until
        the resource is used up. Unlike `offers`, this holds for whatever they want.

        Parameters
        ----------
        wants : mapping of Flow to float
            Rates; of all flows here.

        Returns
        -------
        dict of Flow to float
            What each flow gets that wants more, infinite for the others.
        """
        content: dict[Flow, float] = {}
        while len(content) < len(self.flows):
            lines, level = self._level(content)
            reached = {flow: (wants[flow] - offset) / grows for flow, grows, offset in lines}
            first = min(reached.values())
            if first >= level * (1.0 - TIE_RATIO):
                offers = {flow: grows * level + offset for flow, grows, offset in lines}
                return dict.fromkeys(content, float("inf")) | offers
            content |= {
                flow: wants[flow]
                for flow, at_level in reached.items()
                if at_level <= first * (1.0 + TIE_RATIO)
            }
        return dict.fromkeys(content, float("inf"))

    def _level(self, held: Mapping[Flow, float]) -> tuple[list[Line], float]:
        """Lines of the flows that are not held, and the turns that use up the resource."""
        lines, held_here = _lines(self.root, held)
        if not lines:
            return lines, 0.0
        takes = self.flows
        left = self.capacity_per_s - sum(takes[flow] * held[flow] for flow in held_here)
        slope = 0.0
        for flow, grows, offset in lines:
            slope += takes[flow] * grows
            left -= takes[flow] * offset
        return lines, left / slope


def turns_per_byte(resource: Resource, flow: Flow) -> float:
    """Count a flow's turns at a resource.

    A turn serves ``size ** exponent`` units of it, where the size is what one transaction, or all
    that is outstanding, takes.

    Raises
    ------
    ModelError
        If outstanding bytes count and nothing limits the flow's.
    """
    sharing: Sharing = resource.sharing
    takes = flow.takes[resource.id]
    size_bytes = flow.demand.txn_bytes
    if sharing.by == "outstanding":
        size_bytes = flow.demand.outstanding_bytes
        if size_bytes == float("inf"):
            raise ModelError(
                f"{resource.id} serves flows by the bytes they keep outstanding, which for "
                f"{flow.demand.id} are unlimited; give it outstanding_bytes."
            )
    return takes / float((size_bytes * takes) ** sharing.exponent)


def _lines(port: Port, held: Mapping[Flow, float]) -> tuple[list[Line], list[Flow]]:
    """Rates of the open flows behind a port as slope and offset over its turns per child."""
    while len(port.children) == 1:
        (only,) = port.children.values()
        if isinstance(only, Flow):
            break
        port = only
    lines: list[Line] = []
    held_here: list[Flow] = []
    turns = port.turns
    for child in port.children.values():
        if isinstance(child, Flow):
            if child in held:
                held_here.append(child)
            else:
                lines.append((child, 1.0 / turns[child], 0.0))
            continue
        inner, inner_held = _lines(child, held)
        held_here += inner_held
        if inner:
            lines += _behind(inner, sum(turns[flow] * held[flow] for flow in inner_held), turns)
    return lines, held_here


def _behind(inner: Sequence[Line], taken: float, turns: Mapping[Flow, float]) -> Sequence[Line]:
    """Lines over a port's own turns as lines over the turns that it is given."""
    slope = 0.0
    for flow, grows, offset in inner:
        slope += turns[flow] * grows
        taken += turns[flow] * offset
    return [(flow, grows / slope, offset - grows * taken / slope) for flow, grows, offset in inner]


def _prune(port: Port, flow: Flow, names: tuple[str, ...]) -> None:
    del port.turns[flow]
    if not names:
        del port.children[flow]
        return
    child = port.children[names[0]]
    assert isinstance(child, Port)
    _prune(child, flow, names[1:])
    if not child.children:
        del port.children[names[0]]
