"""What a concurrent set of flows would get, and why: the fabric's answer to the flow grammar."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from topoprobe.measure.fairness import jain_ratio
from topoprobe.measure.flows import Flow, FlowSet, Work
from topoprobe.model.episodes import Episode, Life, Rates, episodes, has_size, is_timed, lives
from topoprobe.model.fabric.demand import Allocation, Demand
from topoprobe.model.fabric.fluid import solve
from topoprobe.model.fabric.machines.fabric import FlowFabric
from topoprobe.model.fabric.machines.reasons import reason, units_per_byte
from topoprobe.model.fabric.machines.ways import PlacedFlow
from topoprobe.model.fabric.resource import Resource
from topoprobe.model.fabric.transactions.loop import Loop, run
from topoprobe.model.fabric.transactions.simulation import settled_transactions
from topoprobe.records.base import Missing
from topoprobe.records.machine import LinkKind

Solver = Callable[[Sequence[Resource], Sequence[Demand]], Mapping[str, Allocation]]


# What CPUs do counts in its own unit; the rest moves bytes.
_UNITS = {Work.GEMM: "flop_per_s", Work.CHASE: "per_s"}
_BYTES = "bytes_per_s"


class Over(StrEnum):
    """The time that a flow's rate holds over."""

    STEADY = "all flows at once"
    LIFE = "its own life"
    BESIDE = "the time beside others"


