"""Windows on GPU memory: too small, as large as they can be, or not to be judged."""

from __future__ import annotations

import pytest

from tests.machine.verdicts.made_up import gpu, machine
from topoprobe.machine.verdicts import bar1

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("window", "largest", "memory", "level"),
    [
        (128 * GIB, None, 80 * GIB, "OK"),
        (24 * GIB, None, 24 * GIB, "OK"),
        (256 * MIB, 32 * GIB, 24 * GIB, "FAIL"),
        (256 * MIB, 32 * GIB, None, "FAIL"),
        (8 * GIB, 32 * GIB, 24 * GIB, "WARN"),
        (256 * MIB, None, 16 * GIB, "WARN"),
        (512 * MIB, None, 16 * GIB, "OK"),
        (256 * MIB, 256 * MIB, 16 * GIB, "OK"),
    ],
)
def test_window_is_judged_by_memory_and_by_what_is_possible(
    window: int, largest: int | None, memory: int | None, level: str
) -> None:
    node = gpu(bar1_bytes=window, max_bar1_bytes=largest, memory_bytes=memory)
    (verdict,) = bar1.judge(machine(node))
    assert verdict.level == level
    assert (verdict.fix is None) is (level == "OK")
    assert verdict.fix is None or "Above 4G decoding" in verdict.fix


def test_unknown_window_is_not_judged() -> None:
    assert list(bar1.judge(machine(gpu(memory_bytes=80 * GIB)))) == []
