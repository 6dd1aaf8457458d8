"""`topoprobe simulate`: a load on a calibrated or nominal machine, on a virtual clock."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from topoprobe import __version__
from topoprobe.cli.output import read_input, refuse_existing, write_output
from topoprobe.cli.terminal import note, progress_bar
from topoprobe.cli.workload import choose_load
from topoprobe.errors import UsageError
from topoprobe.model.catalogue.devices import NOMINAL_DEVICES, find_nominal_device
from topoprobe.model.deployment import (
    Deployment,
    deploy_calibrated,
    deploy_nominal,
    num_kv_blocks,
)
from topoprobe.records.base import Source, Tool
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.documents import decode_as, encode
from topoprobe.records.run import Distribution, RequestTimes, RunDocument
from topoprobe.serving.policies.registry import parse_choice
from topoprobe.serving.simulator.run import DEFAULT_BLOCK_SIZE, simulate
from topoprobe.serving.summary import ttft_s
from topoprobe.serving.workload.synthetic import DEFAULT_OUTPUT_TOKENS, DEFAULT_PROMPT_TOKENS
from topoprobe.units import format_seconds, parse_size

_EPILOG = (
    "Examples:\n\n  topoprobe simulate calibration.json --requests 100 --rate 2\n\n"
    "  topoprobe simulate a100-80gb-sxm --model llama-2-7b --trace azure_conv.csv.gz --limit 1000"
)
_QUEUEING_RATIO = 0.5
"""Share of the time to first token spent waiting, above which a load counts as too high."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate", epilog=_EPILOG)(run)


def run(
    calibration: Annotated[
        str,
        typer.Argument(
            help="A calibration document, or a nominal device: "
            f"{', '.join(device.name for device in NOMINAL_DEVICES)}."
        ),
    ],
    trace: Annotated[
        str | None,
        typer.Option("--trace", help="Azure CSV, Mooncake JSONL or CSV of lengths; gzip or not."),
    ] = None,
    requests: Annotated[
        int | None, typer.Option("--requests", help="Make up so many requests instead.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Poisson arrivals, requests per second.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of arrivals and made-up lengths.")] = 0,
    model: Annotated[str | None, typer.Option("--model", help="Model name, or name:dtype.")] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", help="axis=name[:key=value,…]; may be repeated."),
    ] = None,
    max_concurrency: Annotated[
        int | None, typer.Option("--max-concurrency", help="Most requests open at once.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Only the first requests of the trace.")
    ] = None,
    prompt_tokens: Annotated[
        str, typer.Option("--prompt-tokens", help="Of made-up requests, LOW-HIGH.")
    ] = str(DEFAULT_PROMPT_TOKENS),
    output_tokens: Annotated[
        str, typer.Option("--output-tokens", help="Of made-up requests, LOW-HIGH.")
    ] = str(DEFAULT_OUTPUT_TOKENS),
    num_blocks: Annotated[
        int | None, typer.Option("--num-blocks", help="KV blocks; else what fits in memory.")
    ] = None,
    block_size: Annotated[
        int, typer.Option("--block-size", help="Tokens in a KV block.")
    ] = DEFAULT_BLOCK_SIZE,
    memory: Annotated[
        str | None, typer.Option("--memory", help="Memory for weights and KV cache, as 20GiB.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run document.")] = False,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="File to write; - is stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes on stderr.")] = False,
) -> None:
    """Run a load virtually: throughput, latencies and KV use that the machine would give."""
    target = "-" if as_json and output is None else output
    if target is not None:
        refuse_existing(target, force)
    choices = [parse_choice(text) for text in policy or ()]
    load = choose_load(
        trace=trace,
        num_requests=requests,
        rate_per_s=rate,
        seed=seed,
        limit=limit,
        max_concurrency=max_concurrency,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
    )
    deployment = _deploy(calibration, model)
    with progress_bar("simulating", quiet=quiet) as progress:
        document = simulate(
            deployment,
            load,
            num_blocks=_num_blocks(deployment, num_blocks, block_size, memory),
            tool=Tool(tool_version=__version__),
            block_size=block_size,
            choices=choices,
            calibration=calibration,
            progress=lambda done_ratio: progress(done_ratio, ""),
        )
    if target is not None:
        write_output(target, encode(document))
    if target != "-":
        sys.stdout.write("\n".join(summary_lines(document, deployment)) + "\n")
    if target not in (None, "-"):
        note(f"wrote {target}; next: topoprobe report {target} -o report.html", quiet=quiet)
    elif target is None:
        note("nothing was written; next: add -o run.json, then topoprobe report run.json",
             quiet=quiet)  # fmt: skip


