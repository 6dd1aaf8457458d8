"""The state of the CPUs while a sample is taken: other load, stolen time, clock."""

from __future__ import annotations

import os
import time
from pathlib import Path

from topoprobe.records.results import Conditions

# Linux counts CPU time in ticks of 10 ms; a shorter window would tell more about the ticks.
_MIN_WINDOW_S = 0.1
_IDLE_FIELDS = (3, 4)  # idle, iowait
_STEAL_FIELD = 7
_NOTHING = (0.0,) * 4


class CpuConditions:
    """Reads what other processes and the hypervisor took of some CPUs since the last reading.

    Parameters
    ----------
    cpus : tuple of int
        The CPUs that are measured on.
    root : Path
        Where ``proc`` and ``sys`` are; another folder in tests.
    """

    def __init__(self, cpus: tuple[int, ...], root: Path = Path("/")) -> None:
        self._names = {f"cpu{cpu}" for cpu in cpus}
        self._stat = root / "proc/stat"
        self._clocks = tuple(
            root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in cpus
        )
        self._tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        self._last: Conditions | None = None
        self._seen = self._counters()
        self._window: tuple[float, ...] = _NOTHING

    def __call__(self) -> Conditions | None:
        """Return the shares since the window began, or the last window's if it is too short.

        None where the kernel tells nothing, or no window is complete yet.
        """
        before, self._seen = self._seen, self._counters()
        if before is None or self._seen is None:
            return None
        deltas = (after - earlier for after, earlier in zip(self._seen, before, strict=True))
        window = tuple(sum(pair) for pair in zip(self._window, deltas, strict=True))
        elapsed_s, busy_s, steal_s, own_s = self._window = window
        if elapsed_s >= _MIN_WINDOW_S:
            total_s = elapsed_s * len(self._names)
            self._last = Conditions(
                other_cpu_ratio=_ratio(busy_s - own_s, total_s),
                steal_ratio=_ratio(steal_s, total_s),
                cpu_clock_hz=self._clock_hz(),
            )
            self._window = _NOTHING
        return self._last

    def skip(self) -> None:
        """Leave out of the window what happened since the last reading."""
        self._seen = self._counters()

    def _counters(self) -> tuple[float, ...] | None:
        """Return the time, the CPUs' busy and stolen seconds, and this process's own seconds."""
        now_s = time.monotonic()
        try:
            lines = self._stat.read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        busy = steal = 0
        for line in lines:
            name, *fields = line.split()
            if name in self._names:
                ticks = [int(field) for field in fields[:8]]
                busy += sum(ticks) - sum(ticks[index] for index in _IDLE_FIELDS)
                busy -= ticks[_STEAL_FIELD]
                steal += ticks[_STEAL_FIELD]
        return now_s, busy * self._tick_s, steal * self._tick_s, time.process_time()

    def _clock_hz(self) -> float | None:
        clocks = []
        for path in self._clocks:
            try:
                clocks.append(float(path.read_text(encoding="ascii")) * 1e3)
            except (OSError, ValueError):
                return None
        return sum(clocks) / len(clocks) if clocks else None


def _ratio(part_s: float, total_s: float) -> float:
    # Ticks and the process clock are read a moment apart: a share may leave [0, 1] a little.
    return min(1.0, max(0.0, part_s / total_s))
