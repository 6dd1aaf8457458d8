"""Which variants are measured, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.microbench.context import MIB, context
from topoprobe.measure.devices.cpu.device import CpuDevice, available_cpus
from topoprobe.measure.devices.cpu.team import Team
from topoprobe.measure.series import Quantity
from topoprobe.measure.statistics import steady_values
from topoprobe.microbench.rivals import Rival, compete
from topoprobe.records.base import Status


@dataclass
class FakeRun:
    """Takes a time that is given, and notes the passes it was asked for."""

    pass_s: float
    passes: list[int] = field(default_factory=list)

    def __call__(self, num_passes: int) -> float:
        self.passes.append(num_passes)
        return self.pass_s


def rival(name: str, run: FakeRun) -> Rival:
    return Rival(Quantity("triad", "bytes_per_s", {"variant": name}), run, work=8.0)


@pytest.fixture
def team() -> Iterator[Team]:
    with Team(CpuDevice(available_cpus()), 1) as one:
        yield one


@pytest.mark.parametrize("suite", ["quick", "standard"])
def test_shorter_suites_skip_who_is_far_behind(team: Team, suite: str) -> None:
    runs = [FakeRun(0.01), FakeRun(0.02), FakeRun(0.012)]
    rivals = [rival(name, run) for name, run in zip("abc", runs, strict=True)]
    series = compete(context(MIB, suite=suite), team, rivals)
    assert [one.status for one in series] == [Status.OK, Status.SKIPPED, Status.OK]
    assert [one.factors["variant"] for one in series] == ["a", "b", "c"]
    assert series[1].reason == "50% of the best at first sight; the full suite measures it"
    assert runs[1].passes == [1, 1]


def test_full_suite_measures_all(team: Team) -> None:
    rivals = [rival("a", FakeRun(0.01)), rival("b", FakeRun(0.1))]
    series = compete(context(MIB, suite="full"), team, rivals)
    assert [set(steady_values(one)) for one in series] == [{800.0}, {80.0}]


def test_samples_have_passes_that_fill_them(team: Team) -> None:
    run = FakeRun(0.01)
    compete(context(MIB), team, [rival("a", run)])
    assert set(run.passes[2:]) == {team.passes_for(0.01)}


def test_nobody_competes(team: Team) -> None:
    assert compete(context(MIB), team, []) == ()
