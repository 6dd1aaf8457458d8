"""`topoprobe simulate`: a load on a calibrated, built-in or nominal machine, on a virtual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from topoprobe import __version__
from topoprobe.cli.calibrations import read_calibration
from topoprobe.cli.options import (
    Force,
    Limit,
    MaxConcurrency,
    NumRequests,
    OutputFile,
    OutputTokens,
    Policies,
    PromptTokens,
    Quiet,
    Rate,
    Seed,
    TraceFile,
)
from topoprobe.cli.output import deliver, refuse_existing
from topoprobe.cli.terminal import note, progress_bar, write_lines
from topoprobe.errors import MeasurementFailed, UsageError
from topoprobe.machine.synthetic.builtin import MACHINES
from topoprobe.model.catalogue.devices import NOMINAL_DEVICES, find_nominal_device
from topoprobe.records.base import Tool
from topoprobe.records.documents import encode
from topoprobe.units import parse_size

if TYPE_CHECKING:
    from topoprobe.model.deployment import Deployment

_EPILOG = (
    "Examples:\n\n  topoprobe simulate calibration.json --requests 100 --rate 2\n\n"
    "  topoprobe simulate hgx-h100 --model llama-2-7b --trace azure_conv.csv.gz --limit 1000"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate", epilog=_EPILOG)(run)


def run(
    calibration: Annotated[
        str,
        typer.Argument(
            help=f"A calibration document; a built-in machine: {', '.join(MACHINES)}; or a "
            f"nominal device: {', '.join(device.name for device in NOMINAL_DEVICES)}."
        ),
    ],
    trace: TraceFile = None,
    requests: NumRequests = None,
    rate: Rate = None,
    seed: Seed = 0,
    model: Annotated[str | None, typer.Option("--model", help="Model name, or name:dtype.")] = None,
    policy: Policies = None,
    max_concurrency: MaxConcurrency = None,
    limit: Limit = None,
    prompt_tokens: PromptTokens = "32-512",
    output_tokens: OutputTokens = "16-256",
    num_blocks: Annotated[
        int | None, typer.Option("--num-blocks", help="KV blocks; else what fits in memory.")
    ] = None,
    block_size: Annotated[int, typer.Option("--block-size", help="Tokens in a KV block.")] = 16,
    memory: Annotated[
        str | None, typer.Option("--memory", help="Memory for weights and KV cache, as 20GiB.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run document.")] = False,
    output: OutputFile = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Run a load virtually: throughput, latencies and KV use that the machine would give."""
    if output is not None:
        refuse_existing(output, force)

    from topoprobe.cli.advice import rejection, summary_lines
    from topoprobe.cli.workload import choose_load
    from topoprobe.serving.policies.registry import parse_choice
    from topoprobe.serving.simulator.run import simulate

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
    if deliver(encode(document), output, as_json=as_json):
        write_lines(summary_lines(document, deployment))
    if output not in (None, "-"):
        note(f"wrote {output}; next: topoprobe report {output} -o report.html", quiet=quiet)
    elif output is None and not as_json and document.summary.num_finished:
        note("nothing was written; next: add -o run.json, then topoprobe report run.json",
             quiet=quiet)  # fmt: skip
    if not document.summary.num_finished:
        raise MeasurementFailed(rejection(document) or "No request finished.")


def _deploy(calibration: str, model: str | None) -> Deployment:
    from topoprobe.model.deployment import deploy_calibrated, deploy_nominal

    device = find_nominal_device(calibration)
    if device is None:
        names = [each.name for each in NOMINAL_DEVICES]
        return deploy_calibrated(read_calibration(calibration, others=names), model)
    if model is None:
        raise UsageError(f"{calibration} is a nominal device; name a model with --model.")
    return deploy_nominal(device, model)


def _num_blocks(
    deployment: Deployment, num_blocks: int | None, block_size: int, memory: str | None
) -> int:
    from topoprobe.model.deployment import num_kv_blocks

    if block_size < 1:
        raise UsageError(f"--block-size {block_size} holds nothing; give at least 1.")
    if num_blocks is None:
        return num_kv_blocks(deployment, block_size, None if memory is None else parse_size(memory))
    if memory is not None:
        raise UsageError("--num-blocks and --memory both set the KV cache; give one of them.")
    if num_blocks < 1:
        raise UsageError(f"--num-blocks {num_blocks} holds nothing; give at least 1.")
    return num_blocks
