"""The parameters of a Llama-family decoder, fused the way the forward pass multiplies them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from topoprobe.errors import ModelError
from topoprobe.records.calibration import ModelShape

_DTYPES = {
    "fp32": torch.float32,
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp16": torch.float16,
    "float16": torch.float16,
}


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One decoder layer.

    With h the hidden size, a = num_heads * head_dim, k = num_kv_heads * head_dim and m the
    intermediate size; every matrix is (outputs, inputs).

    Attributes
    ----------
    attention_norm, mlp_norm : Tensor, shape (h,)
        Gains of the two normalisations.
    query_key_value : Tensor, shape (a + 2 k, h)
        The three projections, in this order.
    output : Tensor, shape (h, a)
        Projection of the attention's result.
    gate_up : Tensor, shape (2 m, h)
        Gate and up projection of the MLP, in this order.
    down : Tensor, shape (h, m)
        Down projection of the MLP.
    """

    attention_norm: torch.Tensor
    query_key_value: torch.Tensor
    output: torch.Tensor
    mlp_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """All parameters; `head` is `embedding` itself where the embeddings are tied.

    Attributes
    ----------
    embedding, head : Tensor, shape (vocab_size, h)
        Input embedding and output projection.
    layers : tuple of LayerWeights
        From input to output.
    final_norm : Tensor, shape (h,)
        Gain of the last normalisation.
    """

    embedding: torch.Tensor
    layers: tuple[LayerWeights, ...]
    final_norm: torch.Tensor
    head: torch.Tensor


def torch_dtype(shape: ModelShape) -> torch.dtype:
    """Return the torch type of a model's weights.

    Raises
    ------
    ModelError
        If torch has no such type, or it is not one that the runner computes in.
    """
    if shape.dtype not in _DTYPES:
        raise ModelError(
            f"Model {shape.name} has weights of type {shape.dtype}; the runner computes in "
            "fp32, bf16 or fp16."
        )
    return _DTYPES[shape.dtype]


def random_weights(
    shape: ModelShape,
    seed: int,
    device: torch.device | str = "cpu",
    *,
    on_layer: Callable[[int], None] = lambda index: None,
) -> Weights:
    """Draw normal weights, scaled so that activations keep their size from layer to layer.

    The same shape and seed give the same weights on every device.

    Parameters
    ----------
    shape : ModelShape
        The model.
    seed : int
        Of the draw.
    device : torch device
        Where they are kept; they are drawn on the CPU.
    on_layer : callable
        Told the index of each layer before it is drawn; large models take minutes.
    """
    generator = torch.Generator().manual_seed(seed)
    dtype = torch_dtype(shape)

    def matrix(num_outputs: int, num_inputs: int) -> torch.Tensor:
        drawn = torch.randn(num_outputs, num_inputs, generator=generator)
        return drawn.mul_(num_inputs**-0.5).to(device=device, dtype=dtype)

    def gain() -> torch.Tensor:
        return torch.ones(shape.hidden_size, device=device, dtype=dtype)

    query_size = shape.num_heads * shape.head_dim
    kv_size = shape.num_kv_heads * shape.head_dim
    embedding = matrix(shape.vocab_size, shape.hidden_size)

    def layer(index: int) -> LayerWeights:
        on_layer(index)
        return LayerWeights(
            attention_norm=gain(),
            query_key_value=matrix(query_size + 2 * kv_size, shape.hidden_size),
            output=matrix(shape.hidden_size, query_size),
            mlp_norm=gain(),
            gate_up=matrix(2 * shape.intermediate_size, shape.hidden_size),
            down=matrix(shape.hidden_size, shape.intermediate_size),
        )

    layers = tuple(layer(index) for index in range(shape.num_layers))
    head = embedding if shape.has_tied_embeddings else matrix(shape.vocab_size, shape.hidden_size)
    return Weights(embedding=embedding, layers=layers, final_norm=gain(), head=head)


def num_parameters(weights: Weights) -> int:
    """Count the parameters; a tied embedding counts once."""
    return sum({id(tensor): tensor.numel() for tensor in _tensors(weights)}.values())


def _tensors(weights: Weights) -> Iterator[torch.Tensor]:
    yield from (weights.embedding, weights.final_norm, weights.head)
    for layer in weights.layers:
        yield from (layer.attention_norm, layer.query_key_value, layer.output)
        yield from (layer.mlp_norm, layer.gate_up, layer.down)