def summary_lines(document: RunDocument, deployment: Deployment) -> list[str]:
    """Say on one screen what came of a simulated run, and what to do about it."""
    summary = document.summary
    where = ", ".join(deployment.devices)
    peak_kv_blocks = summary.peak_kv_blocks or 0
    lines = [
        f"{_advice(document)}",
        "",
        f"model       {document.model.name} ({document.model.dtype}) on {where}",
        f"step law    {deployment.source.value}: {deployment.evidence}",
        f"load        {document.workload.name}; {summary.num_finished} of {summary.num_requests} "
        f"requests finished in {format_seconds(summary.duration_s)}",
        f"throughput  {summary.output_throughput_tokens_per_s:.0f} output tokens/s, "
        f"{summary.total_throughput_tokens_per_s:.0f} with prompts, "
        f"{summary.request_throughput_per_s:.2f} requests/s",
        f"TTFT        {_percentiles(summary.ttft_s)}",
        f"TPOT        {_percentiles(summary.tpot_s)}",
        f"KV cache    at most {peak_kv_blocks} of {document.num_blocks} blocks of "
        f"{document.block_size} tokens ({peak_kv_blocks / document.num_blocks:.0%}), "
        f"{summary.num_preemptions} preemptions",
    ]
    if deployment.source is Source.NOMINAL:
        lines.append("Nominal figures are an upper bound: calibrate the machine to know better.")
    return lines


def _advice(document: RunDocument) -> str:
    """Return the most useful sentence about a run."""
    summary = document.summary
    rejected = [each for each in document.requests if each.status == "rejected"]
    if rejected:
        return (
            f"{len(rejected)} of {summary.num_requests} requests can never run here; request "
            f"{rejected[0].request_id}: {rejected[0].reason}."
        )
    if summary.num_preemptions:
        return (
            f"KV blocks ran out {summary.num_preemptions} times and work was done again: give "
            "more memory, lower the rate, or admit fewer requests (--policy batching=chunked:"
            "seats=N)."
        )
    waiting = _waiting_ratio(document.requests)
    if waiting > _QUEUEING_RATIO and _is_backlogged(document):
        return (
            f"Requests wait for {waiting:.0%} of their time to first token, and the queue "
            "outlasts the arrivals: this load is more than the worker sustains; lower the rate or add a worker."
        )
    if waiting > _QUEUEING_RATIO:
        return (
            f"The worker keeps up, but requests wait for {waiting:.0%} of their time to first "
            "token: a larger budget (--policy batching=chunked:budget=N) lowers it at the price "
            "of slower output tokens."
        )
    return "The worker sustains this load: raise --rate to find out where it ends."


def _waiting_ratio(requests: tuple[RequestTimes, ...]) -> float:
    """Return the share of all times to first token that passed before the first step."""
    waited = sum(
        each.first_scheduled_s - each.arrived_s
        for each in requests
        if each.first_scheduled_s is not None and each.first_token_s is not None
    )
    total = sum(ttft for each in requests if (ttft := ttft_s(each)) is not None)
    return waited / total if total > 0 else 0.0


def _is_backlogged(document: RunDocument) -> bool:
    """Tell whether work was left, after the last arrival, that cannot have come with it."""
    last_arrival_s = max(each.arrived_s for each in document.requests)
    longest_service_s = max(
        each.finished_s - each.first_scheduled_s
        for each in document.requests
        if each.finished_s is not None and each.first_scheduled_s is not None
    )
    return document.steps[-1].ended_s - last_arrival_s > longest_service_s


def _percentiles(times: Distribution | None) -> str:
    if times is None:
        return "no request had one"
    return (
        f"{format_seconds(times.p50)} p50, {format_seconds(times.p99)} p99, "
        f"{format_seconds(times.mean)} mean"
    )


def _deploy(calibration: str, model: str | None) -> Deployment:
    device = find_nominal_device(calibration)
    if device is None:
        document = decode_as(read_input(calibration), CalibrationDocument, calibration)
        return deploy_calibrated(document, model)
    if model is None:
        raise UsageError(f"{calibration} is a nominal device; name a model with --model.")
    return deploy_nominal(device, model)


def _num_blocks(
    deployment: Deployment, num_blocks: int | None, block_size: int, memory: str | None
) -> int:
    if block_size < 1:
        raise UsageError(f"--block-size {block_size} holds nothing; give at least 1.")
    if num_blocks is None:
        return num_kv_blocks(deployment, block_size, None if memory is None else parse_size(memory))
    if memory is not None:
        raise UsageError("--num-blocks and --memory both set the KV cache; give one of them.")
    if num_blocks < 1:
        raise UsageError(f"--num-blocks {num_blocks} holds nothing; give at least 1.")
    return num_blocks
