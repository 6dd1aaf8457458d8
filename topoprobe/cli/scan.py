"""`topoprobe scan`: draw a machine, live or from recordings."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from topoprobe.cli.machines import SOURCES_HELP, read_machine
from topoprobe.cli.options import Force, Quiet
from topoprobe.cli.output import refuse_existing, write_output
from topoprobe.cli.terminal import note
from topoprobe.errors import UsageError

_EPILOG = (
    "Examples:\n\n"
    "  topoprobe scan\n\n"
    "  topoprobe scan lstopo.xml nccl-topo.xml --json -o machine.json"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("scan", epilog=_EPILOG)(run)


def run(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help=SOURCES_HELP),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the machine document, and nothing else.")
    ] = False,
    output: Annotated[
        str,
        typer.Option("-o", "--output", help="File to write: .json (the document) or .txt."),
    ] = "-",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Find out how a machine is wired: tree, path matrix, and what cannot be known."""
    is_document = _is_document(output, as_json)
    refuse_existing(output, force)
    document = read_machine(sources or [])
    if is_document:
        from topoprobe.records.documents import encode

        write_output(output, encode(document))
    else:
        from topoprobe.machine.explaining import explain

        write_output(output, explain(document, _width(output)).encode())
    if output != "-":
        note(f"Wrote {output}.", quiet=quiet)
    if not as_json:
        note(_next_command(sources or []), quiet=quiet)


def _is_document(output: str, as_json: bool) -> bool:
    if output == "-" or output.endswith(".json"):
        return as_json or output != "-"
    if output.endswith(".txt") and not as_json:
        return False
    raise UsageError(
        f"{output} has a suffix that says no format; end it in .json (the document)"
        + ("." if as_json else " or .txt (the drawing).")
    )


def _width(output: str) -> int:
    """Return the terminal's columns; text in a pipe or file is laid out for 100."""
    is_terminal = output == "-" and sys.stdout.isatty()
    return shutil.get_terminal_size((100, 24) if not is_terminal else (80, 24)).columns


def _next_command(sources: list[str]) -> str:
    if sources:
        return f"Next: topoprobe scan {' '.join(sources)} -o machine.json"
    return "Next: topoprobe profile -o out/ (measure this machine, about four minutes)"
