"""Which machine a command is about: this one, a recorded one, or a made-up one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from topoprobe.cli.output import read_input
from topoprobe.errors import InputError, UsageError

if TYPE_CHECKING:
    from topoprobe.machine.sources.files import Files
    from topoprobe.records.machine import MachineDocument

SOURCES_HELP = (
    "Recordings of one machine (files, archives, folders, or - for stdin; the format is detected), "
    "a machine document, or the name or short text of a made-up machine. Without any, this machine "
    "is read."
)


def read_machine(sources: list[str]) -> MachineDocument:
    """Read what the sources of a command line describe; without any, this machine.

    Parameters
    ----------
    sources : list of str
        Paths of recordings of one machine, ``-`` for stdin, or the name or short text of one
        made-up machine. What exists as a path is read as one.

    Raises
    ------
    UsageError
        If the sources cannot be of one machine.
    InputError
        If one is not there, or not what it seems to be.
    """
    from topoprobe.machine.sources import scan

    if not sources:
        return scan.scan_live(captured_at=now())
    made_up = [name for name in sources if not _is_there(name)]
    if not made_up:
        return scan.scan_files([(_called(name), _content(name)) for name in sources])
    document = scan.make_up(made_up[0])
    if document is None:
        raise _neither(made_up[0])
    if len(sources) > 1:
        raise UsageError(f"{made_up[0]!r} is a made-up machine, which is complete; give it alone.")
    return document


def now() -> str:
    """Return the time for a live reading, as documents write it."""
    import datetime

    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _is_there(name: str) -> bool:
    # A short text may be longer than a path can be, which pathlib takes for an error.
    return name == "-" or os.path.exists(name)  # noqa: PTH110


def _called(name: str) -> str:
    return "stdin" if name == "-" else name


def _content(name: str) -> bytes | Files:
    from topoprobe.machine.sources.detect import MAX_ARCHIVE_BYTES
    from topoprobe.machine.sources.files import Copy

    if name != "-" and Path(name).is_dir():
        return Copy(Path(name))
    return read_input(name, MAX_ARCHIVE_BYTES)


def _neither(name: str) -> InputError:
    import difflib

    from topoprobe.machine import synthetic

    close = difflib.get_close_matches(name.lower(), synthetic.NAMES, n=1, cutoff=0.75)
    if close:
        return InputError(f"{name} does not exist; did you mean {close[0]}?")
    shown = name if name.strip() else repr(name)
    return InputError(
        f"{shown} does not exist; give the path of a recording, or one of the built-in machines "
        f"({', '.join(synthetic.NAMES)})."
    )
