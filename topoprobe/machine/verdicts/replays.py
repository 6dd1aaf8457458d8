"""Whether GPUs had to send PCIe packets again."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.verdicts.check import Check, ok, warn
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import count
from topoprobe.records.base import Verdict
from topoprobe.records.machine import Gpu

NAME = "replays"
# A healthy 8-GPU machine showed 106 to 174 since its driver was loaded. One reading has no rate,
# which is what counts: DCGM warns at more than 8 a minute [dcgm-health].
_MANY = 1000
_MOST_PER_MINUTE = 8


def judge(machine: Machine) -> Iterator[Verdict]:
    """Tell the replay counters; a single count is a fault only if it keeps growing."""
    for gpu in machine.all(Gpu):
        number = gpu.num_pcie_replays
        if number is None:
            continue
        evidence = f"Sent {count(number, 'PCIe packet')} again since its driver was loaded."
        if number < _MANY:
            yield ok(NAME, gpu.id, evidence)
        else:
            yield warn(
                NAME,
                gpu.id,
                evidence,
                "Read it twice, a minute apart: if it grows by more than "
                f"{_MOST_PER_MINUTE}, reseat the card or change its riser, for such a link loses "
                "speed and ends in errors.",
            )


CHECK = Check(NAME, f"GPUs sent fewer than {_MANY} PCIe packets again, each", judge)
