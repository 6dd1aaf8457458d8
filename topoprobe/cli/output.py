"""Where output goes: stdout, or a file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from topoprobe.cli.terminal import note
from topoprobe.errors import InputError, UsageError
from topoprobe.units import format_bytes


def read_input(name: str, max_bytes: int | None = None) -> bytes:
    """Read a file, or stdin for ``-``.

    Parameters
    ----------
    name : str
        Path of the file.
    max_bytes : int, optional
        A bigger one is refused, before all of it is read.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read, or it is too big.
    """
    data = _read_up_to(name, -1 if max_bytes is None else max_bytes + 1)
    if max_bytes is not None and len(data) > max_bytes:
        called = "stdin" if name == "-" else name
        raise InputError(f"{called} has more than {format_bytes(max_bytes)}; it is not read.")
    return data


def _read_up_to(name: str, num_bytes: int) -> bytes:
    if name == "-":
        if sys.stdin.isatty():
            note("Reading from this terminal: paste the text and end it with Ctrl-D.")
        return sys.stdin.buffer.read(num_bytes)
    try:
        with Path(name).open("rb") as file:
            return file.read(num_bytes)
    except FileNotFoundError as error:
        raise InputError(f"{name} does not exist; give the path of a file.") from error
    except IsADirectoryError as error:
        raise InputError(f"{name} is a folder; give the path of a file.") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.") from error


def refuse_existing(target: str, force: bool) -> None:
    """Check, before any work is done, that `target` may be written.

    A temporary file is made and removed, for permissions do not tell it all (``/proc``).

    Raises
    ------
    UsageError
        If it exists and `force` is not set, or its folder cannot be written.
    """
    if target == "-":
        return
    path = Path(target)
    if path.is_dir():
        raise UsageError(f"{target} is a folder; give the name of a file in it.")
    if path.exists() and not force:
        raise UsageError(f"{target} already exists; add --force to replace it.")
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; create it, or write somewhere else.")
    try:
        with _temporary_beside(path, delete=True):
            pass
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error.strerror}; choose another folder."
        ) from error


def make_folder(target: str) -> Path:
    """Create an output folder, with its parents.

    Raises
    ------
    UsageError
        If it cannot be created or written.
    """
    path = Path(target)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UsageError(
            f"The folder {target} cannot be written: {error.strerror}; choose another one."
        ) from error
    return path


def write_output(target: str | Path, data: bytes) -> None:
    """Write `data` to a file atomically (temporary name, then rename), or to stdout for ``-``.

    Raises
    ------
    UsageError
        If the file cannot be written; nothing is left behind.
    """
    if str(target) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    path = Path(target)
    temporary = None
    try:
        with _temporary_beside(path, delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()


def deliver(document: bytes, output: str | None, *, as_json: bool) -> bool:
    """Write a document where it was asked for: to a file, to stdout, or both.

    Parameters
    ----------
    document : bytes
        Encoded.
    output : str or None
        The file; ``-`` is stdout.
    as_json : bool
        Whether stdout gets the document, and nothing else.

    Returns
    -------
    bool
        Whether a summary may be printed: stdout does not hold the document.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    if output is not None and output != "-":
        write_output(output, document)
    is_on_stdout = as_json or output == "-"
    if is_on_stdout:
        write_output("-", document)
    return not is_on_stdout


def _temporary_beside(path: Path, *, delete: bool) -> tempfile._TemporaryFileWrapper[bytes]:
    return tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=delete)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
