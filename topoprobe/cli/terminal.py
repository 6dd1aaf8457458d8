"""Notes and progress on stderr: for people only, silent when asked, plain when piped."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import Console


# A label of up to 11 characters and the blanks behind it, or the blanks where a label would be.
_COLUMN = re.compile(r"(\S[^ ]*( [^ ]+)*)? {2,}(?=\S)")


class Progress(Protocol):
    """What a long command tells: how far it is, and what it does now."""

    def __call__(self, done_ratio: float, text: str) -> None:
        """Tell the share that is done and what is being done."""


def note(text: str, *, quiet: bool = False) -> None:
    """Write one message on stderr unless quiet; on a terminal, wrap it between words.

    Whatever would drive a terminal is left out: file names are a stranger's words.
    """
    if quiet:
        return
    from topoprobe.machine.wording import printable

    lines = printable(text).split("\n")
    if sys.stderr.isatty():
        lines = [part for line in lines for part in _wrapped(line, _columns(sys.stderr))]
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()


def text_width(output: str) -> int:
    """Return the columns to lay text out for: those of the terminal, or 100 in a pipe or file."""
    is_terminal = output == "-" and sys.stdout.isatty()
    return shutil.get_terminal_size((80 if is_terminal else 100, 24)).columns


def console(*, stderr: bool = False) -> Console:
    """Return a rich console that obeys NO_COLOR, TERM=dumb and pipes."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)


@contextmanager
def progress_bar(title: str, *, quiet: bool = False) -> Iterator[Progress]:
    """Show a progress bar on a terminal; write nothing into a pipe.

    Yields
    ------
    Progress
        Call it with the share that is done (0 to 1) and a short text.
    """
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda done_ratio, text: None
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    # The text takes what the others leave, so that a long one is cut and not they.
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    with Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[text]}", table_column=rest),
        console=console(stderr=True),
        transient=True,
        expand=True,
    ) as bar:
        task = bar.add_task(title, total=1.0, text="")
        yield lambda done_ratio, text: bar.update(task, completed=done_ratio, text=text)


def write_lines(lines: Sequence[str]) -> None:
    """Write lines on stdout; on a terminal, wrap them between words under their own column."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        lines = [part for line in lines for part in _wrapped(line, width)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _wrapped(line: str, width: int) -> list[str]:
    column = _COLUMN.match(line)
    indent = " " * (len(column[0]) if column else 2)
    parts = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return parts or [""]


def _columns(stream: TextIO) -> int:
    """Return the width of a terminal that may not be stdout's; COLUMNS goes before."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80
