"""`topoprobe run`: serve a load for real on a small model, with the prediction beside it."""

from __future__ import annotations

import datetime
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from topoprobe import __version__
from topoprobe.cli.advice import rejection
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
from topoprobe.cli.output import deliver, read_input, refuse_existing
from topoprobe.cli.stopping import stop_on_interrupt
from topoprobe.cli.terminal import note, progress_bar
from topoprobe.cli.workload import choose_load
from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.records.base import Tool
from topoprobe.records.documents import decode_as, encode
from topoprobe.serving.policies.registry import parse_choice
from topoprobe.serving.workload.synthetic import DEFAULT_OUTPUT_TOKENS, DEFAULT_PROMPT_TOKENS

if TYPE_CHECKING:
    from topoprobe.model.deployment import Deployment
    from topoprobe.records.calibration import CalibrationDocument, ModelShape
    from topoprobe.records.run import RunDocument
    from topoprobe.serving.runner.run import RunSettings
    from topoprobe.serving.workload.load import Load

_EPILOG = (
    "Examples:\n\n  topoprobe run --calibration calibration.json --requests 12 "
    "--max-concurrency 6 --repeats 3\n\n"
    "  topoprobe run --trace azure_conv.csv.gz --limit 20 -o run.json"
)
_INTERRUPTED = 130
_DEFAULT_MODEL = "tiny-llama"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", epilog=_EPILOG)(run)


def run(
    calibration: Annotated[
        str | None,
        typer.Option("--calibration", help="Predict the run from this document, and compare."),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help="Model of the catalogue; weights are random.")
    ] = _DEFAULT_MODEL,
    trace: TraceFile = None,
    requests: NumRequests = None,
    rate: Rate = None,
    max_concurrency: MaxConcurrency = None,
    seed: Seed = 0,
    limit: Limit = None,
    prompt_tokens: PromptTokens = str(DEFAULT_PROMPT_TOKENS),
    output_tokens: OutputTokens = str(DEFAULT_OUTPUT_TOKENS),
    repeats: Annotated[
        int, typer.Option("--repeats", help="Run the load so often; the spread is printed.")
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", help="To compute on; else as calibrated, or one per CPU but one."
        ),
    ] = None,
    policy: Policies = None,
    num_blocks: Annotated[
        int | None, typer.Option("--num-blocks", help="KV blocks of 16 tokens.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run document.")] = False,
    output: OutputFile = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Serve a load for real on this machine's CPU, and set the prediction beside it."""
    target = "-" if as_json and output is None else output
    if target is not None:
        refuse_existing(target, force)
    _refuse_none("--repeats", repeats)
    _refuse_none("--threads", threads)
    _refuse_none("--num-blocks", num_blocks)
    choices = tuple(parse_choice(text) for text in policy or ())
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
    shape = _shape(model)
    deployment, measured_threads = _belief(calibration, shape)
    _require_torch()

    from topoprobe.measure.devices.cpu.device import available_cpus
    from topoprobe.serving.runner.run import RunSettings, num_blocks_for
    from topoprobe.serving.runner.worker import default_num_threads

    num_cpus = len(available_cpus())
    if threads is None:
        threads = min(measured_threads or default_num_threads(num_cpus), num_cpus)
    elif threads > num_cpus:
        raise UsageError(
            f"--threads {threads} is more than the CPUs this process may run on; give 1 to "
            f"{num_cpus}."
        )
    settings = RunSettings(
        num_threads=threads,
        num_blocks=num_blocks_for(load) if num_blocks is None else num_blocks,
        num_repeats=repeats,
        choices=choices,
    )
    if measured_threads not in (None, settings.num_threads):
        note(
            f"the calibration was measured on {measured_threads} threads and this run uses "
            f"{settings.num_threads}: expect the prediction to be off",
            quiet=quiet,
        )
    document, was_stopped = _serve(shape, load, settings, deployment, calibration, quiet=quiet)
    if deliver(encode(document), output, as_json=as_json):
        from topoprobe.cli.summary import run_lines

        why_not = rejection(document)
        lines = [] if why_not is None else [why_not]
        sys.stdout.write("\n".join(lines + run_lines(document)) + "\n")
    if was_stopped:
        note(f"stopped before the end: {_what_is_kept(target)}")
        raise typer.Exit(_INTERRUPTED)
    if not document.summary.num_finished:
        raise MeasurementFailed(rejection(document) or "No request finished.")
    note(_next_step(target, calibration), quiet=quiet)


def _serve(
    shape: ModelShape,
    load: Load,
    settings: RunSettings,
    deployment: Deployment | None,
    calibration: str | None,
    *,
    quiet: bool,
) -> tuple[RunDocument, bool]:
    """Run the load; tell whether the person stopped it."""
    from topoprobe.serving.runner.run import real_run

    with stop_on_interrupt() as should_stop:
        with progress_bar("serving", quiet=quiet) as progress:
            document = real_run(
                shape,
                load,
                settings,
                tool=Tool(tool_version=__version__),
                deployment=deployment,
                calibration=calibration,
                started_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                progress=progress,
                should_stop=should_stop,
            )
        return document, should_stop()


def _shape(model: str) -> ModelShape:
    from topoprobe.model.catalogue.shapes import MODEL_SHAPES, find_shape

    shape = find_shape(model)
    if shape is None:
        known = ", ".join(each.name for each in MODEL_SHAPES)
        raise UsageError(f"There is no model {model!r}; expected one of {known}.")
    return shape


def _belief(calibration: str | None, shape: ModelShape) -> tuple[Deployment | None, int | None]:
    """Return what the steps are believed to cost, and on how many threads that was measured."""
    if calibration is None:
        return None, None
    from topoprobe.model.deployment import deploy_calibrated
    from topoprobe.records.calibration import CalibrationDocument

    document = decode_as(read_input(calibration), CalibrationDocument, calibration)
    return deploy_calibrated(document, shape.name), _measured_threads(document, shape)


def _measured_threads(calibration: CalibrationDocument, shape: ModelShape) -> int | None:
    return next(
        (cost.num_threads for cost in calibration.models if cost.model.name == shape.name), None
    )


def _require_torch() -> None:
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise EnvironmentMissing(
            "torch is not installed, and a real run computes with it; pip install "
            "'topoprobe[torch]', or use `topoprobe simulate`."
        )


def _refuse_none(option: str, count: int | None) -> None:
    """Check a number before anything heavy is loaded."""
    if count is not None and count < 1:
        raise UsageError(f"{option} is {count}; give at least 1.")


def _what_is_kept(target: str | None) -> str:
    if target is None:
        return "nothing was written"
    if target == "-":
        return "the document is marked as partial"
    return f"wrote {target}, marked as partial"


def _next_step(target: str | None, calibration: str | None) -> str:
    if target not in (None, "-"):
        return f"wrote {target}; next: topoprobe report {target} -o report.html"
    if calibration is None:
        return "next: add --calibration calibration.json to see how well this was predictable"
    return "nothing was written; next: add -o run.json, then topoprobe report run.json"
