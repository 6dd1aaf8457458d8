"""Passing a cache line between two threads."""

from __future__ import annotations

import numpy as np

from topoprobe.measure.devices.cpu.device import CpuDevice, available_cpus
from topoprobe.measure.devices.cpu.handover import hand_over
from topoprobe.measure.devices.cpu.team import Team


def test_hand_over_alternates_from_where_the_line_stands() -> None:
    line = np.full(8, 6, dtype=np.int64)
    turns: list[int] = []

    def take(first_turn: int) -> None:
        turns.append(hand_over(line, first_turn, 50, 1 << 29))

    hand_over(line, 0, 0, 1)  # compiles
    cpus = available_cpus()
    with Team(CpuDevice((cpus[0], cpus[-1])), 2) as team:
        team.run(take, [(6,), (7,)])
    assert turns == [50, 50]
    assert line[0] == 106


def test_hand_over_without_the_other_gives_up() -> None:
    line = np.zeros(8, dtype=np.int64)
    assert hand_over(line, 0, 5, 1000) == 1
    assert line[0] == 1
