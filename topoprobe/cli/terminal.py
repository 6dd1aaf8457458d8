"""Notes and progress on stderr: for people only, silent when asked, plain when piped."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console


# A label of up to 11 characters and the blanks behind it, or the blanks where a label would be.
_COLUMN = re.compile(r"(\S[^ ]*( [^ ]+)*)? {2,}(?=\S)")


class Progress(Protocol):
    """What a long command tells: how far it is, and what it does now."""

    def __call__(self, done_ratio: float, text: str) -> None:
        """Tell the share that is done and what is being done."""


def note(text: str, *, quiet: bool = False) -> None:
    """Write one line on stderr unless quiet."""
    if not quiet:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


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
    return textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
