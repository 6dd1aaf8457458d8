"""The `topoprobe` program: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Annotated, Any, TypeGuard

import typer
from typer.core import TyperGroup

from topoprobe import __version__
from topoprobe.cli.output import FULL, forget_stdout
from topoprobe.errors import TopoprobeError, UsageError

COMMANDS = (
    "profile", "scan", "doctor", "bench", "calibrate", "predict", "simulate", "run", "report",
    "compare", "schema",
)  # fmt: skip


class _Commands(TyperGroup):
    """The commands, each imported only when it is asked for (or listed by ``--help``)."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the loop."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command, or return None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        single = typer.Typer(add_completion=False, rich_markup_mode="rich")
        importlib.import_module(f"topoprobe.cli.{cmd_name}").register(single)
        return typer.main.get_command(single)


app = typer.Typer(
    name="topoprobe",
    cls=_Commands,
    help="Find out how a machine is wired, measure what its links give, and place work by it.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"topoprobe {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Declare the options that every command shares."""


def main() -> None:
    """Run the command line and end the process with the exit code of docs/design.md."""
    try:
        try:
            app(prog_name="topoprobe")
        finally:
            # Here, and not when the interpreter ends: a full disk is found out by writing.
            sys.stdout.flush()
    except TopoprobeError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except SystemExit as end:
        # The command line's library ends with 1 where the reader went away.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        forget_stdout()
        sys.exit(0)
    except KeyboardInterrupt:
        _complain("interrupted.")
        sys.exit(130)
    except BrokenPipeError:
        # The reader went away (`topoprobe scan | head`); keep the interpreter from complaining.
        forget_stdout()
        sys.exit(0)
    except Exception as error:
        if _is_stdout_full(error):
            forget_stdout()
            _complain(f"stdout cannot be written: {error.strerror}; send it somewhere else.")
            sys.exit(UsageError.exit_code)
        if os.environ.get("TOPOPROBE_TRACEBACK"):
            traceback.print_exc()
        _complain(
            f"internal error ({type(error).__name__}: {error}); please report it with the output "
            "of TOPOPROBE_TRACEBACK=1."
        )
        sys.exit(70)


def _is_stdout_full(error: Exception) -> TypeGuard[OSError]:
    """Tell errors of writing on stdout from others: those of a file know its name."""
    return isinstance(error, OSError) and error.errno in FULL and error.filename is None


def _complain(message: str) -> None:
    from topoprobe.cli.terminal import note

    note(f"topoprobe: {message}")
