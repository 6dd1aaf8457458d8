"""Single forward steps of the bundled model: what the step-cost law is fitted to.

Steps run through the executor that serves requests, so that what is timed is what a serving loop
pays: block tables, the forward pass, sampling, and the bookkeeping of tokens. The shapes are a
design over batch, context and chunk, and never those of a workload that is predicted later. Some
are for the fit, others lie between them and check it.
"""

from __future__ import annotations

import importlib.util
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from topoprobe.measure.benchmark import Context, Outcome
from topoprobe.measure.series import Quantity, Trial, collect, require_any
from topoprobe.model.catalogue.shapes import TINY_LLAMA
from topoprobe.model.cost import kv_bytes_per_token
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.serving.events import Chunk, Plan, RunSegment
from topoprobe.units import format_bytes

if TYPE_CHECKING:
    from topoprobe.serving.runner.executor import Executor, Segment

_BLOCK_SIZE = 16
_MOST_CONTEXT = 1536
# An odd number of steps: contexts grow evenly, so the mean step is the one in the middle.
_DECODE_STEPS = 3
# A step costs what it costs on average, the hiccups of the machine included: so only the first
# sample is warm-up unless steps differ wildly, and there are more samples than elsewhere.
_TOLERANCE_RATIO = 0.5
_NUM_SAMPLES_FACTOR = 2
# There are more series here than in other benchmarks, so each gets less of the time for one.
_SERIES_SHARE = 0.3
_FIT, _VALIDATE = "fit", "validate"


@dataclass(frozen=True, slots=True)
class StepShape:
    """What a timed step contains.

    Attributes
    ----------
    role : str
        ``fit`` or ``validate``.
    num_decodes, mean_context : int
        Requests that decode, and the tokens they have cached on average. Contexts are spread from
        a half to one and a half of the mean, as they are when requests come and go.
    chunks : tuple of (int, int)
        New and cached tokens of each prefill chunk.
    """

    role: str
    num_decodes: int = 0
    mean_context: int = 0
    chunks: tuple[tuple[int, int], ...] = ()

    @property
    def contexts(self) -> tuple[int, ...]:
        """Tokens that each decode has cached."""
        if self.num_decodes == 1:
            return (self.mean_context,)
        spread = self.mean_context / (self.num_decodes - 1)
        return tuple(
            round(self.mean_context / 2 + spread * index) for index in range(self.num_decodes)
        )


_DECODES = tuple(
    StepShape(_FIT, num_decodes, mean_context)
    for num_decodes in (1, 4, 6, 8, 10, 12, 16)
    for mean_context in (32, 256, 768)
)
_CHUNKS = tuple(
    StepShape(_FIT, chunks=chunks)
    for chunks in (
        ((16, 0),), ((32, 0),), ((64, 0),), ((128, 0),), ((256, 0),), ((512, 0),),
        ((64, 512),), ((128, 256),), ((256, 512),), ((128, 1024),),
        ((96, 0), (160, 0)), ((200, 0), (150, 0), (162, 0)),
    )
)  # fmt: skip
_MIXED = (
    StepShape(_FIT, 3, 200, ((48, 0),)),
    StepShape(_FIT, 4, 600, ((200, 0),)),
    StepShape(_FIT, 7, 300, ((96, 128),)),
    StepShape(_FIT, 7, 200, ((400, 0),)),
    StepShape(_FIT, 12, 400, ((128, 0), (64, 64))),
    StepShape(_FIT, 15, 300, ((32, 0),)),
)
_OTHERS = (
    StepShape(_VALIDATE, 1, 400),
    StepShape(_VALIDATE, 2, 600),
    StepShape(_VALIDATE, 3, 128),
    StepShape(_VALIDATE, 7, 512),
    StepShape(_VALIDATE, 9, 160),
    StepShape(_VALIDATE, 14, 400),
    StepShape(_VALIDATE, chunks=((100, 0),)),
    StepShape(_VALIDATE, chunks=((350, 150),)),
    StepShape(_VALIDATE, chunks=((80, 300), (120, 0))),
    StepShape(_VALIDATE, 6, 350, ((150, 50),)),
    StepShape(_VALIDATE, 10, 250, ((60, 0), (90, 0))),
)
STEP_SHAPES = _DECODES + _CHUNKS + _MIXED + _OTHERS


def shapes_of(suite: str) -> tuple[StepShape, ...]:
    """Return the shapes of a suite: every other one for ``quick``, which gives the same law."""
    return STEP_SHAPES[::2] if suite == "quick" else STEP_SHAPES


