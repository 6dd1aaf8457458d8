"""Latency between CPUs: one cache line passed to and fro."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, zip_longest

from topoprobe.errors import MeasurementFailed
from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.devices.cpu.buffer import CpuBuffer
from topoprobe.measure.devices.cpu.device import CpuDevice, available_cpus, core_of
from topoprobe.measure.devices.cpu.libraries import numba_gap
from topoprobe.measure.devices.cpu.team import Team
from topoprobe.measure.series import Quantity, Trial, collect, require_any
from topoprobe.records.machine import MachineDocument, Numa, Package
from topoprobe.records.results import Series

_NUM_ROUNDS = 20_000
# About a second: whoever does not answer so long was taken off its CPU for good.
_MAX_SPINS = 1 << 29
_PAGE_BYTES = 4096
_NUM_PAIRS = {"quick": 8, "standard": 48}
_MAX_PAIRS = 512
# A line goes by way of whichever cache tells of it, and hypervisors interfere: single samples
# scatter more than those of bandwidth.
_STEADY_RATIO = 0.05

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class CoreToCoreBenchmark:
    """Two pinned threads that wait for each other's writes to one line."""

    name: str = "cpu.core_to_core"
    summary: str = "Measure how long a cache line takes from one CPU to another."
    revision: int = 1
    seconds: float = 1.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Ask for numba, whose loop does not let go of the CPU, and for a second CPU."""
        if len(available_cpus()) < 2:
            return "one CPU only: there is no other to pass a cache line to"
        return numba_gap()

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Measure every pair of CPUs, or a sample of every kind of pair on a large machine."""
        relation = relation_of(machine)
        num_wanted = _NUM_PAIRS.get(context.budget.suite, _MAX_PAIRS)
        series: list[Series] = []
        for pair in chosen_pairs(context.cpus, relation, num_wanted):
            series += _measure(pair, relation(pair), context)
        return Outcome(require_any(series))


def relation_of(
    machine: MachineDocument, core: Callable[[int], str] = core_of
) -> Callable[[Pair], str]:
    """Return a function that tells what the CPUs of a pair share.

    ``core``, ``node`` (the same NUMA node), ``package``, or ``machine``. What the machine does not
    tell they are taken to share.
    """
    nodes = {cpu: one.id for one in machine.nodes if isinstance(one, Numa) for cpu in one.cpus}
    packages = {
        cpu: one.id for one in machine.nodes if isinstance(one, Package) for cpu in one.cpus
    }

    def relation(pair: Pair) -> str:
        one, other = pair
        if core(one) == core(other):
            return "core"
        if packages.get(one) != packages.get(other):
            return "machine"
        return "node" if nodes.get(one) == nodes.get(other) else "package"

    return relation


def chosen_pairs(
    cpus: Sequence[int], relation: Callable[[Pair], str], num_wanted: int, seed: int = 0
) -> tuple[Pair, ...]:
    """Return all pairs of CPUs, or `num_wanted`: a seeded sample, every kind of pair in turn."""
    kinds: dict[str, list[Pair]] = {}
    for pair in combinations(sorted(cpus), 2):
        kinds.setdefault(relation(pair), []).append(pair)
    for pairs in kinds.values():
        random.Random(seed).shuffle(pairs)
    in_turn = [pair for turn in zip_longest(*kinds.values()) for pair in turn if pair is not None]
    return tuple(sorted(in_turn[:num_wanted]))


def _measure(pair: Pair, relation: str, context: Context) -> tuple[Series, ...]:
    quantity = Quantity(
        "core_to_core",
        "s",
        {"device": "host", "cpu": pair[0], "other_cpu": pair[1], "shared": relation},
        is_better_higher=False,
    )
    with Team(CpuDevice(pair), 2) as team:
        return collect(
            context, [Trial.of(quantity, _handovers(team, pair))], tolerance_ratio=_STEADY_RATIO
        )


def _handovers(team: Team, pair: Pair) -> Callable[[], float]:
    """Return a measurement of the seconds that the line takes one way."""
    from topoprobe.measure.devices.cpu.handover import hand_over

    line = CpuBuffer(_PAGE_BYTES, "host").view("int64")
    hand_over(line, 0, 0, _MAX_SPINS)  # compiles
    turns: list[int] = []
    next_turn = 0

    def take_turns(first_turn: int) -> None:
        turns.append(hand_over(line, first_turn, _NUM_ROUNDS, _MAX_SPINS))

    def measure() -> float:
        nonlocal next_turn
        turns.clear()
        elapsed_s = team.run(take_turns, [(next_turn,), (next_turn + 1,)])
        next_turn += 2 * _NUM_ROUNDS
        if turns != [_NUM_ROUNDS] * 2:
            raise MeasurementFailed(
                f"CPU {pair[0]} and CPU {pair[1]} took {turns} turns of {_NUM_ROUNDS}, and then "
                "one no longer answered."
            )
        return elapsed_s / (2 * _NUM_ROUNDS)

    return measure
