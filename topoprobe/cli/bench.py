"""`topoprobe bench`: measure this machine."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from topoprobe.cli.options import Force, Quiet
from topoprobe.cli.output import deliver, refuse_existing
from topoprobe.cli.stopping import stop_on_interrupt
from topoprobe.cli.terminal import note, progress_bar, write_lines
from topoprobe.errors import (
    EnvironmentMissing,
    InputError,
    MeasurementFailed,
    TopoprobeError,
    UsageError,
)
from topoprobe.measure.benchmark import Benchmark, GpuChoice
from topoprobe.measure.flows import grammar_lines, parse_flow_set
from topoprobe.measure.window import require_meeting
from topoprobe.records.base import Status
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import ResultsDocument
from topoprobe.units import parse_seconds

if TYPE_CHECKING:
    from topoprobe.cli.planning import BenchPlan

_EPILOG = "\n\n".join(("Flows:", *grammar_lines())) + (
    "\n\nExamples:\n\n"
    "  topoprobe bench --only 'cpu.*' -o results.json\n\n"
    "  topoprobe bench --flows 'host:0 -> core:0 via cpu, work=stream | host:0 -> core:1 via cpu'"
    "\n\n"
    "  topoprobe bench --flow 'host:0 -> gpu:0 via ce, duration=1s' "
    "--flow 'host:0 -> gpu:1 via ce, delay=300ms'\n\n"
    "  topoprobe bench --suite standard --gpu 0,1 --max-time 5min -o results.json"
)
_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench", epilog=_EPILOG)(run)


def run(
    suite: Annotated[
        str,
        typer.Option(
            "--suite",
            help="quick (a minute on CPUs), standard (five) or full (as long as it takes).",
        ),
    ] = "quick",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Run benchmarks whose name matches, as 'cpu.*'; repeatable."),
    ] = None,
    flows: Annotated[
        list[str] | None,
        typer.Option(
            "--flows",
            "--flow",
            help="Run this concurrent set instead, as below; repeated options run together.",
        ),
    ] = None,
    gpu: Annotated[
        list[str] | None,
        typer.Option("--gpu", help="Use these GPUs only, as 0,2 in PCI-address order; repeatable."),
    ] = None,
    allows_busy: Annotated[
        bool, typer.Option("--allow-busy", help="Measure GPUs that other processes use as well.")
    ] = False,
    is_list: Annotated[bool, typer.Option("--list", help="List the benchmarks only.")] = False,
    is_dry: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what would run, sets and all, how long and on what memory."
        ),
    ] = False,
    max_time: Annotated[
        str | None, typer.Option("--max-time", help="Stop after this time, as 60s or 5min.")
    ] = None,
    is_exclusive: Annotated[
        bool,
        typer.Option(
            "--exclusive",
            help="Keep other programs off the CPUs during each sample of up to a second "
            "(needs the right to real-time priority).",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, and nothing else.")
    ] = False,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="Results file (.json) to write.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Measure what this machine gives: alone, and with flows side by side."""
    _check_target(output, force=force)
    limit_s = None if max_time is None else _parse_limit(max_time)
    gpus = GpuChoice(_parse_gpus(gpu), allows_busy)

    from topoprobe.cli.planning import plan_bench, shortage
    from topoprobe.measure.devices.cuda.inventory import check_choice
    from topoprobe.measure.devices.session import budget_here, check_exclusive, run_suite

    budget = budget_here(suite)
    benchmarks = _given(flows, only, gpus) if flows else _selected(only or [])
    machine = _scan()
    check_choice(machine, gpus)
    if is_list:
        _write_list(benchmarks, machine, as_json=as_json)
        return
    if is_dry:
        if is_exclusive:
            check_exclusive()
        _write_plan(plan_bench(benchmarks, machine, budget, gpus, limit_s), as_json=as_json)
        return
    # Only where it is needed: to plan sets of GPUs opens them.
    if limit_s is not None:
        told = shortage(plan_bench(benchmarks, machine, budget, gpus, limit_s))
        note(told or "", quiet=quiet or told is None)
    with stop_on_interrupt() as should_stop:
        with progress_bar("measuring", quiet=quiet) as progress:
            results = run_suite(
                machine,
                benchmarks,
                budget,
                progress,
                should_stop,
                max_time_s=limit_s,
                is_exclusive=is_exclusive,
                gpus=gpus,
            )
        was_asked = should_stop()
    _finish(results, output, as_json=as_json, quiet=quiet)
    if was_asked:
        raise typer.Exit(_INTERRUPTED)
    failure = _failure(results, max_time)
    if failure is not None:
        raise failure


