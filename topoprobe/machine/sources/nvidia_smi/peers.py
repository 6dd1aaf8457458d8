"""`nvidia-smi topo -p2p`: whether the driver allows peer access between GPUs."""

from __future__ import annotations

from topoprobe.machine.facts import Facts


def matches(text: str) -> bool:
    """Tell whether a text holds such output."""
    return False


def read(text: str, name: str) -> Facts:
    """Read it."""
    return Facts(source=name)
