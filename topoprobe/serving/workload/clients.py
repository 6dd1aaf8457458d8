"""Clients: who submits a workload's requests, and how many they keep open at once."""

from __future__ import annotations

from collections.abc import Sequence

from topoprobe.errors import UsageError
from topoprobe.serving.workload.request import Request


class Clients:
    """Submit requests in order, at their arrival times or as soon after as the limit allows.

    Parameters
    ----------
    requests : sequence of Request
        Ordered by arrival.
    max_concurrency : int or None
        Most requests that are open at once: with arrivals all at 0 this is a closed loop. None
        for no limit.

    Raises
    ------
    UsageError
        If the limit is below 1.
    """

    __slots__ = ("_freed_ps", "_limit", "_num_closed", "_num_submitted", "_requests")

    def __init__(self, requests: Sequence[Request], max_concurrency: int | None = None) -> None:
        if max_concurrency is not None and max_concurrency < 1:
            raise UsageError(f"A concurrency of {max_concurrency} submits nothing; give 1 or more.")
        self._requests = requests
        self._limit = len(requests) if max_concurrency is None else max_concurrency
        self._num_submitted = 0
        self._num_closed = 0
        self._freed_ps = 0

    @property
    def num_requests(self) -> int:
        """Requests in the workload."""
        return len(self._requests)

    @property
    def num_closed(self) -> int:
        """Requests that are over."""
        return self._num_closed

    def next_ps(self) -> int | None:
        """Return when the next request is submitted; None if none is left, or the limit is met."""
        submitted = self._num_submitted
        if submitted == len(self._requests) or submitted - self._num_closed >= self._limit:
            return None
        return max(self._requests[submitted].arrival_ps, self._freed_ps)

    def submit(self) -> Request:
        """Take the next request."""
        request = self._requests[self._num_submitted]
        self._num_submitted += 1
        return request

    def close(self, at_ps: int) -> None:
        """Note that some request is over."""
        if self._num_submitted - self._num_closed >= self._limit:
            self._freed_ps = at_ps
        self._num_closed += 1
