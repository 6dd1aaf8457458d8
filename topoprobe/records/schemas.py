"""The published JSON Schema (draft 2020-12) of each document."""

from __future__ import annotations

from typing import Any

import msgspec

from topoprobe.errors import UsageError
from topoprobe.records.documents import KINDS
from topoprobe.records.upgrades import CURRENT


def schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind of document.

    Raises
    ------
    UsageError
        If the kind is not machine, results, calibration or run.
    """
    if kind not in KINDS:
        raise UsageError(f"{kind!r} is not a kind of document; expected one of {', '.join(KINDS)}.")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:topoprobe:{kind}:{CURRENT[kind]}",
        "title": f"topoprobe.{kind}, version {CURRENT[kind]}",
        **msgspec.json.schema(KINDS[kind]),
    }
