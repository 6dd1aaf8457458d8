"""How far the scheduler has come with one request."""

from __future__ import annotations

from topoprobe.serving.events import RequestSpec


class Progress:
    """One request that is not closed yet.

    A request waits, is prefilled in chunks, then decodes. While it decodes its progress is that of
    its worker's step counter, so nothing here is touched from step to step: the tokens it has
    cached are the counter minus `anchor`.

    Attributes
    ----------
    spec : RequestSpec
        What was asked for.
    num_to_prefill : int
        Tokens to cache before it can decode: the prompt, and after a preemption also the output
        that it had by then.
    num_cached : int
        Tokens prefilled so far; not kept up to date while it decodes.
    anchor : int or None
        Step counter at which it would have had nothing cached; None unless it decodes.
    blocks : list of int
        Its block table.
    prefill_blocks : tuple of int
        Its block table as it was when it was admitted, which all its chunks name.
    """

    __slots__ = ("anchor", "blocks", "num_cached", "num_to_prefill", "prefill_blocks", "spec")

    def __init__(self, spec: RequestSpec) -> None:
        self.spec = spec
        self.num_to_prefill = spec.num_prompt_tokens
        self.num_cached = 0
        self.anchor: int | None = None
        self.blocks: list[int] = []
        self.prefill_blocks: tuple[int, ...] = ()
