"""Pure steps that bring an older document up to the current version, one version at a time.

A step is registered as ``STEPS[kind][n]`` and takes a document of version n to version n + 1. It
works on plain decoded JSON, because the records only know the current version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from topoprobe.errors import InputError

Step = Callable[[dict[str, Any]], dict[str, Any]]

CURRENT: Mapping[str, int] = {"machine": 1, "results": 1, "calibration": 1, "run": 1}
STEPS: Mapping[str, Mapping[int, Step]] = {kind: {} for kind in CURRENT}


def upgrade(
    kind: str,
    document: dict[str, Any],
    *,
    steps: Mapping[int, Step] | None = None,
    current: int | None = None,
) -> dict[str, Any]:
    """Return the document at the current version of its kind.

    Parameters
    ----------
    kind : str
        ``machine``, ``results``, ``calibration`` or ``run``.
    document : dict
        Decoded JSON of any version; it is not changed.
    steps, current : optional
        Replace the registered steps and target version (used by the tests of the mechanism).

    Raises
    ------
    InputError
        If the version is not a positive integer, or newer than this program knows.
    """
    target = CURRENT[kind] if current is None else current
    chain = STEPS[kind] if steps is None else steps
    version = document.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"The {kind} document has no valid version: found {version!r}.")
    if version > target:
        raise InputError(
            f"The {kind} document has version {version}, and this topoprobe reads up to "
            f"{target}: install a newer topoprobe."
        )
    while version < target:
        document = {**chain[version](document), "version": version + 1}
        version += 1
    return document
