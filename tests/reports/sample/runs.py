"""A run on the virtual machine."""

from __future__ import annotations

import math
import random

from topoprobe.records.run import (
    Comparison,
    Distribution,
    PolicyChoice,
    RequestTimes,
    RunDocument,
    StepTimes,
    Summary,
    Workload,
)

from .estimates import MODEL, TOOL


def vm_run(num_requests: int = 24) -> RunDocument:
    """Return a real run with its prediction."""
    noise = random.Random(7)
    requests, steps = [], []
    for index in range(num_requests):
        arrived = index * 0.11
        scheduled = arrived + noise.random() * 0.05
        first = scheduled + 0.06 + noise.random() * 0.05
        tokens = 12 + noise.randrange(40)
        requests.append(
            RequestTimes(
                request_id=index,
                status="finished",
                num_prompt_tokens=64 + index,
                num_output_tokens=tokens,
                arrived_s=arrived,
                first_scheduled_s=scheduled,
                first_token_s=first,
                finished_s=first + tokens * (0.017 + noise.random() * 0.004),
            )
        )
    at = 0.02
    for segment in range(160):
        size = 1 + int(6 + 5 * math.sin(segment / 20)) % 12
        has_prefill = segment % 7 == 0
        took = 0.02 + 0.012 * has_prefill
        steps.append(
            StepTimes(
                worker_id=0,
                segment_id=segment,
                started_s=at,
                ended_s=at + took,
                num_steps=1,
                num_sequences=size,
                num_tokens=size + 96 * has_prefill,
                num_context_tokens=size * 90,
            )
        )
        at += took
    summary = _summary(312.4, 0.142, 0.0188)
    return RunDocument(
        tool=TOOL,
        kind="real",
        started_at="2026-11-20T17:43:20+00:00",
        calibration="calibration.json",
        model=MODEL,
        devices=("host",),
        workload=Workload(name="closed loop", num_requests=num_requests, seed=1, max_concurrency=8),
        policies=(
            PolicyChoice(axis="batching", name="chunked"),
            PolicyChoice(axis="order", name="fcfs"),
        ),
        num_blocks=512,
        block_size=16,
        summary=summary,
        repeats=(summary, _summary(305.1, 0.147, 0.0193), _summary(318.0, 0.139, 0.0185)),
        predicted=_summary(324.9, 0.131, 0.0181),
        comparisons=(
            Comparison(
                metric="output_throughput_tokens_per_s",
                unit="tokens_per_s",
                predicted=324.9,
                measured=(312.4, 305.1, 318.0),
                error_ratio=0.04,
                spread_ratio=0.041,
                is_within=True,
            ),
            Comparison(
                metric="mean_ttft_s",
                unit="s",
                predicted=0.131,
                measured=(0.142, 0.147, 0.139),
                error_ratio=-0.077,
                spread_ratio=0.056,
                is_within=True,
            ),
            Comparison(
                metric="mean_tpot_s",
                unit="s",
                predicted=0.0181,
                measured=(0.0188, 0.0193, 0.0185),
                error_ratio=-0.037,
                spread_ratio=0.043,
                is_within=True,
            ),
        ),
        requests=tuple(requests),
        steps=tuple(steps),
    )


def _summary(throughput: float, ttft_s: float, tpot_s: float) -> Summary:
    def around(mean: float) -> Distribution:
        return Distribution(
            mean=mean, p50=mean * 0.96, p90=mean * 1.3, p99=mean * 1.6, max=mean * 1.7
        )

    return Summary(
        duration_s=3.6,
        num_requests=24,
        num_finished=24,
        num_prompt_tokens=1812,
        num_output_tokens=780,
        num_steps=160,
        num_preemptions=0,
        request_throughput_per_s=6.7,
        output_throughput_tokens_per_s=throughput,
        total_throughput_tokens_per_s=throughput * 3.1,
        ttft_s=around(ttft_s),
        tpot_s=around(tpot_s),
        e2e_s=around(ttft_s + 30 * tpot_s),
    )
