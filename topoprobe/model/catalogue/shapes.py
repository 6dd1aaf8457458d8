"""Shapes of models, as their published configurations state them."""

from __future__ import annotations

from topoprobe.records.calibration import ModelShape

LLAMA_2_7B = ModelShape(
    name="llama-2-7b",
    num_layers=32,
    hidden_size=4096,
    intermediate_size=11008,
    num_heads=32,
    num_kv_heads=32,
    head_dim=128,
    vocab_size=32000,
    dtype="fp16",
    dtype_bytes=2,
    max_context_tokens=4096,
)

LLAMA_3_8B = ModelShape(
    name="llama-3-8b",
    num_layers=32,
    hidden_size=4096,
    intermediate_size=14336,
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    vocab_size=128256,
    dtype="bf16",
    dtype_bytes=2,
    rope_theta=500000.0,
    max_context_tokens=8192,
)

TINY_LLAMA = ModelShape(
    name="tiny-llama",
    num_layers=4,
    hidden_size=512,
    intermediate_size=1376,
    num_heads=8,
    num_kv_heads=4,
    head_dim=64,
    vocab_size=4096,
    dtype="fp32",
    dtype_bytes=4,
)
"""Small enough to run for real on CPU cores, with every part that the large ones have."""

MODEL_SHAPES = (LLAMA_2_7B, LLAMA_3_8B, TINY_LLAMA)


DTYPE_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
"""Data types that weights and KV cache may have."""


def find_shape(name: str) -> ModelShape | None:
    """Return the shape of that name, None if there is none."""
    return next((shape for shape in MODEL_SHAPES if shape.name == name), None)
