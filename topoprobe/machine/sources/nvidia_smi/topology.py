"""`nvidia-smi topo -m`: the matrix of path classes, CPU and NUMA affinity."""

from __future__ import annotations

from topoprobe.machine.facts import Facts


def matches(text: str) -> bool:
    """Tell whether a text holds such output."""
    return False


def read(text: str, name: str) -> Facts:
    """Read it."""
    return Facts(source=name)