def _check_target(output: str | None, *, force: bool) -> None:
    if output is None or output == "-":
        return
    if not output.endswith(".json"):
        raise UsageError(f"{output} has a suffix that says no format; end it in .json.")
    refuse_existing(output, force)


def _parse_limit(text: str) -> float:
    try:
        return parse_seconds(text)
    except InputError as error:
        raise UsageError(f"--max-time {text!r} is not a duration such as 60s or 5min.") from error


def _parse_gpus(texts: list[str] | None) -> tuple[int, ...] | None:
    if not texts:
        return None
    try:
        found = [int(part) for text in texts for part in text.split(",")]
    except ValueError:
        found = [-1]
    if min(found) < 0:
        raise UsageError(f"--gpu {','.join(texts)} is no list of GPUs; expected numbers as in 0,2.")
    return tuple(dict.fromkeys(found))


def _selected(only: Sequence[str]) -> tuple[Benchmark, ...]:
    from topoprobe.cli.registry import benchmarks
    from topoprobe.measure.suite import select

    return select(benchmarks(), only)


def _given(flows: Sequence[str], only: list[str] | None, gpus: GpuChoice) -> tuple[Benchmark, ...]:
    if only:
        raise UsageError("--flows runs one set and --only chooses benchmarks; give one of them.")
    from topoprobe.cli.registry import given_flows

    flow_set = parse_flow_set(" | ".join(flows))
    require_meeting(flow_set)
    return (given_flows(flow_set, gpus),)


def _scan() -> MachineDocument:
    from topoprobe.machine.sources.scan import scan_live

    now = datetime.datetime.now(datetime.UTC)
    return scan_live(captured_at=now.isoformat(timespec="seconds"))


def _write_list(
    benchmarks: Sequence[Benchmark], machine: MachineDocument, *, as_json: bool
) -> None:
    entries = [
        {
            "name": benchmark.name,
            "summary": benchmark.summary,
            "revision": benchmark.revision,
            "missing": benchmark.missing(machine),
        }
        for benchmark in benchmarks
    ]
    if as_json:
        sys.stdout.write(json.dumps({"benchmarks": entries}, indent=1) + "\n")
        return
    width = max(len(str(entry["name"])) for entry in entries)
    by_gap: dict[object, list[str]] = {None: []}
    for entry in entries:
        line = f"{entry['name']:<{width}}  {entry['summary']}"
        by_gap.setdefault(entry["missing"], []).append(line)
    lines = by_gap.pop(None)
    for gap, members in by_gap.items():
        lines += ["", f"Not here, {gap}:".replace(".:", ":"), *members]
    write_lines(lines)


def _write_plan(plan: BenchPlan, *, as_json: bool) -> None:
    """Print what would run, and end as the run would where nothing can."""
    from topoprobe.cli.planning import plan_lines, plan_record
    from topoprobe.cli.registry import benchmarks

    if as_json:
        sys.stdout.write(json.dumps(plan_record(plan), indent=1) + "\n")
    else:
        write_lines(plan_lines(plan, [one.name for one in benchmarks()]))
    plan.check()


def _finish(results: ResultsDocument, output: str | None, *, as_json: bool, quiet: bool) -> None:
    """Write the document, tell what to know, and name the next command."""
    from topoprobe.measure.suite import has_samples
    from topoprobe.records.documents import encode

    if deliver(encode(results), output, as_json=as_json):
        from topoprobe.cli.measured import result_lines

        write_lines(result_lines(results))
    if output is not None and output != "-":
        following = f"; next: topoprobe calibrate {output} -o calibration.json"
        note(f"wrote {output}" + following * has_samples(results), quiet=quiet)
    elif output is None and not as_json and has_samples(results):
        note("nothing was written; add -o results.json to keep every sample", quiet=quiet)


def _failure(results: ResultsDocument, max_time: str | None) -> TopoprobeError | None:
    """Return what to end with where nothing was measured, or None."""
    from topoprobe.measure.suite import has_failed, has_samples

    if has_samples(results):
        return None
    reasons = [run_.reason for run_ in results.experiments if run_.reason]
    if has_failed(results):
        failed = next(run_.reason for run_ in results.experiments if run_.status is Status.FAILED)
        return MeasurementFailed(f"Nothing could be measured: {failed}")
    if results.is_partial:
        return MeasurementFailed(
            f"Nothing was measured within the --max-time of {max_time}; allow more time."
        )
    return EnvironmentMissing(f"Nothing could be measured: {reasons[0]}")
