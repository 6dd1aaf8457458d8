"""`topoprobe schema`: the JSON Schema of a document."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from topoprobe.cli.options import Force
from topoprobe.cli.output import refuse_existing, write_output
from topoprobe.records.schemas import schema


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema", epilog=_EPILOG)(run)


_EPILOG = (
    "Examples:\n\n  topoprobe schema calibration\n\n"
    "  topoprobe schema machine -o machine.schema.json"
)


def run(
    kind: Annotated[str, typer.Argument(help="machine, results, calibration or run.")],
    output: Annotated[str, typer.Option("-o", "--output", help="File to write.")] = "-",
    force: Force = False,
) -> None:
    """Print the JSON Schema of a kind of document."""
    published = schema(kind)
    refuse_existing(output, force)
    write_output(output, (json.dumps(published, indent=1) + "\n").encode())
