"""Where output goes: stdout, or a file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import time
from pathlib import Path

from topoprobe.cli.terminal import note
from topoprobe.errors import InputError, UsageError
from topoprobe.units import format_bytes

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What writing fails with where there is no room, or no working disk."""


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
        raise InputError(
            f"{name or repr(name)} does not exist; give the path of a file."
        ) from error
    except IsADirectoryError as error:
        raise InputError(f"{name or repr(name)} is a folder; give the path of a file.") from error
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
        _write_stdout(data)
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


def write_kept(target: str | Path, data: bytes) -> None:
    """Write as `write_output`; where that fails, keep `data` in a folder for temporary files.

    Raises
    ------
    UsageError
        If the target cannot be written; it names the file that the data were kept in.
    """
    try:
        write_output(target, data)
    except UsageError as error:
        reason = str(error).removesuffix(".")
        raise UsageError(f"{reason}; {_kept_elsewhere(data)}.") from error


def _kept_elsewhere(data: bytes) -> str:
    """Write data to the first folder that takes them, and say where."""
    folders = dict.fromkeys((tempfile.gettempdir(), "/var/tmp", "/dev/shm", str(Path.home())))
    for folder in folders:
        path = Path(folder) / f"topoprobe-kept-{os.getpid()}-{time.time_ns()}.json"
        with contextlib.suppress(UsageError):
            write_output(path, data)
            return f"it was kept as {path}"
    return f"it is lost, for {', '.join(folders)} do not take it either"


def forget_stdout() -> None:
    """Drop what is still to be written, so that the interpreter does not try and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        if error.errno not in FULL:
            raise
        forget_stdout()
        raise UsageError(
            f"stdout cannot be written: {error.strerror}; send it somewhere else."
        ) from error


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
        If it cannot be written; it names the file that the document was kept in.
    """
    file = None if output == "-" else output
    if file is not None:
        write_kept(file, document)
    is_on_stdout = as_json or output == "-"
    if is_on_stdout:
        # In its file, it cannot get lost.
        (write_kept if file is None else write_output)("-", document)
    return not is_on_stdout


def _temporary_beside(path: Path, *, delete: bool) -> tempfile._TemporaryFileWrapper[bytes]:
    return tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=delete)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
