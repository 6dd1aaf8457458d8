"""What a concurrent set of flows would get, and why: the fabric's answer to the flow grammar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from topoprobe.measure.fairness import jain_ratio
from topoprobe.measure.flows import Flow, FlowSet
from topoprobe.model.completions import completions
from topoprobe.model.fabric.demand import Allocation, Demand
from topoprobe.model.fabric.fluid import solve
from topoprobe.model.fabric.machines import FlowFabric
from topoprobe.model.fabric.reasons import reason, units_per_byte
from topoprobe.model.fabric.resource import Resource
from topoprobe.model.fabric.transactions.loop import Loop, run
from topoprobe.model.fabric.transactions.simulation import settled_transactions
from topoprobe.model.fabric.ways import PlacedFlow
from topoprobe.records.base import Missing
from topoprobe.records.machine import LinkKind

Solver = Callable[[Sequence[Resource], Sequence[Demand]], Mapping[str, Allocation]]


@dataclass(frozen=True, slots=True)
class FlowPrediction:
    """What one flow of a set gets.

    Attributes
    ----------
    flow : Flow
    rate_bytes_per_s, solo_bytes_per_s : float
        Payload, beside all others and alone.
    completion_s : float or None
        When it has moved its size, from the start of the set, as flows come and go, by the fluid
        model; None where it names none.
    bottleneck : str or None
        The resource that holds it back; None where it is its own cap.
    bottleneck_words : str or None
        What people call it.
    why : str
        In words.
    """

    flow: Flow
    rate_bytes_per_s: float
    solo_bytes_per_s: float
    completion_s: float | None
    bottleneck: str | None
    bottleneck_words: str | None
    why: str

    @property
    def slowdown_ratio(self) -> float:
        """Alone over beside the others."""
        return self.solo_bytes_per_s / self.rate_bytes_per_s


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a set of flows gets.

    Attributes
    ----------
    flows : tuple of FlowPrediction
        In the set's order.
    jain_ratio : float
        Jain's index over what each flow keeps of its rate alone [jain1984].
    wire_jain_ratio : float
        The same over the bytes of each on its wires, headers and all.
    aggregate_bytes_per_s : float
        Payload of all.
    bottlenecks : tuple of Resource
        What holds flows back, with where its capacity comes from.
    assumptions : tuple of Missing
        What they cross and what is taken not to limit them.
    """

    flows: tuple[FlowPrediction, ...]
    jain_ratio: float
    wire_jain_ratio: float
    aggregate_bytes_per_s: float
    bottlenecks: tuple[Resource, ...]
    assumptions: tuple[Missing, ...]


def predict(fabric: FlowFabric, flow_set: FlowSet, *, solver: Solver = solve) -> Prediction:
    """Predict the rates of flows side by side.

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
    placed = [fabric.place(flow, str(index)) for index, flow in enumerate(flow_set.flows)]
    together = _solved(fabric, placed, solver)
    alone = [_solved(fabric, [one], solver)[one.demand.id] for one in placed]
    done = completions(_crossed(fabric, placed), flow_set, placed)
    flows = tuple(
        FlowPrediction(
            flow=flow,
            rate_bytes_per_s=together[str(index)].rate_bytes_per_s,
            solo_bytes_per_s=alone[index].rate_bytes_per_s,
            completion_s=done[index],
            bottleneck=(name := together[str(index)].bottleneck),
            bottleneck_words=None if name is None else fabric.words(name),
            why=reason(fabric, placed, index, together[str(index)]),
        )
        for index, flow in enumerate(flow_set.flows)
    )
    rates = [one.rate_bytes_per_s for one in flows]
    held = dict.fromkeys(one.bottleneck for one in flows if one.bottleneck is not None)
    assumed = dict.fromkeys(name for one in placed for name in one.unknown)
    return Prediction(
        flows=flows,
        jain_ratio=jain_ratio([1 / one.slowdown_ratio for one in flows]),
        wire_jain_ratio=jain_ratio(
            [
                rate * _wire_per_byte(fabric, one.demand)
                for rate, one in zip(rates, placed, strict=True)
            ]
        ),
        aggregate_bytes_per_s=sum(rates),
        bottlenecks=tuple(fabric.resources[name] for name in held),
        assumptions=tuple(fabric.unknown(name) for name in assumed),
    )


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


def _solved(
    fabric: FlowFabric, placed: Sequence[PlacedFlow], solver: Solver
) -> Mapping[str, Allocation]:
    return solver(_crossed(fabric, placed), [one.demand for one in placed])


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
