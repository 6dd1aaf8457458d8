"""The step-cost law: time of one forward step from what is in the batch, in integer picoseconds.

    t = fixed + per_sequence * S + max(per_token * T, stream) + per_pair * P + per_context * C

with S sequences, T tokens computed, P query-key pairs of prefill attention and C cached tokens
read by decode attention. A step is kernels one after another, and each is a roofline of its own
[williams2009]: the matrix products take the longer of arithmetic (per token) and reading the
weights once (stream); prefill attention is arithmetic, decode attention reads the cache. So the
maximum is taken inside the matrix products and not over the whole step. Coefficients are
non-negative integers, so a segment of decode steps, in which only C grows, has an exact
closed-form sum.
"""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.errors import ModelError
from topoprobe.records.calibration import ModelCost, ModelShape
from topoprobe.units import PS_PER_S

FEATURES = ("fixed", "per_sequence", "per_token", "per_pair", "stream", "per_context")
"""What a calibration calls the coefficients, in the order of `StepLaw`'s fields."""


@dataclass(frozen=True, slots=True)
class StepFeatures:
    """What a step contains.

    Attributes
    ----------
    num_sequences : int
        Requests with at least one token in the step.
    num_tokens : int
        Tokens computed, prefill and decode together.
    num_prefill_pairs : int
        Sum over prefill parts of query-key pairs: ``q * c + q * (q + 1) / 2`` for q new tokens
        after c cached ones (causal).
    num_context_tokens : int
        Cached tokens read by decode parts.
    """

    num_sequences: int
    num_tokens: int
    num_prefill_pairs: int
    num_context_tokens: int


@dataclass(frozen=True, slots=True)
class StepLaw:
    """Coefficients of the law, in picoseconds per unit of each feature."""

    fixed_ps: int
    per_sequence_ps: int
    per_token_ps: int
    per_pair_ps: int
    stream_ps: int
    per_context_ps: int

    def step_ps(self, features: StepFeatures) -> int:
        """Return the duration of one step."""
        return self.segment_ps(features, 1)

    def segment_ps(self, features: StepFeatures, num_steps: int) -> int:
        """Return the duration of `num_steps` steps.

        In each step after the first, every sequence reads one cached token more. Exact: equal to
        the sum of the single steps, in constant time.
        """
        step_ps = (
            self.fixed_ps
            + self.per_sequence_ps * features.num_sequences
            + max(self.per_token_ps * features.num_tokens, self.stream_ps)
            + self.per_pair_ps * features.num_prefill_pairs
            + self.per_context_ps * features.num_context_tokens
        )
        growth_ps = self.per_context_ps * features.num_sequences
        return num_steps * step_ps + growth_ps * (num_steps * (num_steps - 1) // 2)


def prefill_pairs(num_query: int, num_context: int) -> int:
    """Count the causal query-key pairs of a prefill chunk after `num_context` cached tokens."""
    return num_query * num_context + num_query * (num_query + 1) // 2


def derive_law(
    shape: ModelShape,
    *,
    flop_per_s: float,
    bytes_per_s: float,
    fixed_s: float = 0.0,
    per_sequence_s: float = 0.0,
) -> StepLaw:
    """Derive the law from a roofline, where no step was measured.

    Parameters
    ----------
    shape : ModelShape
        The model.
    flop_per_s, bytes_per_s : float
        Attainable ceilings of the worker for this dtype.
    fixed_s, per_sequence_s : float
        Launch overhead of a step, and of each sequence in it.
    """
    ps_per_flop = PS_PER_S / flop_per_s
    ps_per_byte = PS_PER_S / bytes_per_s
    return StepLaw(
        fixed_ps=round(fixed_s * PS_PER_S),
        per_sequence_ps=round(per_sequence_s * PS_PER_S),
        per_token_ps=round(2 * num_matrix_parameters(shape) * ps_per_flop),
        per_pair_ps=round(4 * shape.num_layers * shape.num_heads * shape.head_dim * ps_per_flop),
        stream_ps=round(num_matrix_parameters(shape) * shape.dtype_bytes * ps_per_byte),
        per_context_ps=round(kv_bytes_per_token(shape) * ps_per_byte),
    )


def law_from(cost: ModelCost) -> StepLaw:
    """Read the law from a calibration, whose coefficients are in seconds.

    Raises
    ------
    ModelError
        If its coefficients are not the law's, each once and not negative.
    """
    seconds = {each.feature: each.estimate.value for each in cost.coefficients}
    units = {each.unit for each in cost.coefficients}
    if (
        set(seconds) != set(FEATURES)
        or len(cost.coefficients) != len(FEATURES)
        or units != {"s"}
        or min(seconds.values()) < 0
    ):
        found = ", ".join(f"{each.feature} ({each.unit})" for each in cost.coefficients) or "none"
        raise ModelError(
            f"The step law of {cost.model.name} has the coefficients {found}; expected "
            f"{', '.join(FEATURES)}, each once, in s and not negative: calibrate it again."
        )
    return StepLaw(
        **{f"{feature}_ps": round(value * PS_PER_S) for feature, value in seconds.items()}
    )


def num_matrix_parameters(shape: ModelShape) -> int:
    """Count the weights that every token is multiplied with (the input embedding is a look-up)."""
    kv_size = shape.num_kv_heads * shape.head_dim
    attention = 2 * shape.hidden_size * (shape.num_heads * shape.head_dim + kv_size)
    mlp = 3 * shape.hidden_size * shape.intermediate_size
    return shape.num_layers * (attention + mlp) + shape.vocab_size * shape.hidden_size


def num_parameters(shape: ModelShape) -> int:
    """Count all weights that are kept in memory, norms aside."""
    embedding = 0 if shape.has_tied_embeddings else shape.vocab_size * shape.hidden_size
    return num_matrix_parameters(shape) + embedding


def kv_bytes_per_token(shape: ModelShape) -> int:
    """Size of the keys and values of one token over all layers, in bytes."""
    return 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim * shape.dtype_bytes
