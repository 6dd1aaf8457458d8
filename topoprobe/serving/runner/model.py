"""A Llama-family decoder over a paged KV cache: one forward pass of a mixed batch.

What works on single tokens (projections, MLP, normalisation) runs once over all tokens of the
batch. Attention runs by kind: each prefill chunk by itself under a causal mask, all decodes
together in a few groups of similar context.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from topoprobe.records.calibration import ModelShape
from topoprobe.serving.runner.paged_cache import PagedCache
from topoprobe.serving.runner.weights import LayerWeights, Weights


@dataclass(frozen=True, slots=True)
class ChunkSpan:
    """A prefill chunk in the batch.

    Attributes
    ----------
    start, stop : int
        Its rows in the batch.
    num_context : int
        Tokens of the request that are cached before it.
    block_ids : Tensor, shape (blocks,), int64
        The blocks of its context and of its own tokens.
    """

    start: int
    stop: int
    num_context: int
    block_ids: torch.Tensor


@dataclass(frozen=True, slots=True)
class DecodeGroup:
    """Decodes of similar context, padded to the longest.

    Attributes
    ----------
    start, stop : int
        Their rows in the batch.
    block_ids : Tensor, shape ((stop - start) * blocks,), int64
        Their block tables, padded with any block.
    mask : Tensor, shape (stop - start, 1, 1, blocks * block_size), bool
        True for the tokens that each of them sees.
    """

    start: int
    stop: int
    block_ids: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """The input of one step; chunks come first, then decodes, then rows of padding.

    Attributes
    ----------
    tokens, positions : Tensor, shape (num_rows,), int64
        Token ids, and their places in their requests. Rows beyond `slots` are padding: they are
        computed with the others, write nothing and see nothing.
    slots : Tensor, shape (num_tokens,), int64
        Where the keys and values of each token go.
    chunks, groups : tuple
        How the rows divide into prefill chunks and groups of decodes.
    sampled_rows : Tensor, shape (num_sampled,), int64
        Rows whose next token is wanted; padding repeats row 0.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    chunks: tuple[ChunkSpan, ...]
    groups: tuple[DecodeGroup, ...]
    sampled_rows: torch.Tensor


class Decoder:
    """The model: a shape, its weights, and the rotary table up to `max_positions`.

    References
    ----------
    [touvron2023] (architecture), [su2021] (rotary embedding), [ainslie2023] (grouped queries).
    """

    def __init__(self, shape: ModelShape, weights: Weights, *, max_positions: int) -> None:
        self.shape = shape
        self.weights = weights
        self.device = weights.embedding.device
        self.max_positions = max_positions
        self._cos, self._sin = _rotary_table(shape, max_positions, weights.embedding)

    def forward(self, batch: Batch, cache: PagedCache) -> torch.Tensor:
        """Compute the batch and write its keys and values to the cache.

        Returns
        -------
        Tensor, shape (num_sampled, vocab_size)
            Logits of the rows that are sampled.
        """
        hidden = functional.embedding(batch.tokens, self.weights.embedding)
        rotary = (self._cos[batch.positions], self._sin[batch.positions])
        masks = tuple(_causal_mask(span, self.device) for span in batch.chunks)
        for index, layer in enumerate(self.weights.layers):
            normed = self._norm(hidden, layer.attention_norm)
            attended = self._attention(index, layer, normed, rotary, batch, masks, cache)
            hidden = hidden.add_(functional.linear(attended, layer.output))
            normed = self._norm(hidden, layer.mlp_norm)
            gate, up = functional.linear(normed, layer.gate_up).chunk(2, -1)
            hidden = hidden.add_(functional.linear(functional.silu(gate).mul_(up), layer.down))
        sampled = self._norm(hidden[batch.sampled_rows], self.weights.final_norm)
        return functional.linear(sampled, self.weights.head)

    def _norm(self, hidden: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(hidden, gain.shape, gain, self.shape.norm_epsilon)

    def _attention(
        self,
        index: int,
        layer: LayerWeights,
        normed: torch.Tensor,
        rotary: tuple[torch.Tensor, torch.Tensor],
        batch: Batch,
        masks: tuple[torch.Tensor | None, ...],
        cache: PagedCache,
    ) -> torch.Tensor:
        shape = self.shape
        num_rotated = shape.num_heads + shape.num_kv_heads
        heads = functional.linear(normed, layer.query_key_value).view(
            len(normed), num_rotated + shape.num_kv_heads, shape.head_dim
        )
        rotated = _rotate(heads[:, :num_rotated], *rotary)
        queries = rotated[:, : shape.num_heads]
        num_tokens = len(batch.slots)
        cache.write(
            index,
            batch.slots,
            rotated[:num_tokens, shape.num_heads :],
            heads[:num_tokens, num_rotated:],
        )
        result = torch.zeros_like(queries)
        for span, mask in zip(batch.chunks, masks, strict=True):
            rows = slice(span.start, span.stop)
            result[rows] = self._attend_chunk(index, span, mask, queries[rows], cache)
        for group in batch.groups:
            rows = slice(group.start, group.stop)
            result[rows] = self._attend_group(index, group, queries[rows], cache)
        return result.flatten(1)

    def _attend_chunk(
        self,
        index: int,
        span: ChunkSpan,
        mask: torch.Tensor | None,
        queries: torch.Tensor,
        cache: PagedCache,
    ) -> torch.Tensor:
        num_keys = span.num_context + len(queries)
        keys, values = cache.read(index, span.block_ids, 1)
        attended = functional.scaled_dot_product_attention(
            queries.transpose(0, 1)[None],
            keys[:, :, :num_keys],
            values[:, :, :num_keys],
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=True,
        )
        return attended[0].transpose(0, 1)

    def _attend_group(
        self, index: int, group: DecodeGroup, queries: torch.Tensor, cache: PagedCache
    ) -> torch.Tensor:
        num_rows = group.stop - group.start
        keys, values = cache.read(index, group.block_ids, num_rows)
        # The query heads that share a KV head stand where the sequence of queries would: they see
        # the same keys under the same mask, and no key is repeated in memory.
        shared = queries.reshape(num_rows, self.shape.num_kv_heads, -1, self.shape.head_dim)
        attended = functional.scaled_dot_product_attention(
            shared, keys, values, attn_mask=group.mask
        )
        return attended.reshape(queries.shape)


def _causal_mask(span: ChunkSpan, device: torch.device) -> torch.Tensor | None:
    """Return which keys each query of a chunk sees; None where plain causality says it."""
    if span.num_context == 0:
        return None
    num_query = span.stop - span.start
    seen = torch.ones(num_query, span.num_context + num_query, dtype=torch.bool, device=device)
    return seen.tril_(span.num_context)


def _rotate(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn each pair (i, i + head_dim / 2) of every head by the angle of its position."""
    first, second = heads.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _rotary_table(
    shape: ModelShape, max_positions: int, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tabulate cosine and sine of each position's angles: (max_positions, 1, head_dim / 2)."""
    exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float64) / shape.head_dim
    angles = torch.outer(
        torch.arange(max_positions, dtype=torch.float64), shape.rope_theta**-exponents
    )
    table = angles[:, None, :]
    return table.cos().to(like), table.sin().to(like)
