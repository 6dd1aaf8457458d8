"""`topoprobe scan`: draw a machine, live or from recordings."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from topoprobe.cli.machines import SOURCES_HELP, now, read_machine
from topoprobe.cli.options import Force, Quiet
from topoprobe.cli.output import refuse_existing, write_output
from topoprobe.cli.terminal import note, text_width
from topoprobe.errors import UsageError
from topoprobe.machine.wording import count
from topoprobe.records.machine import MachineDocument
from topoprobe.units import format_bytes

_EPILOG = (
    "Examples:\n\n"
    "  topoprobe scan\n\n"
    "  topoprobe scan --capture machine.tar.gz\n\n"
    "  topoprobe scan lstopo.xml nccl-topo.xml --json -o machine.json\n\n"
    "  topoprobe scan dgx-a100"
)
_ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")


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
    capture: Annotated[
        str | None,
        typer.Option(
            "--capture",
            metavar="FILE.tar.gz",
            help="Also record all that is read of this machine, to scan it elsewhere.",
        ),
    ] = None,
    keeps_identities: Annotated[
        bool,
        typer.Option(
            "--keep-identities",
            help="Leave host names, serial numbers, UUIDs and network addresses in the capture.",
        ),
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Find out how a machine is wired: tree, path matrix, and what cannot be known."""
    is_document = _is_document(output, as_json)
    refuse_existing(output, force)
    if capture is None:
        document = read_machine(sources or [])
    else:
        _check_capture(capture, sources or [], force)
        document = _capture(capture, keeps_identities, quiet)
    if is_document:
        from topoprobe.records.documents import encode

        write_output(output, encode(document))
    else:
        from topoprobe.machine.explaining import explain

        write_output(output, explain(document, text_width(output)).encode())
    if output != "-":
        note(f"Wrote {output}.", quiet=quiet)
    if not as_json:
        note(_next_command(sources or [], capture), quiet=quiet)


def _is_document(output: str, as_json: bool) -> bool:
    if output == "-" or output.endswith(".json"):
        return as_json or output != "-"
    if output.endswith(".txt") and not as_json:
        return False
    raise UsageError(
        f"{output} has a suffix that says no format; end it in .json (the document)"
        + ("." if as_json else " or .txt (the drawing).")
    )


def _check_capture(target: str, sources: list[str], force: bool) -> None:
    if sources:
        raise UsageError(
            f"--capture records this machine, and {sources[0]} is another; leave one of them out."
        )
    if not target.endswith(_ARCHIVE_SUFFIXES):
        raise UsageError(f"{target} is the name of no archive; end it in .tar.gz.")
    refuse_existing(target, force)


def _capture(target: str, keeps_identities: bool, quiet: bool) -> MachineDocument:
    """Read this machine into an archive, and say what is in it."""
    from topoprobe.machine.sources.capture.capturing import capture_live

    top = Path(target).name.removesuffix(".tgz").removesuffix(".tar.gz")
    captured = capture_live(now(), top=top or "machine", keeps_identities=keeps_identities)
    write_output(target, captured.archive)
    size = format_bytes(len(captured.archive))
    note(f"Wrote {target} ({size}): {captured.num_files} files of /sys and /proc.", quiet=quiet)
    if keeps_identities:
        note("It names this machine: look at it before you give it away.", quiet=quiet)
    else:
        counts = [count(number, kind) for kind, number in captured.blanked.items()]
        blanked = ", ".join(counts) or "nothing was found that names this machine"
        note(f"Blanked in it: {blanked}. (--keep-identities keeps them.)", quiet=quiet)
    return captured.document


def _next_command(sources: list[str], capture: str | None) -> str:
    if capture is not None:
        return f"Next: topoprobe scan {shlex.quote(capture)} (on any machine)"
    if sources:
        words = " ".join(map(shlex.quote, sources))
        return f"Next: topoprobe doctor {words} (what is wrong with it)"
    return "Next: topoprobe profile -o out/ (measure this machine, about four minutes)"
