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
        Distribution(name, version)
        for name in INTERESTING
        for distribution in metadata.distributions(name=name, path=list(path or sys.path))
        if (version := _version(distribution)) is not None
    )
    return tuple(dict.fromkeys(found))


def _version(distribution: metadata.Distribution) -> str | None:
    """Return the version, or None of what is left of a distribution that was removed badly."""
    try:
        return distribution.version or None
    except (OSError, ValueError, KeyError, TypeError):
        return None
