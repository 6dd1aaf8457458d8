"""A victim's cache is dropped, and computed again when it comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from topoprobe.serving.policies.policy import UNBOUNDED, Settings, View
from topoprobe.serving.progress import Progress


class Recompute:
    """Prefill a victim again: its prompt and the output it has by then, which stays valid."""

    name: ClassVar[str] = "recompute"
    conflicts: ClassVar[Mapping[str, str]] = {}
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def horizon(self, view: View) -> int:
        """Nothing changes what becomes of a victim."""
        return UNBOUNDED

    def evict(self, request: Progress, num_known: int) -> None:
        """Send a victim back to the beginning of a prefill of all that it knows."""
        request.num_to_prefill = num_known
        request.num_cached = 0
