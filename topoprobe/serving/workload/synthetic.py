"""Lengths of made-up requests: uniform over a range, from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from topoprobe.errors import UsageError
from topoprobe.serving.workload.request import MOST_TOKENS, Lengths


@dataclass(frozen=True, slots=True)
class TokenRange:
    """From `low` to `high` tokens, both included.

    Raises
    ------
    UsageError
        If the range is empty or beyond what can be believed.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        if not 1 <= self.low <= self.high <= MOST_TOKENS:
            raise UsageError(
                f"{self.low}-{self.high} is no range of tokens; give LOW-HIGH between 1 and "
                f"{MOST_TOKENS}."
            )

    @classmethod
    def parse(cls, text: str) -> TokenRange:
        """Read ``LOW-HIGH``, or one number for both."""
        low, has_high, high = text.partition("-")
        try:
            return cls(int(low), int(high if has_high else low))
        except ValueError as error:
            raise UsageError(f"{text!r} is no range of tokens; write LOW-HIGH.") from error

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        return f"{self.low}-{self.high}"


DEFAULT_PROMPT_TOKENS = TokenRange(32, 512)
DEFAULT_OUTPUT_TOKENS = TokenRange(16, 256)


def uniform_lengths(
    num_requests: int,
    seed: int,
    prompt: TokenRange = DEFAULT_PROMPT_TOKENS,
    output: TokenRange = DEFAULT_OUTPUT_TOKENS,
) -> tuple[Lengths, ...]:
    """Draw independent prompt and output lengths."""
    source = random.Random(seed)
    return tuple(
        Lengths(source.randint(prompt.low, prompt.high), source.randint(output.low, output.high))
        for _ in range(num_requests)
    )
