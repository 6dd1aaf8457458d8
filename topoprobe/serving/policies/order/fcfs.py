"""First come, first served."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import ClassVar

from topoprobe.serving.policies.policy import UNBOUNDED, Settings, View
from topoprobe.serving.progress import Progress


class Fcfs:
    """Serve in the order of arrival; who was preempted goes before all who never ran."""

    name: ClassVar[str] = "fcfs"
    conflicts: ClassVar[Mapping[str, str]] = {}
    settings_type: ClassVar[type[Settings]] = Settings

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._waiting: OrderedDict[int, Progress] = OrderedDict()

    def horizon(self, view: View) -> int:
        """Only an arrival changes who is next."""
        return UNBOUNDED

    def push(self, request: Progress) -> None:
        """Put a new request at the end."""
        self._waiting[request.spec.request_id] = request

    def push_back(self, request: Progress) -> None:
        """Put a preempted request at the head."""
        self._waiting[request.spec.request_id] = request
        self._waiting.move_to_end(request.spec.request_id, last=False)

    def peek(self) -> Progress | None:
        """Return the head of the queue."""
        return next(iter(self._waiting.values()), None)

    def pop(self) -> Progress:
        """Take the head of the queue."""
        return self._waiting.popitem(last=False)[1]

    def remove(self, request_id: int) -> Progress | None:
        """Take a request out of the queue."""
        return self._waiting.pop(request_id, None)
