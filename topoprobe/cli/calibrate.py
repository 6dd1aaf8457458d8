"""`topoprobe calibrate`: results in, estimates out."""

from __future__ import annotations

import datetime
import shlex
from typing import Annotated

import typer

from topoprobe import __version__
from topoprobe.cli.options import Force, OutputFile, Quiet
from topoprobe.cli.output import deliver, read_input, refuse_existing
from topoprobe.cli.terminal import note, write_lines
from topoprobe.errors import UsageError
from topoprobe.measure.flows import parse_flow_set
from topoprobe.records.base import Tool
from topoprobe.records.calibration import CalibrationDocument
from topoprobe.records.documents import decode_as, encode
from topoprobe.records.results import ResultsDocument

_EPILOG = (
    "Examples:\n\n  topoprobe calibrate results.json -o calibration.json\n\n"
    "  topoprobe calibrate monday.json tuesday.json --base calibration.json --json"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("calibrate", epilog=_EPILOG)(run)


def run(
    results: Annotated[
        list[str],
        typer.Argument(help="Results documents of `topoprobe bench`, all of one machine."),
    ],
    base: Annotated[
        str | None,
        typer.Option("--base", help="A calibration that gives the numbers these runs lack."),
    ] = None,
    output: OutputFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the document.")] = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Fit estimates with 95 % intervals, laws and model step costs to measured results."""
    if output is not None:
        refuse_existing(output, force)
    if results.count("-") + (base == "-") > 1:
        raise UsageError("stdin (-) holds one document; give files for the others.")
    documents = [decode_as(read_input(name), ResultsDocument, name) for name in results]
    earlier = base and decode_as(read_input(base), CalibrationDocument, base)

    from topoprobe.cli.registry import known_revisions
    from topoprobe.cli.summary import (
        ceiling_lines,
        contention_lines,
        machine_lines,
        status_lines,
    )
    from topoprobe.model.calibration.build import calibrate_merged
    from topoprobe.model.calibration.completing import completed, supplemented
    from topoprobe.model.calibration.merging import NamedRun, merge, refuse_unknown_revisions

    runs = [NamedRun(*pair) for pair in zip(results, documents, strict=True)]
    known = known_revisions()
    for run in runs:
        refuse_unknown_revisions(run, known)
    merged = merge(runs)
    document = calibrate_merged(
        merged,
        tool=Tool(tool_version=__version__),
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    if base and earlier:
        document = completed(document, earlier, base)
    document = supplemented(document)
    if deliver(encode(document), output, as_json=as_json):
        lines = machine_lines(document.machine) + ceiling_lines(document)
        lines += contention_lines(document)
        write_lines(lines + status_lines(merged.results, document))
    if output not in (None, "-"):
        note(f"wrote {output}; next: topoprobe {_next_command(document, output)}", quiet=quiet)
    elif output is None and not as_json:
        note("nothing was written; add -o calibration.json to keep the estimates", quiet=quiet)


def _next_command(document: CalibrationDocument, path: str) -> str:
    """Return a command that this calibration suffices for."""
    if len(document.models) == 1:
        return f"simulate {path} --requests 100 --rate 2"
    for one in document.contention:
        works = {each.work for each in one.cpu_works}
        for shares in one.sets:
            flow_set = parse_flow_set(" | ".join(share.flow for share in shares.flows))
            if all(flow.executor.kind != "cpu" or flow.work in works for flow in flow_set.flows):
                return f"predict {path} --flows {shlex.quote(str(flow_set))}"
    return f"report {path} -o report.html"