@dataclass(frozen=True, slots=True)
class FlowPrediction:
    """What one flow of a set gets.

    Attributes
    ----------
    flow : Flow
    rate_per_s, solo_per_s : float
        Beside the others and alone, in `unit`: payload, or what its work counts.
    over : Over
        What time the rate is the mean of.
    start_s : float
        When it comes, from the start of the set.
    completion_s : float or None
        When it has moved its size, from the start of the set; None where it names none, or its
        duration is over before.
    bottleneck : str or None
        The resource that holds it back where it is slowest; None where it is its own cap.
    bottleneck_words : str or None
        What people call it.
    why : str
        In words.
    is_upper_bound : bool
        Whether it crosses something whose capacity nobody knows, or is staged, and nothing may make
        it faster.
    may_be_faster : bool
        Whether its rate rests on links that may be faster, or more, than sources show.
    route : str
        Which NICs and rails a flow between hosts takes; empty within one.
    """

    flow: Flow
    rate_per_s: float
    solo_per_s: float
    over: Over
    start_s: float
    completion_s: float | None
    bottleneck: str | None
    bottleneck_words: str | None
    why: str
    is_upper_bound: bool = False
    may_be_faster: bool = False
    route: str = ""

    @property
    def slowdown_ratio(self) -> float:
        """Alone over beside the others."""
        return self.solo_per_s / self.rate_per_s

    @property
    def unit(self) -> str:
        """What its rates count, as ``bytes_per_s``."""
        return _UNITS.get(self.flow.work, _BYTES)

    @property
    def rate_bytes_per_s(self) -> float | None:
        """Its rate where it counts bytes."""
        return self.rate_per_s if self.unit == _BYTES else None

    @property
    def solo_bytes_per_s(self) -> float | None:
        """Its rate alone where it counts bytes."""
        return self.solo_per_s if self.unit == _BYTES else None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a set of flows gets.

    Attributes
    ----------
    flows : tuple of FlowPrediction
        In the set's order.
    jain_ratio : float
        Jain's index over what each flow keeps of its rate alone [jain1984].
    wire_jain_ratio : float or None
        The same over the bytes of each on its wires, headers and all; None where CPUs move some.
    aggregate_bytes_per_s : float or None
        Payload that all together move at most at any time; None where one counts no bytes.
    bottlenecks : tuple of Resource
        What holds flows back, with where its capacity comes from.
    assumptions : tuple of Missing
        What they cross and what is taken not to limit them, and what else is taken for granted.
    words : mapping of str to str
        What people call the subjects of assumptions that are resources.
    """

    flows: tuple[FlowPrediction, ...]
    jain_ratio: float
    wire_jain_ratio: float | None
    aggregate_bytes_per_s: float | None
    bottlenecks: tuple[Resource, ...]
    assumptions: tuple[Missing, ...]
    words: Mapping[str, str]

    @property
    def is_timed(self) -> bool:
        """Whether flows come or go, so that rates are of their own times."""
        return any(one.over is not Over.STEADY for one in self.flows)


def predict(fabric: FlowFabric, flow_set: FlowSet, *, solver: Solver = solve) -> Prediction:
    """Predict the rates of flows side by side.

    Flows that stay and come at once have the rates of all at once. Where some have a size, a
    duration or a delay, rates are those of the times in which flows really meet (`Life`).

    Parameters
    ----------
    fabric : FlowFabric
    flow_set : FlowSet
    solver : callable
        From resources and demands to what each flow gets.

    Raises
    ------
    ModelError
        If a flow names what is not there, or there is no way for it.
    """
    placed = {i: fabric.place(flow, str(i)) for i, flow in enumerate(flow_set.flows)}
    rates = _rates(fabric, placed, solver)
    found = episodes(flow_set, rates)
    flows = tuple(
        _flow(fabric, flow_set, placed, life, rates((index,))[index])
        for index, life in enumerate(lives(flow_set, found))
    )
    held = dict.fromkeys(one.bottleneck for one in flows if one.bottleneck is not None)
    return Prediction(
        flows=flows,
        jain_ratio=jain_ratio([1 / one.slowdown_ratio for one in flows]),
        wire_jain_ratio=_wire_jain(fabric, placed, flows),
        aggregate_bytes_per_s=_together(flow_set, found),
        bottlenecks=tuple(fabric.resources[name] for name in held),
        assumptions=tuple(_assumptions(fabric, placed.values())),
        words={name: fabric.words(name) for one in placed.values() for name in one.unknown},
    )  # fmt: skip


def _rates(fabric: FlowFabric, placed: Mapping[int, PlacedFlow], solver: Solver) -> Rates:
    """Return what gives some flows of a set their rates; each choice is solved once."""

    @functools.cache
    def rates(running: tuple[int, ...]) -> Mapping[int, Allocation]:
        flows = [placed[index] for index in running]
        found = solver(_crossed(fabric, flows), [one.demand for one in flows])
        return {index: found[placed[index].demand.id] for index in running}

    return rates


def _flow(
    fabric: FlowFabric,
    flow_set: FlowSet,
    placed: Mapping[int, PlacedFlow],
    life: Life,
    alone: Allocation,
) -> FlowPrediction:
    index = life.index
    flow, allocation = flow_set.flows[index], life.slowest.allocations[index]
    name = allocation.bottleneck
    beside = fabric.among({i: placed[i] for i in life.slowest.allocations})
    over = Over.STEADY
    if any(map(is_timed, flow_set.flows)):
        over = Over.BESIDE if life.end_s is None else Over.LIFE
    return FlowPrediction(
        flow=flow,
        rate_per_s=life.rate_per_s,
        solo_per_s=alone.rate_bytes_per_s,
        over=over,
        start_s=life.start_s,
        completion_s=life.end_s if _is_done(flow, life) else None,
        bottleneck=name,
        bottleneck_words=None if name is None else fabric.words(name),
        why=reason(fabric, beside, index, allocation),
        is_upper_bound=placed[index].is_upper_bound,
        may_be_faster=placed[index].may_be_faster,
        route=placed[index].route,
    )


def _is_done(flow: Flow, life: Life) -> bool:
    return has_size(flow) and life.moves(flow.size_bytes or 0)


def _together(flow_set: FlowSet, found: Sequence[Episode]) -> float | None:
    if any(flow.work in _UNITS for flow in flow_set.flows):
        return None
    return max(sum(each.rate_bytes_per_s for each in one.allocations.values()) for one in found)


def _wire_jain(
    fabric: FlowFabric, placed: Mapping[int, PlacedFlow], flows: Sequence[FlowPrediction]
) -> float | None:
    if any(one.flow.executor.kind == "cpu" for one in flows):
        return None
    return jain_ratio(
        [one.rate_per_s * _wire_per_byte(fabric, placed[i].demand) for i, one in enumerate(flows)]
    )


def _assumptions(fabric: FlowFabric, placed: Iterable[PlacedFlow]) -> Iterator[Missing]:
    flows = list(placed)
    for name in dict.fromkeys(name for one in flows for name in one.unknown):
        yield fabric.unknown(name)
    yield from {(one.subject, one.fact): one for flow in flows for one in flow.assumed}.values()


def packet_solver(loop: Loop = run) -> Solver:
    """Return a solver that simulates the flows packet by packet.

    Parameters
    ----------
    loop : callable
        The event loop: the one of `topoprobe.measure.devices.cpu.fabric.event_loop` is faster.
    """

    def simulated(
        resources: Sequence[Resource], demands: Sequence[Demand]
    ) -> Mapping[str, Allocation]:
        outcomes = settled_transactions(resources, demands, loop=loop)
        return {
            name: Allocation(one.rate_bytes_per_s, one.bottleneck) for name, one in outcomes.items()
        }

    return simulated


def _crossed(fabric: FlowFabric, placed: Sequence[PlacedFlow]) -> list[Resource]:
    names = dict.fromkeys(name for one in placed for name in units_per_byte(one.demand))
    return [fabric.resources[name] for name in names]


def _wire_per_byte(fabric: FlowFabric, demand: Demand) -> float:
    """Return the bytes of a PCIe link per payload byte, 1 where a flow crosses none."""
    return max(
        (use.per_byte for use in demand.along
         if fabric.resources[use.resource].kind == LinkKind.PCIE),
        default=1.0,
    )  # fmt: skip
