"""A resource with the words that people use for it."""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.model.fabric.resource import Resource


@dataclass(frozen=True, slots=True)
class Described:
    """A resource and what people call it; or, without a known capacity, why it limits nothing.

    Attributes
    ----------
    id : str
    words : str
        As ``the Gen5 x16 uplink of switch 0000:01:00.0, away from the CPU``.
    resource : Resource or None
        None where nobody tells its capacity.
    reason : str
        Why there is none.
    """

    id: str
    words: str
    resource: Resource | None
    reason: str = ""
