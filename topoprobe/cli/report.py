"""`topoprobe report`: documents in, one HTML page out."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from topoprobe.cli.options import Force, Quiet
from topoprobe.cli.output import read_input, refuse_existing, write_output
from topoprobe.cli.terminal import note
from topoprobe.errors import UsageError

_EPILOG = (
    "Examples:\n\n  topoprobe report out/calibration.json out/run.json -o report.html\n\n"
    "  topoprobe report machine.json -o - > machine.html"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", epilog=_EPILOG)(run)


def run(
    documents: Annotated[
        list[str],
        typer.Argument(
            help="Machine, results, calibration and run documents, at most one of each, or an "
            "earlier report, which holds them; - is stdin."
        ),
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", help="HTML file to write; - is stdout.")
    ] = "report.html",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Make one HTML page of documents, for people: it needs no network and embeds its data."""
    if output != "-" and not output.endswith((".html", ".htm")):
        raise UsageError(f"{output} would be an HTML page; end its name in .html.")
    refuse_existing(output, force)
    chosen = _chosen(documents)

    from topoprobe.cli.registry import render_report

    page = render_report(**chosen)
    write_output(output, page.encode())
    if output != "-":
        note(f"wrote {output} ({len(page) / 1e3:.0f} kB); open it in a browser", quiet=quiet)


def _chosen(names: list[str]) -> dict[str, Any]:
    """Read the documents by kind.

    Raises
    ------
    UsageError
        If there are two of one kind, for a page shows one machine.
    """
    from topoprobe.cli.registry import report_documents
    from topoprobe.records.documents import KINDS

    chosen: dict[str, Any] = dict.fromkeys(KINDS)
    origins: dict[str, str] = {}
    for name in names:
        called = "stdin" if name == "-" else name
        for document in report_documents(read_input(name), called):
            kind = next(kind for kind, known in KINDS.items() if isinstance(document, known))
            if kind in origins:
                raise UsageError(
                    f"{called} holds a second {kind} document beside that of {origins[kind]}; "
                    "a report shows one of each kind."
                )
            chosen[kind], origins[kind] = document, called
    return chosen
