"""The request that was admitted last gives way: it loses the least work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from topoprobe.serving.policies.policy import UNBOUNDED, Settings, View
from topoprobe.serving.progress import Progress


class Newest:
    """Preempt in the reverse order of admission."""

    name: ClassVar[str] = "newest"
    conflicts: ClassVar[Mapping[str, str]] = {}
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def horizon(self, view: View) -> int:
        """Only an admission changes who is newest."""
        return UNBOUNDED

    def choose(self, view: View) -> Progress:
        """Return the request that was admitted last."""
        return next(reversed(view.running.values()))
