"""Verdicts on a machine: one question per module, each answered with evidence and a fix.

A new check is one module and one entry in `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Sequence

from topoprobe.machine.verdicts import (
    bar1,
    binding,
    contradictions,
    driver,
    gpu_health,
    guest,
    link_speed,
    link_width,
    nic_distance,
    numa_place,
    nvlinks,
    peer_access,
    replays,
    software,
)
from topoprobe.machine.view import Machine
from topoprobe.records.base import Verdict

# What costs most comes first.
CHECKS = (
    driver.CHECK,
    gpu_health.CHECK,
    link_width.CHECK,
    link_speed.CHECK,
    nvlinks.CHECK,
    peer_access.CHECK,
    guest.CHECK,
    binding.CHECK,
    bar1.CHECK,
    nic_distance.CHECK,
    numa_place.CHECK,
    replays.CHECK,
    contradictions.CHECK,
)
# What several OKs of a check say together.
ALL_WELL = {check.name: check.all_well for check in CHECKS} | {software.NAME: software.ALL_WELL}
_ORDER = ("FAIL", "WARN", "OK")


def judge(
    machine: Machine, installed: Sequence[software.Distribution] | None = None
) -> tuple[Verdict, ...]:
    """Ask every check, and put what fails first.

    Parameters
    ----------
    machine : Machine
        Live, recorded or made up.
    installed : sequence of Distribution, optional
        What the Python environment of the machine has; without it, software is not judged.
    """
    found = [verdict for check in CHECKS for verdict in check.judge(machine)]
    if installed is not None:
        found += software.judge(machine, installed)
    return tuple(sorted(found, key=lambda verdict: _ORDER.index(verdict.level)))
