"""The run document: what a simulated or a real run did, and how well it was predicted."""

from __future__ import annotations

from typing import Literal

import msgspec

from topoprobe.records.base import Missing, Record, Tool
from topoprobe.records.calibration import ModelShape


class RequestTimes(Record, frozen=True, kw_only=True):
    """When things happened to one request, in seconds since the run began.

    Time to first token is ``first_token_s - arrived_s``; time per output token is
    ``(finished_s - first_token_s) / (num_output_tokens - 1)``.
    """

    request_id: int
    status: Literal["finished", "rejected", "cancelled", "failed"]
    reason: str | None = None
    num_prompt_tokens: int
    num_output_tokens: int
    arrived_s: float
    first_scheduled_s: float | None = None
    first_token_s: float | None = None
    finished_s: float | None = None
    num_preemptions: int = 0


class StepTimes(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A segment: `num_steps` steps of one composition on one worker.

    `num_tokens` and `num_context_tokens` describe its first step.
    """

    worker_id: int
    segment_id: int
    started_s: float
    ended_s: float
    num_steps: int
    num_sequences: int
    num_tokens: int
    num_context_tokens: int = 0


class TransferTimes(Record, frozen=True, kw_only=True):
    """One movement of KV blocks."""

    transfer_id: int
    source: str
    destination: str
    num_blocks: int
    num_bytes: int
    started_s: float
    ended_s: float


class Distribution(Record, frozen=True, kw_only=True):
    """Summary of a per-request quantity in seconds."""

    mean: float
    p50: float
    p90: float
    p99: float
    max: float


class Summary(Record, frozen=True, kw_only=True):
    """Totals of a run. A quantity that no request had is None.

    Throughputs are over `duration_s`, from the first arrival to the end of the last step;
    `num_prompt_tokens` counts finished requests, `num_output_tokens` every token. `peak_kv_blocks`
    is the most KV blocks that were in use at once.
    """

    duration_s: float
    num_requests: int
    num_finished: int
    num_prompt_tokens: int
    num_output_tokens: int
    num_steps: int
    num_preemptions: int
    request_throughput_per_s: float
    output_throughput_tokens_per_s: float
    total_throughput_tokens_per_s: float
    ttft_s: Distribution | None = None
    tpot_s: Distribution | None = None
    e2e_s: Distribution | None = None
    peak_kv_blocks: int | None = None


class Comparison(Record, frozen=True, kw_only=True):
    """One predicted quantity beside its measurements.

    ``spread_ratio`` is the run-to-run spread, (max - min) / median of the repeats, None with a
    single repeat; ``error_ratio`` is predicted / measured - 1 with the median of the repeats.
    """

    metric: str
    unit: str
    predicted: float
    measured: tuple[float, ...]
    error_ratio: float
    spread_ratio: float | None = None
    is_within: bool


class Workload(Record, frozen=True, kw_only=True):
    """What was asked of the run: enough to repeat it."""

    name: str
    num_requests: int
    rate_per_s: float | None = None
    seed: int | None = None
    trace: str | None = None
    max_concurrency: int | None = None


class PolicyChoice(Record, frozen=True, kw_only=True):
    """One policy per axis, with its settings as text."""

    axis: str
    name: str
    settings: dict[str, str] = msgspec.field(default_factory=dict)


class RunDocument(Record, frozen=True, kw_only=True, tag_field="schema", tag="topoprobe.run"):
    """What a run did: per request, per step, per transfer; a summary; prediction and measurement.

    With `repeats`, `requests` and `steps` are those of the first repeat.
    """

    version: int = 1
    tool: Tool
    kind: Literal["simulated", "real"]
    started_at: str | None = None
    calibration: str | None = None
    model: ModelShape
    devices: tuple[str, ...] = ()
    workload: Workload
    policies: tuple[PolicyChoice, ...] = ()
    num_blocks: int
    block_size: int
    summary: Summary
    repeats: tuple[Summary, ...] = ()
    predicted: Summary | None = None
    comparisons: tuple[Comparison, ...] = ()
    requests: tuple[RequestTimes, ...] = ()
    steps: tuple[StepTimes, ...] = ()
    transfers: tuple[TransferTimes, ...] = ()
    missing: tuple[Missing, ...] = ()
