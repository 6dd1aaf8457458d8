"""A copied `/sys/class/infiniband`: verbs devices and their ports."""

from __future__ import annotations

from topoprobe.machine.facts import Facts
from topoprobe.machine.sources.files import Files


def matches(files: Files) -> bool:
    """Tell whether a tree holds such files."""
    return False


def read(files: Files, name: str = "") -> Facts:
    """Read them."""
    return Facts(source=name)
