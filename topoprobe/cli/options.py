"""Options that several commands take, so that they read and mean the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

OutputFile = Annotated[
    str | None, typer.Option("-o", "--output", help="File to write; - is stdout.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No notes on stderr.")]

TraceFile = Annotated[
    str | None,
    typer.Option("--trace", help="Azure CSV, Mooncake JSONL or CSV of lengths; gzip or not."),
]
NumRequests = Annotated[
    int | None, typer.Option("--requests", help="Make up so many requests instead.")
]
Rate = Annotated[
    float | None, typer.Option("--rate", help="Poisson arrivals, requests per second.")
]
MaxConcurrency = Annotated[
    int | None,
    typer.Option("--max-concurrency", help="Most requests open at once: a closed loop."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of arrivals and made-up lengths.")]
Limit = Annotated[int | None, typer.Option("--limit", help="Only the first requests of the trace.")]
PromptTokens = Annotated[
    str, typer.Option("--prompt-tokens", help="Of made-up requests, LOW-HIGH.")
]
OutputTokens = Annotated[
    str, typer.Option("--output-tokens", help="Of made-up requests, LOW-HIGH.")
]
Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        help="axis=name[:key=value,…], as batching=chunked:budget=512,seats=64; axes: batching, "
        "order, victim, eviction; may be repeated.",
    ),
]
