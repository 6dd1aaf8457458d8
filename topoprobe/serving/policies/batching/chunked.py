"""Continuous batching with chunked prefill: decodes first, then prompts, up to a token budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from topoprobe.errors import UsageError
from topoprobe.serving.policies.policy import UNBOUNDED, Settings, Step, View


class ChunkedSettings(Settings, frozen=True, kw_only=True):
    """Settings of chunked prefill.

    Attributes
    ----------
    budget : int
        Most tokens of a step.
    seats : int
        Most requests that run at once.
    reserve : float
        Share of the KV blocks that an admission leaves free, so that those who run can grow for a
        while before somebody has to give way.
    """

    budget: int = 512
    seats: int = 128
    reserve: float = 0.01

    def __post_init__(self) -> None:
        """Refuse settings that make no sense."""
        if self.seats < 1:
            raise UsageError(f"seats={self.seats} runs nobody; give at least 1.")
        if self.budget < self.seats:
            raise UsageError(
                f"budget={self.budget} tokens cannot hold one token of each of seats={self.seats} "
                "requests; raise the budget or lower the seats."
            )
        if not 0 <= self.reserve < 1:
            raise UsageError(f"reserve={self.reserve} is no share; give at least 0 and below 1.")


class Chunked:
    """Fill each step to a token budget: all decodes, then prompts begun, then new requests.

    A prompt that does not fit is cut, so a step never takes longer than its budget, and those who
    decode are never held up by a long prompt.

    References
    ----------
    [agrawal2024] Sarathi-Serve.
    """

    name: ClassVar[str] = "chunked"
    conflicts: ClassVar[Mapping[str, str]] = {}
    settings_type: ClassVar[type[Settings]] = ChunkedSettings

    def __init__(self, settings: ChunkedSettings) -> None:
        self.settings = settings

    def horizon(self, view: View) -> int:
        """Only an event changes the composition: a finish, or an arrival that finds room."""
        return UNBOUNDED

    def compose(self, step: Step) -> None:
        """Spend what the decodes leave of the budget."""
        budget = self.settings.budget - step.batch.num_decodes
        for request in step.batch.prefilling.values():
            if budget <= 0:
                return
            budget -= step.prefill(request, budget)
        while budget > 0:
            num_blocks = step.num_blocks_for_next()
            if num_blocks is None or not self._has_room(step.batch, num_blocks):
                return
            budget -= step.prefill(step.admit_next(), budget)

    def could_admit(self, view: View, num_blocks: int) -> bool:
        """Tell whether budget, seats and blocks leave room."""
        return view.num_decodes < self.settings.budget and self._has_room(view, num_blocks)

    def _has_room(self, view: View, num_blocks: int) -> bool:
        num_running = len(view.running)
        # Whoever would run alone may take every block.
        reserve = self.settings.reserve * view.num_blocks if num_running else 0
        return num_running < self.settings.seats and view.num_spare_blocks - num_blocks >= reserve
