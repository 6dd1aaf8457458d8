"""`topoprobe doctor`: say what is wrong with a machine, and what to do about it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from topoprobe import __version__
from topoprobe.cli.machines import SOURCES_HELP, read_machine
from topoprobe.cli.options import Force, Quiet
from topoprobe.cli.output import refuse_existing, write_output
from topoprobe.cli.terminal import console, note, text_width
from topoprobe.errors import UsageError

if TYPE_CHECKING:
    from topoprobe.machine.verdicts.software import Distribution
    from topoprobe.machine.view import Machine
    from topoprobe.records.base import Verdict

_EPILOG = (
    "Exit code 1 if anything fails.\n\nExamples:\n\n"
    "  topoprobe doctor\n\n"
    "  topoprobe doctor lspci.txt nvidia-smi-q.xml --markdown\n\n"
    "  topoprobe doctor --json -o verdicts.json"
)
_STYLES = {"FAIL": "red", "WARN": "yellow"}
_SUFFIXES = {".json": "json", ".md": "markdown", ".txt": "text"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog=_EPILOG)(run)


def run(
    sources: Annotated[list[str] | None, typer.Argument(help=SOURCES_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a block for a bug report, nothing private.")
    ] = False,
    are_all: Annotated[
        bool, typer.Option("--all", help="Every OK on the screen, not one line for each check.")
    ] = False,
    output: Annotated[
        str, typer.Option("-o", "--output", help="File to write: .json, .md or .txt.")
    ] = "-",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Say what is wrong with a machine: verdicts with evidence and a fix each."""
    form = _form(output, as_json=as_json, as_markdown=as_markdown)
    refuse_existing(output, force)
    document = read_machine(sources or [])

    from topoprobe.machine.verdicts import judge
    from topoprobe.machine.view import Machine

    machine = Machine(document)
    # A live machine's document may have been brought here from another machine.
    installed = None if sources else _installed()
    verdicts = judge(machine, installed)
    if form == "json":
        text = _encoded(verdicts)
    elif form == "markdown":
        from topoprobe.machine.diagnosis import markdown

        text = markdown(machine, verdicts, _versions(machine, installed))
    else:
        from topoprobe.machine.diagnosis import screen

        text = screen(machine, verdicts, text_width(output), are_all=are_all)
    if form == "text" and output == "-" and sys.stdout.isatty():
        _paint(text)
    else:
        write_output(output, text.encode())
    if output != "-":
        note(f"Wrote {output}.", quiet=quiet)
    if not as_json:
        note(_next_command(sources or [], verdicts), quiet=quiet)
    if any(verdict.level == "FAIL" for verdict in verdicts):
        raise typer.Exit(1)


def _form(output: str, *, as_json: bool, as_markdown: bool) -> str:
    if as_json and as_markdown:
        raise UsageError("--json and --markdown exclude each other; ask twice.")
    asked = "json" if as_json else "markdown" if as_markdown else None
    if output == "-":
        return asked or "text"
    told = next((form for suffix, form in _SUFFIXES.items() if output.endswith(suffix)), None)
    if told is None or asked not in {None, told}:
        raise UsageError(
            f"{output} has a suffix that does not say what to write; end it in .json (verdicts), "
            ".md (--markdown) or .txt (the screen)."
        )
    return told


def _paint(text: str) -> None:
    """Print the screen on a terminal, with the words for what is wrong in colour."""
    from rich.text import Text

    painted = Text(text)
    for level, style in _STYLES.items():
        painted.highlight_regex(rf"(?m)^{level}\b", style)
    console().print(painted, end="", soft_wrap=True)


def _installed() -> tuple[Distribution, ...]:
    from topoprobe.machine.sources.software import installed

    return installed()


def _encoded(verdicts: Sequence[Verdict]) -> str:
    import msgspec

    data = msgspec.json.encode({"verdicts": verdicts})
    return msgspec.json.format(data, indent=2).decode() + "\n"


def _versions(machine: Machine, installed: Sequence[Distribution] | None) -> list[str]:
    """List what a maintainer asks for first."""
    from topoprobe.records.machine import Gpu

    drivers = sorted({gpu.driver for gpu in machine.all(Gpu) if gpu.driver})
    python = ".".join(map(str, sys.version_info[:3]))
    here = [f"Python {python}", *(f"{one.name} {one.version}" for one in installed or ())]
    read_by = machine.document.tool.tool_version
    return [
        ", ".join([f"topoprobe {__version__}", *(here if installed is not None else [])]),
        *([f"machine read by topoprobe {read_by}"] if read_by != __version__ else []),
        *([f"GPU driver: {', '.join(drivers)}"] if drivers else []),
    ]


def _next_command(sources: Sequence[str], verdicts: Sequence[Verdict]) -> str:
    about = f" {shlex.join(sources)}" if sources else ""
    if any(verdict.level != "OK" for verdict in verdicts):
        return f"Next: topoprobe doctor{about} --markdown (a block for a bug report)"
    if sources:
        return f"Next: topoprobe scan{about}"
    return "Next: topoprobe profile -o out/ (measure this machine, about four minutes)"
