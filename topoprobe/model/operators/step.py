"""A forward step as the operators that it is made of, one after another.

Counted are the matrix products and the attention, which tables of operators have. Norms,
activations, positions and sampling are not in them, and so not in the sum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from topoprobe.model.cost import StepFeatures, prefill_pairs
from topoprobe.model.operators.law import OperatorLaw, Prediction
from topoprobe.records.calibration import ModelShape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class StepOperators:
    """Laws of the operators of a step, on one device."""

    gemm: OperatorLaw
    prefill_attention: OperatorLaw
    decode_attention: OperatorLaw


@dataclass(frozen=True, slots=True)
class Composition:
    """What is in a step: prompts that are computed whole, and sequences that decode.

    `context` is that of each decoding sequence before the step.
    """

    num_prompts: int = 0
    prompt_tokens: int = 0
    num_decoding: int = 0
    context: int = 0

    def features(self) -> StepFeatures:
        """Count what the step law counts."""
        return StepFeatures(
            num_sequences=self.num_prompts + self.num_decoding,
            num_tokens=self.num_prompts * self.prompt_tokens + self.num_decoding,
            num_prefill_pairs=self.num_prompts * prefill_pairs(self.prompt_tokens, 0),
            num_context_tokens=self.num_decoding * self.context,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Operators of one kind in a step: `times` each of those that were predicted."""

    name: str
    times: int
    prediction: Prediction

    @property
    def seconds(self) -> float:
        """Time that they take together."""
        return self.times * float(self.prediction.seconds.sum())

    @property
    def is_extrapolated(self) -> bool:
        """Whether one of them lies beyond what its law was fitted on."""
        return bool(self.prediction.is_extrapolated.any())


def uncached(operators: StepOperators) -> StepOperators:
    """Return the laws without cached operands: between two calls a step touches other layers'."""
    return StepOperators(
        gemm=_without_cache(operators.gemm),
        prefill_attention=operators.prefill_attention,
        decode_attention=_without_cache(operators.decode_attention),
    )


def parts(shape: ModelShape, operators: StepOperators, step: Composition) -> tuple[Part, ...]:
    """Price the operators of a step.

    Only the last token of a sequence is multiplied with the vocabulary.
    """
    features, widths = step.features(), matrices(shape)
    heads: Mapping[str, ArrayLike] = {
        "num_heads": shape.num_heads,
        "num_kv_heads": shape.num_kv_heads,
        "head_dim": shape.head_dim,
        "window": 0,
    }
    layer: Mapping[str, ArrayLike] = {
        "m": features.num_tokens,
        "k": [rows for rows, _ in widths],
        "n": [columns for _, columns in widths],
    }
    vocabulary = {"m": features.num_sequences, "k": shape.hidden_size, "n": shape.vocab_size}
    found = [
        Part("layer products", shape.num_layers, operators.gemm.predict(layer)),
        Part("vocabulary product", 1, operators.gemm.predict(vocabulary)),
    ]
    if step.num_prompts:
        prompts = {"num_sequences": step.num_prompts, "num_tokens": step.prompt_tokens}
        prediction = operators.prefill_attention.predict({**heads, **prompts})
        found.append(Part("prefill attention", shape.num_layers, prediction))
    if step.num_decoding:
        decoding = {"num_sequences": step.num_decoding, "context": step.context + 1}
        prediction = operators.decode_attention.predict({**heads, **decoding})
        found.append(Part("decode attention", shape.num_layers, prediction))
    return tuple(found)


def step_seconds(shape: ModelShape, operators: StepOperators, step: Composition) -> float:
    """Sum the operators of a step."""
    return sum(part.seconds for part in parts(shape, operators, step))


def matrices(shape: ModelShape) -> tuple[tuple[int, int], ...]:
    """Return rows and columns of a layer's products: inputs of attention, its output, the MLP."""
    attention = shape.num_heads * shape.head_dim
    keys_and_values = 2 * shape.num_kv_heads * shape.head_dim
    return (
        (shape.hidden_size, attention + keys_and_values),
        (attention, shape.hidden_size),
        (shape.hidden_size, 2 * shape.intermediate_size),
        (shape.intermediate_size, shape.hidden_size),
    )


def _without_cache(law: OperatorLaw) -> OperatorLaw:
    return replace(law, roofline=replace(law.roofline, cache_share=0.0))
