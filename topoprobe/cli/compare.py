"""`topoprobe compare`: what changed between two documents of one kind."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from topoprobe.cli.machines import read_machine
from topoprobe.cli.options import Force, Quiet
from topoprobe.cli.output import read_input, refuse_existing, write_output
from topoprobe.cli.terminal import note, text_width
from topoprobe.errors import UsageError

if TYPE_CHECKING:
    from topoprobe.records.base import Change
    from topoprobe.records.documents import Document

_EPILOG = (
    "Exit code 1 if anything is worse.\n\nExamples:\n\n"
    "  topoprobe scan --json | topoprobe compare machine.json -\n\n"
    "  topoprobe compare hgx-h100 lspci.txt --json -o changes.json"
)
_SOURCE = (
    "a machine document, a recording (file, archive, folder, or - for stdin), or the name or short "
    "text of a made-up machine."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare", epilog=_EPILOG)(run)


def run(
    before: Annotated[str, typer.Argument(help=f"How it was: {_SOURCE}", show_default=False)],
    after: Annotated[str, typer.Argument(help="How it is now, likewise.", show_default=False)],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all comparisons, and nothing else.")
    ] = False,
    output: Annotated[
        str, typer.Option("-o", "--output", help="File to write: .json or .txt.")
    ] = "-",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Say what changed between two machines: devices, links, path classes, drivers, settings."""
    is_json = _is_json(output, as_json)
    if before == after == "-":
        raise UsageError("stdin can be read once; give a file for one of the two.")
    refuse_existing(output, force)
    old, new = _read(before), _read(after)
    changes, remark = _compare(old, new, _called(before), _called(after))
    text = (
        _encoded(before, after, changes)
        if is_json
        else _screen(changes, remark, text_width(output))
    )
    write_output(output, text.encode())
    if output != "-":
        note(f"Wrote {output}.", quiet=quiet)
    is_worse = any(change.verdict == "worse" for change in changes)
    if not as_json:
        note(_next_command(after, is_worse=is_worse), quiet=quiet)
    if is_worse:
        raise typer.Exit(1)


def _is_json(output: str, as_json: bool) -> bool:
    if output == "-" or output.endswith(".json"):
        return as_json or output != "-"
    if output.endswith(".txt") and not as_json:
        return False
    raise UsageError(
        f"{output} has a suffix that says no format; end it in .json (all comparisons)"
        + ("." if as_json else " or .txt (the screen).")
    )


def _called(name: str) -> str:
    return "stdin" if name == "-" else name


def _read(name: str) -> Document:
    """Read a document of any kind, or whatever else tells of a machine."""
    from topoprobe.machine.sources import detect
    from topoprobe.machine.sources.scan import scan_files

    if name != "-" and not _is_file(name):
        return read_machine([name])
    data = read_input(name, detect.MAX_BYTES)
    plain = detect.unpack(data, _called(name))
    if not detect.is_document(plain):
        return scan_files([(_called(name), data)])
    from topoprobe.records.documents import decode

    return decode(plain, _called(name))


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False  # a short text may be longer than a path can be


def _compare(
    old: Document, new: Document, before: str, after: str
) -> tuple[tuple[Change, ...], str | None]:
    """Compare two documents of one kind; the remark says what to know before the changes.

    Raises
    ------
    UsageError
        If they are of different kinds, or of one that cannot be compared.
    """
    from topoprobe.machine import comparing
    from topoprobe.records.documents import KINDS
    from topoprobe.records.machine import MachineDocument

    if isinstance(old, MachineDocument) and isinstance(new, MachineDocument):
        remark = None
        if not comparing.have_common_device(old, new):
            remark = f"{before} and {after} have no device in common: are they the same machine?"
        return comparing.compare(old, new), remark
    kinds = [next(k for k, known in KINDS.items() if isinstance(d, known)) for d in (old, new)]
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"{before} is a {kinds[0]} document and {after} a {kinds[1]} document; give two of "
            "one kind."
        )
    raise UsageError(
        f"{before} and {after} are {kinds[0]} documents, which a later version will compare; this "
        "one compares machines."
    )


def _screen(changes: Sequence[Change], remark: str | None, width: int) -> str:
    from topoprobe.cli.changes import change_lines
    from topoprobe.machine.wording import printable

    lines = [*(wrap(remark, width) if remark else []), *change_lines(changes, width)]
    return printable("".join(f"{line}\n" for line in lines))


def _encoded(before: str, after: str, changes: Sequence[Change]) -> str:
    import msgspec

    from topoprobe.cli.changes import summary_counts

    content = {
        "before": _called(before),
        "after": _called(after),
        "summary": summary_counts(changes),
        "comparisons": changes,
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=1).decode() + "\n"


def _next_command(after: str, *, is_worse: bool) -> str:
    about = "" if after == "-" else f" {shlex.quote(after)}"
    if is_worse:
        return f"Next: topoprobe doctor{about} (what to do about it)"
    return f"Next: topoprobe scan{about}"
