"""The requests that run on one worker: who holds which blocks, and how far each has come."""

from __future__ import annotations

from topoprobe.serving.blocks import BlockPool
from topoprobe.serving.events import Plan
from topoprobe.serving.progress import Progress

LOOKAHEAD_BLOCKS = 64
"""Blocks that a segment may be promised, where one per decode is less: what an early end leaves
over was prepared in vain, and a segment that uses them all up was worth its preparation."""


class Batch:
    """Running requests over a pool of KV blocks, kept up to date at the cost of events.

    A step counter stands for the progress of all requests that decode. They are grouped by the
    phase of that counter in which they need their next block, so what the coming steps need
    follows from the sizes of `block_size` groups.

    Attributes
    ----------
    pool : BlockPool
        The worker's KV blocks.
    block_size : int
        Tokens in a block.
    running : dict of int to Progress
        Requests that hold blocks, by id, in the order of their admission.
    prefilling, decodes : dict of int to Progress
        Those of them whose prefill is not complete, and those whose is.
    num_context : int
        Tokens that the decodes have cached, together.
    num_steps : int
        Steps that the worker has done.
    """

    __slots__ = (
        "_due",
        "block_size",
        "decodes",
        "num_context",
        "num_steps",
        "pool",
        "prefilling",
        "running",
    )

    def __init__(self, *, num_blocks: int, block_size: int) -> None:
        self.pool = BlockPool(num_blocks)
        self.block_size = block_size
        self.running: dict[int, Progress] = {}
        self.prefilling: dict[int, Progress] = {}
        self.decodes: dict[int, Progress] = {}
        self.num_context = 0
        self.num_steps = 0
        # Decodes that need a block when the step counter, modulo the block size, is the index.
        self._due: tuple[dict[int, None], ...] = tuple({} for _ in range(block_size))

    @property
    def num_blocks(self) -> int:
        """KV blocks of the worker."""
        return self.pool.num_blocks

    @property
    def num_decodes(self) -> int:
        """Requests that decode."""
        return len(self.decodes)

    @property
    def num_spare_blocks(self) -> int:
        """Free blocks beyond those that the decodes take in the coming step; may be negative."""
        return self.pool.num_free - len(self._due[self.num_steps % self.block_size])

    def num_blocks_for(self, num_tokens: int) -> int:
        """Return the number of blocks that hold `num_tokens` tokens."""
        return -(-num_tokens // self.block_size)

    def admit(self, request: Progress) -> None:
        """Let a request run, with blocks for all it has to prefill."""
        request.blocks = self.pool.allocate(self.num_blocks_for(request.num_to_prefill))
        request.prefill_blocks = tuple(request.blocks)
        self.running[request.spec.request_id] = request
        self.prefilling[request.spec.request_id] = request

    def remove(self, request: Progress) -> int:
        """Take a running request out and free its blocks; return the tokens that it had cached."""
        request_id = request.spec.request_id
        del self.running[request_id]
        if request.anchor is None:
            del self.prefilling[request_id]
            num_cached = request.num_cached
        else:
            del self.decodes[request_id]
            del self._due[request.anchor % self.block_size][request_id]
            num_cached = self.num_steps - request.anchor
            self.num_context -= num_cached
            request.anchor = None
        self.pool.release(request.blocks)
        request.blocks = []
        request.prefill_blocks = ()
        return num_cached

    def advance(self, plan: Plan, num_steps: int) -> None:
        """Book `num_steps` steps of a plan: blocks taken, tokens cached, prefills completed."""
        if plan.growths:
            self._grow(plan.growths[: self._num_due(num_steps)])
        self.num_context += num_steps * len(self.decodes)
        self.num_steps += num_steps
        for chunk in plan.chunks:
            request = self.prefilling[chunk.request_id]
            request.num_cached += chunk.num_query
            if chunk.is_last:
                self._begin_decode(request)

    def promise(self, max_steps: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        """Tell for how many of `max_steps` steps blocks can be promised, and who takes which.

        The blocks stay free until `advance` takes them: nobody else allocates during a segment.
        """
        num_decodes = len(self.decodes)
        if not num_decodes:
            return max_steps, ()
        limit = min(self.pool.num_free, max(LOOKAHEAD_BLOCKS, num_decodes))
        # In a round of `block_size` steps every decode takes one block.
        num_rounds = min(limit // num_decodes, max_steps // self.block_size)
        num_steps = num_rounds * self.block_size
        takers: list[int] = []
        if num_rounds:
            for step in range(self.num_steps, self.num_steps + self.block_size):
                takers.extend(self._due[step % self.block_size])
            takers *= num_rounds
        while num_steps < max_steps:
            due = self._due[(self.num_steps + num_steps) % self.block_size]
            if len(takers) + len(due) > limit:
                break
            takers.extend(due)
            num_steps += 1
        return num_steps, tuple(zip(takers, self.pool.upcoming(len(takers)), strict=True))

    def _grow(self, growths: tuple[tuple[int, int], ...]) -> None:
        """Take the blocks that were promised and reached."""
        blocks = self.pool.allocate(len(growths))
        for (request_id, _), block in zip(growths, blocks, strict=True):
            self.decodes[request_id].blocks.append(block)

    def _num_due(self, num_steps: int) -> int:
        """Count the blocks that the decodes take in the next `num_steps` steps."""
        num_rounds, num_rest = divmod(num_steps, self.block_size)
        count = num_rounds * len(self.decodes)
        for step in range(self.num_steps, self.num_steps + num_rest):
            count += len(self._due[step % self.block_size])
        return count

    def _begin_decode(self, request: Progress) -> None:
        request_id = request.spec.request_id
        del self.prefilling[request_id]
        request.anchor = self.num_steps - request.num_cached
        self.decodes[request_id] = request
        self._due[request.anchor % self.block_size][request_id] = None
        self.num_context += request.num_cached
