"""Conditions read from recorded counters."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from topoprobe.measure.devices import conditions as module
from topoprobe.measure.devices.conditions import CpuConditions

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def write_stat(root: Path, user: float, idle: float, steal: float) -> None:
    ticks = [round(seconds / TICK_S) for seconds in (user, 0, 0, idle, 0, 0, 0, steal)]
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(
        f"cpu 9 9 9 9 9 9 9 9 0 0\ncpu0 {' '.join(map(str, ticks))} 0 0\ncpu1 7 7 7 7 7 7 7 7 0 0\n"
    )


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = self.own_s = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(time, "process_time", lambda: self.own_s)


def test_conditions_leave_out_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    write_stat(tmp_path, user=10.0, idle=0.0, steal=0.0)
    read = CpuConditions((0,), tmp_path)
    write_stat(tmp_path, user=10.8, idle=0.1, steal=0.1)
    clock.now_s, clock.own_s = 1.0, 0.5
    found = read()
    assert found is not None
    assert found.other_cpu_ratio == pytest.approx(0.3)
    assert found.steal_ratio == pytest.approx(0.1)
    assert found.cpu_clock_hz is None


def test_conditions_of_a_short_window_repeat_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    write_stat(tmp_path, user=0.0, idle=0.0, steal=0.0)
    read = CpuConditions((0,), tmp_path)
    clock.now_s = module._MIN_WINDOW_S / 2
    assert read() is None
    write_stat(tmp_path, user=0.2, idle=0.0, steal=0.0)
    clock.now_s = 0.4
    first = read()
    clock.now_s += module._MIN_WINDOW_S / 2
    assert read() is first


def test_conditions_window_leaves_out_what_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    write_stat(tmp_path, user=0.0, idle=0.0, steal=0.0)
    read = CpuConditions((0,), tmp_path)
    write_stat(tmp_path, user=5.0, idle=0.0, steal=0.0)
    clock.now_s = 5.0
    read.skip()
    clock.now_s = 5.06
    assert read() is None
    write_stat(tmp_path, user=9.0, idle=0.06, steal=0.0)
    clock.now_s = 9.06
    read.skip()
    write_stat(tmp_path, user=9.03, idle=0.09, steal=0.0)
    clock.now_s = 9.12
    found = read()
    assert found is not None
    assert found.other_cpu_ratio == pytest.approx(0.25)


def test_conditions_without_counters_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    read = CpuConditions((0,), tmp_path)
    clock.now_s = 1.0
    assert read() is None


def test_conditions_give_the_mean_clock_of_the_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    for cpu, khz in ((0, 2_000_000), (1, 3_000_000)):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(f"{khz}\n")
    write_stat(tmp_path, user=0.0, idle=0.0, steal=0.0)
    read = CpuConditions((0, 1), tmp_path)
    clock.now_s = 1.0
    found = read()
    assert found is not None
    assert found.cpu_clock_hz == 2.5e9
