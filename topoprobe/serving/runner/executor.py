"""Runs segments: turns plans into batches, keeps tokens and block tables, and samples."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch

from topoprobe.model.cost import StepFeatures
from topoprobe.serving.events import Chunk, Outcome, ProtocolError, RunSegment
from topoprobe.serving.runner.model import Batch, ChunkSpan, DecodeGroup, Decoder
from topoprobe.serving.runner.paged_cache import PagedCache
from topoprobe.serving.simulator.cost import features_of

# Padding a group of decodes to its longest context costs time per padded token, a further group
# costs calls in every layer. On CPU cores the two were equal near 500 tokens (0.12 us for a token
# of 2 KiB in one layer, 60 us for the calls).
_WORTHWHILE_PADDING_TOKENS = 512

# Matrix kernels work on tiles of 16 rows; with 9 to 15 they fall back to narrower ones and take up
# to 1.7 times as long as with 16 (one core, MKL, fp32). With 8 or fewer they are no slower.
_TILE_ROWS = 16


@dataclass(slots=True)
class Generation:
    """One request in the runner.

    Attributes
    ----------
    tokens : list of int
        The prompt and the output so far; kept when the request is preempted.
    num_prompt_tokens : int
        How many of them are the prompt.
    max_tokens : int
        Most output tokens that the client wants.
    num_forced : int or None
        Output length that was decided beforehand; None lets the model decide.
    stop_token : int or None
        The token that ends the output, where the length is not forced.
    blocks : list of int
        Its block table.
    num_cached : int
        Tokens whose keys and values are in those blocks.
    """

    tokens: list[int]
    num_prompt_tokens: int
    max_tokens: int
    num_forced: int | None = None
    stop_token: int | None = None
    blocks: list[int] = field(default_factory=list)
    num_cached: int = 0

    @property
    def output(self) -> list[int]:
        """Return the output tokens so far."""
        return self.tokens[self.num_prompt_tokens :]

    @property
    def num_output_tokens(self) -> int:
        """Return how many output tokens there are."""
        return len(self.tokens) - self.num_prompt_tokens

    def outcome(self, request_id: int) -> Outcome | None:
        """Tell how the request ended with its newest token, or None if it goes on."""
        num_output = self.num_output_tokens
        if num_output == self.max_tokens:
            return Outcome(request_id=request_id, num_tokens=num_output, end="length")
        if self.num_forced is not None:
            is_stopped = num_output == self.num_forced
        else:
            is_stopped = self.stop_token is not None and self.tokens[-1] == self.stop_token
        if is_stopped:
            return Outcome(request_id=request_id, num_tokens=num_output, end="stop")
        return None


class Executor:
    """Executes the scheduler's actions on one worker: a model and its cache.

    Attributes
    ----------
    model : Decoder
        What computes.
    cache : PagedCache
        Where keys and values lie.
    """

    def __init__(self, model: Decoder, cache: PagedCache) -> None:
        self.model = model
        self.cache = cache
        self._generations: dict[int, Generation] = {}

    def submit(self, request_id: int, generation: Generation) -> None:
        """Take a request in, before the scheduler speaks of it."""
        self._generations[request_id] = generation

    def generation(self, request_id: int) -> Generation:
        """Return a request that was submitted and not released.

        Raises
        ------
        ProtocolError
            If there is none.
        """
        try:
            return self._generations[request_id]
        except KeyError:
            raise ProtocolError(
                f"Request {request_id} is not in the runner; submit it before it is scheduled."
            ) from None

    def preempt(self, request_id: int) -> None:
        """Forget what is cached of a request; its tokens stay."""
        generation = self.generation(request_id)
        generation.blocks = []
        generation.num_cached = 0

    def release(self, request_id: int) -> Generation:
        """Let a request go and return it."""
        generation = self.generation(request_id)
        del self._generations[request_id]
        return generation

    def start(self, action: RunSegment) -> Segment:
        """Begin a segment; its steps are run one by one."""
        return Segment(self, action)


class Segment:
    """A segment that is being run.

    Attributes
    ----------
    action : RunSegment
        What was asked for.
    num_steps : int
        Steps done.
    features : StepFeatures
        What the next step contains; after the last, what one more would.
    """

    def __init__(self, executor: Executor, action: RunSegment) -> None:
        self.action = action
        self.num_steps = 0
        self._executor = executor
        self._promised: dict[int, deque[int]] = {}
        for request_id, block in action.plan.growths:
            self._promised.setdefault(request_id, deque()).append(block)
        for chunk in action.plan.chunks:
            executor.generation(chunk.request_id).blocks = list(chunk.blocks)
        self.features = features_of(action.plan)

    @torch.inference_mode()
    def step(self) -> tuple[Outcome, ...]:
        """Run one step and return the requests that ended with it.

        Raises
        ------
        ProtocolError
            If the plan does not fit what is cached, or the segment has no step left.
        """
        if self.num_steps == self.action.max_steps:
            raise ProtocolError(
                f"Segment {self.action.segment_id} has had its {self.num_steps} steps; start "
                "another one."
            )
        chunks = self.action.plan.chunks if self.num_steps == 0 else ()
        decodes = self._grow()
        model, cache = self._executor.model, self._executor.cache
        rows = _Rows(cache.block_size)
        for chunk in chunks:
            rows.add_chunk(chunk, self._executor.generation(chunk.request_id))
        for request_id, generation in decodes:
            rows.add_decode(request_id, generation)
        logits = model.forward(rows.batch(model.device), cache)[: len(rows.sampled_ids)]
        outcomes = self._commit(rows.sampled_ids, logits.argmax(-1).tolist())
        self.num_steps += 1
        self._advance(len(decodes))
        return outcomes

    def _grow(self) -> list[tuple[int, Generation]]:
        """Give each decode the block its next token needs; return them by growing context."""
        block_size = self._executor.cache.block_size
        decodes = []
        for request_id in self.action.plan.decodes:
            generation = self._executor.generation(request_id)
            if generation.num_cached == len(generation.blocks) * block_size:
                promised = self._promised.get(request_id)
                if not promised:
                    raise ProtocolError(
                        f"Request {request_id} has filled its {len(generation.blocks)} blocks and "
                        f"segment {self.action.segment_id} names no further one."
                    )
                generation.blocks.append(promised.popleft())
            decodes.append((request_id, generation))
        decodes.sort(key=lambda item: item[1].num_cached)
        return decodes

    def _commit(self, sampled_ids: Sequence[int], tokens: Sequence[int]) -> tuple[Outcome, ...]:
        outcomes = []
        for request_id, token in zip(sampled_ids, tokens, strict=True):
            generation = self._executor.generation(request_id)
            generation.tokens.append(token)
            if outcome := generation.outcome(request_id):
                outcomes.append(outcome)
        return tuple(sorted(outcomes, key=lambda outcome: outcome.request_id))

    def _advance(self, num_decodes: int) -> None:
        self.features = StepFeatures(
            num_sequences=num_decodes,
            num_tokens=num_decodes,
            num_prefill_pairs=0,
            num_context_tokens=self.action.plan.num_decode_context + self.num_steps * num_decodes,
        )


class _Rows:
    """The rows of a batch while it is put together."""

    def __init__(self, block_size: int) -> None:
        self.sampled_ids: list[int] = []
        self._block_size = block_size
        self._tokens: list[int] = []
        self._positions: list[int] = []
        self._slots: list[int] = []
        self._sampled_rows: list[int] = []
        self._spans: list[tuple[int, int, int, list[int]]] = []
        self._decodes: list[Generation] = []

    def add_chunk(self, chunk: Chunk, generation: Generation) -> None:
        """Add a piece of prefill."""
        start, stop = chunk.num_context, chunk.num_context + chunk.num_query
        if generation.num_cached != start or stop > len(generation.tokens):
            raise ProtocolError(
                f"Request {chunk.request_id} has {generation.num_cached} of "
                f"{len(generation.tokens)} tokens cached; a chunk of {chunk.num_query} tokens "
                f"after {start} does not fit."
            )
        first_row = len(self._tokens)
        self._tokens.extend(generation.tokens[start:stop])
        self._positions.extend(range(start, stop))
        self._slots.extend(self._slots_of(generation.blocks, start, stop))
        num_blocks = -(-stop // self._block_size)
        self._spans.append((first_row, len(self._tokens), start, generation.blocks[:num_blocks]))
        generation.num_cached = stop
        if chunk.is_last:
            self._sample(chunk.request_id)

    def add_decode(self, request_id: int, generation: Generation) -> None:
        """Add the newest token of a request."""
        position = generation.num_cached
        if position != len(generation.tokens) - 1:
            raise ProtocolError(
                f"Request {request_id} has {position} of {len(generation.tokens)} tokens cached; "
                "a decode needs all but the newest."
            )
        self._tokens.append(generation.tokens[position])
        self._positions.append(position)
        self._slots.extend(self._slots_of(generation.blocks, position, position + 1))
        self._decodes.append(generation)
        generation.num_cached = position + 1
        self._sample(request_id)

    def batch(self, device: torch.device) -> Batch:
        """Return the batch as tensors."""
        padding = [0] * _num_padding(len(self._tokens))
        sampled_rows = self._sampled_rows + [0] * _num_padding(len(self._sampled_rows))
        columns = torch.tensor((self._tokens + padding, self._positions + padding), device=device)
        return Batch(
            tokens=columns[0],
            positions=columns[1],
            slots=torch.tensor(self._slots, device=device),
            chunks=tuple(
                ChunkSpan(start, stop, num_context, torch.tensor(blocks, device=device))
                for start, stop, num_context, blocks in self._spans
            ),
            groups=tuple(self._groups(device)),
            sampled_rows=torch.tensor(sampled_rows, device=device, dtype=torch.int64),
        )

    def _sample(self, request_id: int) -> None:
        self.sampled_ids.append(request_id)
        self._sampled_rows.append(len(self._tokens) - 1)

    def _slots_of(self, blocks: Sequence[int], start: int, stop: int) -> Iterable[int]:
        size = self._block_size
        return (blocks[at // size] * size + at % size for at in range(start, stop))

    def _groups(self, device: torch.device) -> Iterable[DecodeGroup]:
        row = len(self._tokens) - len(self._decodes)
        for members in _similar([generation.num_cached for generation in self._decodes]):
            decodes = self._decodes[members]
            width = max(len(generation.blocks) for generation in decodes)
            table = [
                block
                for generation in decodes
                for block in (*generation.blocks, *(0,) * (width - len(generation.blocks)))
            ]
            lengths = torch.tensor([generation.num_cached for generation in decodes], device=device)
            seen = torch.arange(width * self._block_size, device=device)
            yield DecodeGroup(
                start=row,
                stop=row + len(decodes),
                block_ids=torch.tensor(table, device=device),
                mask=(seen < lengths[:, None])[:, None, None, :],
            )
            row += len(decodes)


def _num_padding(num_rows: int) -> int:
    return _TILE_ROWS - num_rows if _TILE_ROWS // 2 < num_rows < _TILE_ROWS else 0


def _similar(lengths: Sequence[int]) -> Iterable[slice]:
    """Cut growing lengths into runs whose padding costs less than one run more."""
    start = 0
    total = 0
    for stop, length in enumerate(lengths):
        total += length
        if (stop - start + 1) * length - total > _WORTHWHILE_PADDING_TOKENS:
            yield slice(start, stop)
            start, total = stop, length
    if start < len(lengths):
        yield slice(start, len(lengths))
