"""`topoprobe bench`: measure this machine."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from topoprobe.cli.options import Force, Quiet
from topoprobe.cli.output import refuse_existing, write_output
from topoprobe.cli.stopping import stop_on_interrupt
from topoprobe.cli.terminal import note, progress_bar
from topoprobe.errors import EnvironmentMissing, MeasurementFailed, UsageError
from topoprobe.measure.benchmark import Benchmark, Budget
from topoprobe.records.machine import MachineDocument
from topoprobe.records.results import ResultsDocument
from topoprobe.units import format_bytes, parse_seconds

_EPILOG = (
    "Examples:\n\n"
    "  topoprobe bench --only 'cpu.*' -o results.json\n\n"
    "  topoprobe bench --flows 'host:0 -> core:0 via cpu, work=stream | host:0 -> core:1 via cpu'"
)
_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench", epilog=_EPILOG)(run)


def run(
    suite: Annotated[
        str, typer.Option("--suite", help="quick (minutes), standard or full (an hour).")
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
            help="Run this concurrent set instead: 'END -> END via EXECUTOR | ...'; repeated "
            "options run together.",
        ),
    ] = None,
    is_list: Annotated[bool, typer.Option("--list", help="List the benchmarks only.")] = False,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, how long and on how much memory.")
    ] = False,
    max_time: Annotated[
        str | None, typer.Option("--max-time", help="Stop after this time, as 60s or 5min.")
    ] = None,
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
    target = _target(output, as_json=as_json, force=force)
    limit_s = None if max_time is None else parse_seconds(max_time)

    from topoprobe.measure.devices.session import budget_here, run_suite

    budget = budget_here(suite)
    benchmarks = _given(flows, only) if flows else _selected(only or [])
    machine = _scan()
    if is_list:
        _write_list(benchmarks, machine, as_json=as_json)
        return
    if is_dry:
        _write_plan(benchmarks, machine, budget, as_json=as_json)
        return
    with stop_on_interrupt() as should_stop:
        with progress_bar("measuring", quiet=quiet) as progress:
            results = run_suite(
                machine, benchmarks, budget, progress, should_stop, max_time_s=limit_s
            )
        was_asked = should_stop()
    _finish(results, target, were_given=bool(flows), quiet=quiet)
    if was_asked:
        raise typer.Exit(_INTERRUPTED)


def _target(output: str | None, *, as_json: bool, force: bool) -> str | None:
    """Return where the document goes; None prints a summary instead."""
    target = "-" if as_json and output is None else output
    if target is not None and target != "-":
        if not target.endswith(".json"):
            raise UsageError(f"{target} has a suffix that says no format; end it in .json.")
        refuse_existing(target, force)
    return target


def _selected(only: Sequence[str]) -> tuple[Benchmark, ...]:
    from topoprobe.cli.registry import benchmarks
    from topoprobe.measure.suite import select

    return select(benchmarks(), only)


def _given(flows: Sequence[str], only: list[str] | None) -> tuple[Benchmark, ...]:
    if only:
        raise UsageError("--flows runs one set and --only chooses benchmarks; give one of them.")
    from topoprobe.cli.registry import given_flows
    from topoprobe.measure.flows import parse_flow_set

    return (given_flows(parse_flow_set(" | ".join(flows))),)


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
    for entry in entries:
        reason = entry["missing"]
        sys.stdout.write(f"{entry['name']:<{width}}  {entry['summary']}\n")
        if reason is not None:
            sys.stdout.write(f"{'':<{width}}  not here: {reason}\n")


def _write_plan(
    benchmarks: Sequence[Benchmark], machine: MachineDocument, budget: Budget, *, as_json: bool
) -> None:
    missing = {benchmark.name: benchmark.missing(machine) for benchmark in benchmarks}
    runnable = [benchmark for benchmark in benchmarks if missing[benchmark.name] is None]
    if as_json:
        plan = {
            "suite": budget.suite,
            "memory_bytes": budget.memory_bytes,
            "benchmarks": [
                {
                    "name": benchmark.name,
                    "quick_seconds": benchmark.seconds,
                    "missing": missing[benchmark.name],
                }
                for benchmark in benchmarks
            ],
        }
        sys.stdout.write(json.dumps(plan, indent=1) + "\n")
        return
    seconds = sum(benchmark.seconds for benchmark in runnable)
    sys.stdout.write(
        f"Would run {len(runnable)} of {len(benchmarks)} benchmarks with up to "
        f"{format_bytes(budget.memory_bytes)} of memory; the quick suite of them takes about "
        f"{seconds:.0f} s.\n"
    )
    for benchmark in benchmarks:
        reason = missing[benchmark.name]
        note_ = f"about {benchmark.seconds:.0f} s" if reason is None else f"skipped: {reason}"
        sys.stdout.write(f"  {benchmark.name}: {note_}\n")


def _finish(results: ResultsDocument, target: str | None, *, were_given: bool, quiet: bool) -> None:
    """Write the document, tell what to know, and name the next command.

    Raises
    ------
    MeasurementFailed
        If everything that was asked for failed.
    EnvironmentMissing
        If the given flows cannot be run here.
    """
    from topoprobe.measure.suite import has_failed, has_samples
    from topoprobe.records.documents import encode

    if target is not None:
        write_output(target, encode(results))
    if target != "-":
        from topoprobe.cli.measured import result_lines

        sys.stdout.write("\n".join(result_lines(results)) + "\n")
    reasons = [run_.reason for run_ in results.experiments if run_.reason]
    if has_failed(results):
        raise MeasurementFailed(f"Nothing could be measured: {reasons[0]}")
    if were_given and reasons and not has_samples(results):
        raise EnvironmentMissing(reasons[0])
    if target is None:
        note("nothing was written; add -o results.json to keep every sample", quiet=quiet)
    elif target != "-":
        note(f"wrote {target}; next: topoprobe calibrate {target} -o calibration.json", quiet=quiet)
