# ruff: noqa: E402
"""The executor against a plain decoder that recomputes everything."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra topoprobe[torch])")

from topoprobe.errors import ModelError
from topoprobe.model.cost import StepFeatures
from topoprobe.records.calibration import ModelShape
from topoprobe.serving.events import Chunk, Outcome, Plan, ProtocolError, RunSegment
from topoprobe.serving.runner.executor import Executor, Generation
from topoprobe.serving.runner.model import Batch, ChunkSpan, Decoder
from topoprobe.serving.runner.paged_cache import PagedCache
from topoprobe.serving.runner.weights import Weights, num_parameters, random_weights

BLOCK_SIZE = 16
SHAPE = ModelShape(
    name="test",
    num_layers=2,
    hidden_size=64,
    intermediate_size=96,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    vocab_size=97,
    dtype="fp32",
    dtype_bytes=4,
)


@pytest.fixture(scope="module")
def weights() -> Weights:
    return random_weights(SHAPE, seed=0)


def tokens(num_tokens: int, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(SHAPE.vocab_size) for _ in range(num_tokens)]


def blocks_for(num_tokens: int) -> int:
    return -(-num_tokens // BLOCK_SIZE)


class Bench:
    """An executor with a shuffled pool of blocks and a hand for plans."""

    def __init__(self, weights: Weights, seed: int = 0, num_blocks: int = 64) -> None:
        model = Decoder(SHAPE, weights, max_positions=512)
        self.executor = Executor(model, PagedCache(SHAPE, num_blocks=num_blocks))
        self.free = list(range(num_blocks))
        random.Random(seed).shuffle(self.free)
        self.num_segments = 0

    def take(self, count: int) -> tuple[int, ...]:
        return tuple(self.free.pop() for _ in range(count))

    def submit(self, request_id: int, prompt: list[int], max_tokens: int, **options) -> None:
        self.executor.submit(
            request_id,
            Generation(
                tokens=list(prompt),
                num_prompt_tokens=len(prompt),
                max_tokens=max_tokens,
                **options,
            ),
        )

    def run(self, chunks=(), decodes=(), growths=(), max_steps=1):
        """Run a segment until it ends by itself."""
        contexts = [self.executor.generation(decode).num_cached for decode in decodes]
        self.num_segments += 1
        segment = self.executor.start(
            RunSegment(
                worker_id=0,
                segment_id=self.num_segments,
                max_steps=max_steps,
                plan=Plan(
                    chunks=tuple(chunks),
                    decodes=tuple(decodes),
                    num_decode_context=sum(contexts),
                    growths=tuple(growths),
                ),
            )
        )
        outcomes = segment.step()
        while not outcomes and segment.num_steps < max_steps:
            outcomes = segment.step()
        return outcomes

    def prefill(self, request_id: int, chunk_size: int, beside: tuple[int, ...] = ()) -> None:
        """Prefill all that is known of a request, with other requests decoding beside it."""
        known = len(self.executor.generation(request_id).tokens)
        blocks = self.take(blocks_for(known))
        for start in range(0, known, chunk_size):
            query = min(chunk_size, known - start)
            chunk = Chunk(
                request_id=request_id,
                num_query=query,
                num_context=start,
                blocks=blocks,
                is_last=start + query == known,
            )
            self.run([chunk], beside, self.growths(beside, 1))

    def growths(self, decodes: tuple[int, ...], num_steps: int) -> list[tuple[int, int]]:
        grown = []
        for request_id in decodes:
            generation = self.executor.generation(request_id)
            needed = blocks_for(generation.num_cached + num_steps) - len(generation.blocks)
            grown += [(request_id, block) for block in self.take(max(0, needed))]
        return grown

    def decode(self, *request_ids: int, num_steps: int = 1):
        growths = self.growths(request_ids, num_steps)
        return self.run((), request_ids, growths, max_steps=num_steps)

    def output(self, request_id: int) -> list[int]:
        return self.executor.generation(request_id).output


@pytest.mark.parametrize("chunk_size", [1, 7, 16, 100])
def test_prefill_in_chunks_matches_dense_greedy(dense, weights, chunk_size):
    bench = Bench(weights, seed=chunk_size)
    prompt = tokens(41, seed=1)
    bench.submit(0, prompt, max_tokens=9)
    bench.prefill(0, chunk_size)
    (outcome,) = bench.decode(0, num_steps=20)
    assert outcome == Outcome(request_id=0, num_tokens=9, end="length")
    assert bench.output(0) == dense.dense_greedy(SHAPE, weights, prompt, 9)


@pytest.mark.parametrize("seed", [1, 2])
def test_decodes_of_unlike_contexts_match_dense_greedy_in_any_blocks(dense, weights, seed):
    bench = Bench(weights, seed)
    prompts = [tokens(length, seed=length) for length in (3, 16, 17, 150, 64)]
    for request_id, prompt in enumerate(prompts):
        bench.submit(request_id, prompt, max_tokens=20)
        bench.prefill(request_id, chunk_size=50)
    outcomes = bench.decode(*range(5), num_steps=30)
    assert [outcome.num_tokens for outcome in outcomes] == [20] * 5
    for request_id, prompt in enumerate(prompts):
        assert bench.output(request_id) == dense.dense_greedy(SHAPE, weights, prompt, 20)


@pytest.mark.parametrize("num_requests", [8, 9, 15, 16])
def test_batch_padded_to_a_tile_matches_dense_greedy(dense, weights, num_requests):
    bench = Bench(weights)
    prompts = [tokens(3 + request_id, seed=request_id) for request_id in range(num_requests)]
    for request_id, prompt in enumerate(prompts):
        bench.submit(request_id, prompt, max_tokens=4)
        bench.prefill(request_id, chunk_size=64)
    outcomes = bench.decode(*range(num_requests), num_steps=3)
    assert len(outcomes) == num_requests
    for request_id, prompt in enumerate(prompts):
        assert bench.output(request_id) == dense.dense_greedy(SHAPE, weights, prompt, 4)


def test_decodes_cut_into_groups_match_dense_greedy(dense, weights, monkeypatch):
    monkeypatch.setattr("topoprobe.serving.runner.executor._WORTHWHILE_PADDING_TOKENS", 10)
    bench = Bench(weights)
    prompts = [tokens(length, seed=length) for length in (60, 5, 4, 33)]
    for request_id, prompt in enumerate(prompts):
        bench.submit(request_id, prompt, max_tokens=6)
        bench.prefill(request_id, chunk_size=64)
    bench.decode(*range(4), num_steps=5)
    for request_id, prompt in enumerate(prompts):
        assert bench.output(request_id) == dense.dense_greedy(SHAPE, weights, prompt, 6)


def test_mixed_batch_of_chunk_and_decodes_matches_dense_greedy(dense, weights):
    bench = Bench(weights)
    prompts = [tokens(30, seed=1), tokens(9, seed=2), tokens(45, seed=3)]
    for request_id, prompt in enumerate(prompts):
        bench.submit(request_id, prompt, max_tokens=12)
    bench.prefill(0, chunk_size=64)
    bench.prefill(1, chunk_size=64)
    bench.prefill(2, chunk_size=12, beside=(0, 1))
    assert len(bench.output(0)) == 5
    for request_id, prompt in enumerate(prompts):
        expected = dense.dense_greedy(SHAPE, weights, prompt, len(bench.output(request_id)))
        assert bench.output(request_id) == expected


def test_preempted_request_recomputes_to_the_same_tokens(dense, weights):
    bench = Bench(weights)
    prompt = tokens(20, seed=5)
    bench.submit(0, prompt, max_tokens=14)
    bench.prefill(0, chunk_size=64)
    bench.decode(0, num_steps=6)
    bench.executor.preempt(0)
    bench.executor.cache.keys.fill_(7.0)  # whoever had the blocks meanwhile wrote to them
    bench.prefill(0, chunk_size=8)
    bench.decode(0, num_steps=20)
    assert bench.output(0) == dense.dense_greedy(SHAPE, weights, prompt, 14)


def test_logits_match_dense_within_rounding(dense, weights):
    prompt = tokens(37, seed=9)
    model, cache = Decoder(SHAPE, weights, max_positions=64), PagedCache(SHAPE, num_blocks=3)
    blocks = torch.tensor([2, 0, 1])
    at = torch.arange(37)
    batch = Batch(
        tokens=torch.tensor(prompt),
        positions=at,
        slots=blocks[at // BLOCK_SIZE] * BLOCK_SIZE + at % BLOCK_SIZE,
        chunks=(ChunkSpan(0, 37, 0, blocks),),
        groups=(),
        sampled_rows=at,
    )
    with torch.inference_mode():
        logits = model.forward(batch, cache)
    expected = dense.dense_logits(SHAPE, weights, prompt)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_forced_length_ends_a_request_before_its_limit(weights):
    bench = Bench(weights)
    bench.submit(0, tokens(4, seed=1), max_tokens=50, num_forced=3)
    bench.prefill(0, chunk_size=64)
    assert bench.decode(0, num_steps=20) == (Outcome(request_id=0, num_tokens=3, end="stop"),)


def test_stop_token_ends_a_request(dense, weights):
    prompt = tokens(30, seed=1)
    expected = dense.dense_greedy(SHAPE, weights, prompt, 8)
    stop = expected[5]
    bench = Bench(weights)
    bench.submit(0, prompt, max_tokens=50, stop_token=stop)
    bench.prefill(0, chunk_size=64)
    (outcome,) = bench.decode(0, num_steps=20)
    assert outcome.end == "stop"
    assert bench.output(0) == expected[: expected.index(stop) + 1]


def test_features_follow_the_plan_and_grow_with_decodes(weights):
    bench = Bench(weights)
    bench.submit(0, tokens(20, seed=1), max_tokens=50)
    bench.submit(1, tokens(5, seed=2), max_tokens=50)
    bench.prefill(0, chunk_size=64)
    chunk = Chunk(request_id=1, num_query=5, num_context=0, blocks=bench.take(1), is_last=True)
    plan = Plan(chunks=(chunk,), decodes=(0,), num_decode_context=20, growths=())
    segment = bench.executor.start(RunSegment(worker_id=0, segment_id=99, max_steps=1, plan=plan))
    assert segment.features == StepFeatures(
        num_sequences=2, num_tokens=6, num_prefill_pairs=15, num_context_tokens=20
    )
    segment.step()
    plan = Plan(chunks=(), decodes=(0, 1), num_decode_context=26, growths=())
    segment = bench.executor.start(RunSegment(worker_id=0, segment_id=100, max_steps=5, plan=plan))
    segment.step()
    assert segment.features == StepFeatures(
        num_sequences=2, num_tokens=2, num_prefill_pairs=0, num_context_tokens=28
    )


def test_decode_without_a_promised_block_is_refused(weights):
    bench = Bench(weights)
    bench.submit(0, tokens(16, seed=1), max_tokens=50)
    bench.prefill(0, chunk_size=64)
    with pytest.raises(ProtocolError, match="filled its 1 blocks"):
        bench.run((), (0,), ())


def test_chunk_that_skips_tokens_is_refused(weights):
    bench = Bench(weights)
    bench.submit(0, tokens(16, seed=1), max_tokens=50)
    chunk = Chunk(request_id=0, num_query=8, num_context=8, blocks=(1,), is_last=True)
    with pytest.raises(ProtocolError, match="does not fit"):
        bench.run([chunk])


def test_segment_past_its_last_step_is_refused(weights):
    bench = Bench(weights)
    bench.submit(0, tokens(3, seed=1), max_tokens=50)
    bench.prefill(0, chunk_size=64)
    plan = Plan(chunks=(), decodes=(0,), num_decode_context=3, growths=())
    segment = bench.executor.start(RunSegment(worker_id=0, segment_id=7, max_steps=1, plan=plan))
    segment.step()
    with pytest.raises(ProtocolError, match="has had its 1 steps"):
        segment.step()


def test_request_that_was_not_submitted_is_refused(weights):
    with pytest.raises(ProtocolError, match="not in the runner"):
        Bench(weights).executor.preempt(3)


def test_tied_embeddings_count_once(weights):
    tied = ModelShape(**{**{f: getattr(SHAPE, f) for f in SHAPE.__struct_fields__},
                         "has_tied_embeddings": True})  # fmt: skip
    saved = SHAPE.vocab_size * SHAPE.hidden_size
    assert num_parameters(random_weights(tied, 0)) == num_parameters(weights) - saved


def test_weights_of_a_type_torch_lacks_are_refused():
    odd = ModelShape(**{**{f: getattr(SHAPE, f) for f in SHAPE.__struct_fields__},
                        "dtype": "int3"})  # fmt: skip
    with pytest.raises(ModelError, match="int3"):
        random_weights(odd, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device for torch")
def test_gpu_generates_the_same_tokens_as_dense(dense, weights):
    device = torch.device("cuda")
    model = Decoder(SHAPE, random_weights(SHAPE, 0, device), max_positions=512)
    bench = Bench(weights)
    bench.executor = Executor(model, PagedCache(SHAPE, num_blocks=64, device=device))
    prompt = tokens(41, seed=1)
    bench.submit(0, prompt, max_tokens=9)
    bench.prefill(0, chunk_size=16)
    bench.decode(0, num_steps=20)
    assert bench.output(0) == dense.dense_greedy(SHAPE, weights, prompt, 9)