class ModelStepsBenchmark:
    """The benchmark ``model.steps``."""

    name = "model.steps"
    summary = "Time single steps of the bundled model over batches, contexts and prefill chunks."
    revision = 1
    seconds = 11.0

    def missing(self, machine: MachineDocument) -> str | None:
        """Say why it cannot run here, or None."""
        if importlib.util.find_spec("torch") is None:
            return "torch is not installed; pip install 'topoprobe[torch]'"
        return None

    def run(self, machine: MachineDocument, context: Context) -> Outcome:
        """Time every shape, in alternation.

        Raises
        ------
        Interrupted
            If the person asked to stop.
        MeasurementFailed
            If nothing could be measured.
        """
        shapes = shapes_of(context.budget.suite)
        num_blocks = max(_num_blocks(shape) for shape in STEP_SHAPES)
        cache_bytes = num_blocks * _BLOCK_SIZE * kv_bytes_per_token(TINY_LLAMA)
        if cache_bytes > context.budget.memory_bytes:
            return Outcome(
                (),
                Status.SKIPPED,
                f"its KV cache takes {format_bytes(cache_bytes)} and the budget is "
                f"{format_bytes(context.budget.memory_bytes)}; raise the budget",
            )
        context.progress("model.step: loading torch and drawing weights")
        from topoprobe.serving.runner.worker import default_num_threads, open_worker, threads

        num_threads = default_num_threads(len(context.cpus))
        with threads(num_threads):
            bench = _Bench(
                open_worker(
                    TINY_LLAMA,
                    num_blocks=num_blocks,
                    max_positions=_MOST_CONTEXT,
                    block_size=_BLOCK_SIZE,
                ),
                context,
            )
            trials = [bench.trial(shape, num_threads) for shape in shapes]
            series = collect(
                context,
                trials,
                tolerance_ratio=_TOLERANCE_RATIO,
                num_samples=_NUM_SAMPLES_FACTOR * context.budget.num_samples,
                max_series_s=context.budget.max_series_s * _SERIES_SHARE,
            )
        return Outcome(require_any(series))


class _Bench:
    """Puts an executor into the state that a shape asks for, and times it from there."""

    def __init__(self, executor: Executor, context: Context) -> None:
        self._executor = executor
        self._clock = context.clock
        self._random = random.Random(0)

    def trial(self, shape: StepShape, num_threads: int) -> Trial:
        """Return what measures a shape; its series says what the mean timed step contains."""
        features = self._segment(shape).features
        num_grown = shape.num_decodes * (_DECODE_STEPS // 2) if not shape.chunks else 0
        quantity = Quantity(
            "model.step",
            "s",
            {
                "device": "host",
                "model": TINY_LLAMA.name,
                "dtype": TINY_LLAMA.dtype,
                "threads": num_threads,
                "num_sequences": features.num_sequences,
                "num_tokens": features.num_tokens,
                "num_prefill_pairs": features.num_prefill_pairs,
                "num_context_tokens": features.num_context_tokens + num_grown,
                "role": shape.role,
            },
            is_better_higher=False,
        )
        return Trial.of(quantity, lambda: self._measure(shape))

    def _measure(self, shape: StepShape) -> float:
        """Return the seconds of a step."""
        segment = self._segment(shape)
        num_steps = segment.action.max_steps
        started_s = self._clock()
        for _ in range(num_steps):
            segment.step()
        return (self._clock() - started_s) / num_steps

    def _segment(self, shape: StepShape) -> Segment:
        """Set up requests that are as far as the shape says, in blocks scattered over the pool."""
        from topoprobe.serving.runner.executor import Generation

        free = list(range(self._executor.cache.num_blocks))
        self._random.shuffle(free)
        num_steps = 1 if shape.chunks else _DECODE_STEPS
        for request_id, num_cached in enumerate(shape.contexts):
            self._executor.submit(
                request_id,
                Generation(
                    tokens=self._tokens(num_cached + 1),
                    num_prompt_tokens=num_cached,
                    max_tokens=_MOST_CONTEXT,
                    blocks=[free.pop() for _ in range(_blocks_for(num_cached + num_steps))],
                    num_cached=num_cached,
                ),
            )
        chunks = []
        for request_id, (num_query, num_cached) in enumerate(shape.chunks, shape.num_decodes):
            num_known = num_cached + num_query
            self._executor.submit(
                request_id,
                Generation(
                    tokens=self._tokens(num_known),
                    num_prompt_tokens=num_known,
                    max_tokens=_MOST_CONTEXT,
                    num_cached=num_cached,
                ),
            )
            chunks.append(
                Chunk(
                    request_id=request_id,
                    num_query=num_query,
                    num_context=num_cached,
                    blocks=tuple(free.pop() for _ in range(_blocks_for(num_known))),
                    is_last=True,
                )
            )
        return self._executor.start(
            RunSegment(
                worker_id=0,
                segment_id=0,
                plan=Plan(
                    chunks=tuple(chunks),
                    decodes=tuple(range(shape.num_decodes)),
                    num_decode_context=sum(shape.contexts),
                    growths=(),
                ),
                max_steps=num_steps,
            )
        )

    def _tokens(self, count: int) -> list[int]:
        return self._random.choices(range(TINY_LLAMA.vocab_size), k=count)


def _num_blocks(shape: StepShape) -> int:
    decodes = sum(_blocks_for(num_cached + _DECODE_STEPS) for num_cached in shape.contexts)
    return decodes + sum(_blocks_for(num_query + cached) for num_query, cached in shape.chunks)


def _blocks_for(num_tokens: int) -> int:
    return -(-num_tokens // _BLOCK_SIZE)
