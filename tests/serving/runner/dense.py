"""A plain decoder that recomputes everything: what the paged one is compared with."""

from __future__ import annotations

import math

import torch

from topoprobe.records.calibration import ModelShape
from topoprobe.serving.runner.weights import Weights


def dense_logits(shape: ModelShape, weights: Weights, tokens: list[int]) -> torch.Tensor:
    """Return the logits after every token, (tokens, vocab_size), without any cache."""
    length, half = len(tokens), shape.head_dim // 2
    frequencies = torch.tensor([shape.rope_theta ** (-i / half) for i in range(half)])
    angles = torch.arange(length)[:, None] * frequencies
    turn = torch.polar(torch.ones_like(angles), angles)[:, None, :]

    def norm(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return gain * x / torch.sqrt((x * x).mean(-1, keepdim=True) + shape.norm_epsilon)

    def rotate(x: torch.Tensor) -> torch.Tensor:
        turned = torch.complex(x[..., :half], x[..., half:]) * turn
        return torch.cat((turned.real, turned.imag), -1)

    hidden = weights.embedding[torch.tensor(tokens)]
    for layer in weights.layers:
        normed = norm(hidden, layer.attention_norm)
        query_size, kv_size = (
            shape.num_heads * shape.head_dim,
            shape.num_kv_heads * shape.head_dim,
        )
        projected = normed @ layer.query_key_value.T
        query = projected[:, :query_size].view(length, shape.num_heads, -1)
        key = projected[:, query_size : query_size + kv_size].view(length, shape.num_kv_heads, -1)
        value = projected[:, query_size + kv_size :].view(length, shape.num_kv_heads, -1)
        query, key = rotate(query), rotate(key)
        attended = []
        for head in range(shape.num_heads):
            shared = head // (shape.num_heads // shape.num_kv_heads)
            scores = query[:, head] @ key[:, shared].T / math.sqrt(shape.head_dim)
            future = torch.ones(length, length, dtype=torch.bool).triu(1)
            attended.append(scores.masked_fill(future, -math.inf).softmax(-1) @ value[:, shared])
        hidden = hidden + torch.cat(attended, -1) @ layer.output.T
        normed = norm(hidden, layer.mlp_norm)
        gate, up = (normed @ layer.gate_up.T).chunk(2, -1)
        hidden = hidden + (gate * torch.sigmoid(gate) * up) @ layer.down.T
    return norm(hidden, weights.final_norm) @ weights.head.T


def dense_greedy(
    shape: ModelShape, weights: Weights, prompt: list[int], num_tokens: int
) -> list[int]:
    """Generate greedily, recomputing the whole sequence for each token."""
    tokens = list(prompt)
    for _ in range(num_tokens):
        tokens.append(int(dense_logits(shape, weights, tokens)[-1].argmax()))
    return tokens[len(prompt) :]
