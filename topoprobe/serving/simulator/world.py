"""The world that a scheduler cannot see: how long each answer turns out to be."""

from __future__ import annotations

from heapq import heappop, heappush

from topoprobe.serving.events import Outcome, Plan
from topoprobe.serving.workload.request import Request


class World:
    """Know when requests end.

    The progress of requests that decode is that of the step counter, so each of them is one entry
    in a heap of the counter's values at which somebody ends.
    """

    __slots__ = ("_ends", "_left", "_num_steps", "_outcomes")

    def __init__(self) -> None:
        self._num_steps = 0
        #: (step counter at the end, request id); an entry is void unless `_left` agrees.
        self._ends: list[tuple[int, int]] = []
        #: (false, output tokens to come) of a request that waits or is prefilled; (true, step
        #: counter at its end) of one that decodes.
        self._left: dict[int, tuple[bool, int]] = {}
        #: How each request will have ended.
        self._outcomes: dict[int, Outcome] = {}

    def arrive(self, request: Request) -> None:
        """Take in a request."""
        self._left[request.request_id] = (False, request.num_output_tokens)
        self._outcomes[request.request_id] = Outcome(
            request_id=request.request_id,
            num_tokens=request.num_output_tokens,
            end="length" if request.num_output_tokens == request.max_tokens else "stop",
        )

    def preempt(self, request_id: int) -> None:
        """Stop the progress of a request; the tokens that it has count."""
        is_decoding, value = self._left[request_id]
        if is_decoding:
            self._left[request_id] = (False, value - self._num_steps)

    def close(self, request_id: int) -> None:
        """Forget a request."""
        del self._left[request_id]
        del self._outcomes[request_id]

    def steps_to_end(self) -> int | None:
        """Return in how many steps the first decoding request ends; None if none decodes."""
        ends = self._ends
        while ends and self._left.get(ends[0][1]) != (True, ends[0][0]):
            heappop(ends)
        return ends[0][0] - self._num_steps if ends else None

    def advance(self, plan: Plan, num_steps: int) -> tuple[Outcome, ...]:
        """Let `num_steps` steps of `plan` happen; return who ended with the last of them, by id."""
        self._num_steps += num_steps
        ended = [
            chunk.request_id
            for chunk in plan.chunks
            if chunk.is_last and self._begin_decode(chunk.request_id)
        ]
        while self.steps_to_end() == 0:
            request_id = heappop(self._ends)[1]
            self._left[request_id] = (False, 0)
            ended.append(request_id)
        return tuple([self._outcomes[request_id] for request_id in sorted(ended)])

    def _begin_decode(self, request_id: int) -> bool:
        """Count the token that a prefill yields; tell whether it was the only one left."""
        left = self._left[request_id][1] - 1
        if left:
            end = self._num_steps + left
            self._left[request_id] = (True, end)
            heappush(self._ends, (end, request_id))
        return left == 0
