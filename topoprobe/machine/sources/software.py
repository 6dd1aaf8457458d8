"""Which distributions of interest the running Python finds; none of them is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata

from topoprobe.machine.verdicts.software import INTERESTING, Distribution


def installed(path: Sequence[str] | None = None) -> tuple[Distribution, ...]:
    """List what is installed, every copy of it, in the order in which Python would find it.

    Parameters
    ----------
    path : sequence of str, optional
        Folders to search; `sys.path` by default.
    """
    found = (
        Distribution(name, distribution.version or "of unknown version")
        for name in INTERESTING
        for distribution in metadata.distributions(name=name, path=list(path or sys.path))
    )
    return tuple(dict.fromkeys(found))
