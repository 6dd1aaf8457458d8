"""Which pairs of CPUs are measured, and that they are."""

from __future__ import annotations

import pytest

from tests.microbench.context import MIB, context, machine
from topoprobe.errors import MeasurementFailed
from topoprobe.measure.devices.cpu.device import available_cpus
from topoprobe.measure.statistics import steady_values
from topoprobe.microbench import core_to_core
from topoprobe.microbench.core_to_core import CoreToCoreBenchmark, chosen_pairs, relation_of
from topoprobe.records.base import Status, Tool
from topoprobe.records.machine import Host, MachineDocument, Numa, Package

BENCHMARK = CoreToCoreBenchmark()


def two_packages() -> MachineDocument:
    """Return packages of CPUs 0-7 and 8-11; the first has two nodes of four CPUs."""
    return MachineDocument(
        tool=Tool(tool_version="0"),
        origin="synthetic",
        sources=(),
        nodes=(
            Host(id="host", name="a host"),
            Package(id="p0", name="p0", parent="host", os_index=0, cpus=tuple(range(8))),
            Package(id="p1", name="p1", parent="host", os_index=1, cpus=tuple(range(8, 12))),
            *(
                Numa(
                    id=f"n{index}",
                    name=f"n{index}",
                    parent="host",
                    os_index=index,
                    cpus=tuple(range(4 * index, 4 * index + 4)),
                )
                for index in range(3)
            ),
        ),
    )


@pytest.mark.parametrize(
    ("pair", "shared"),
    [((0, 1), "core"), ((0, 2), "node"), ((0, 5), "package"), ((3, 9), "machine")],
)
def test_relation_is_the_least_that_both_share(pair: tuple[int, int], shared: str) -> None:
    assert relation_of(two_packages(), core=lambda cpu: str(cpu // 2))(pair) == shared


def test_relation_of_a_machine_that_tells_nothing_is_one_node() -> None:
    assert relation_of(machine(), core=str)((0, 1)) == "node"


def test_pairs_of_few_cpus_are_all_of_them() -> None:
    assert chosen_pairs((2, 0, 1), lambda pair: "node", 8) == ((0, 1), (0, 2), (1, 2))


def test_pairs_of_many_cpus_are_a_sample_of_every_kind() -> None:
    relation = relation_of(two_packages(), core=lambda cpu: str(cpu // 2))
    pairs = chosen_pairs(range(12), relation, 8)
    kinds = [relation(pair) for pair in pairs]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == dict.fromkeys(
        ("core", "node", "package", "machine"), 2
    )
    assert pairs == chosen_pairs(range(12), relation, 8)


@pytest.mark.skipif(len(available_cpus()) < 2, reason="one CPU only")
def test_core_to_core_measures_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_to_core, "_NUM_ROUNDS", 100)
    cpus = available_cpus()[:2]
    assert BENCHMARK.missing(machine()) is None
    (series,) = BENCHMARK.run(machine(), context(MIB, cpus=cpus)).series
    assert series.status in (Status.OK, Status.UNSTABLE), series.reason
    assert {series.factors["cpu"], series.factors["other_cpu"]} == set(cpus)
    assert all(value > 0.0 for value in steady_values(series))


@pytest.mark.skipif(len(available_cpus()) < 2, reason="one CPU only")
def test_core_to_core_other_that_does_not_answer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_to_core, "_MAX_SPINS", 0)
    with pytest.raises(MeasurementFailed, match="no longer answered"):
        BENCHMARK.run(machine(), context(MIB, cpus=available_cpus()[:2]))


def test_core_to_core_on_one_cpu_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_to_core, "available_cpus", lambda: (0,))
    assert "one CPU only" in (BENCHMARK.missing(machine()) or "")
