"""Reading small files below a root folder, where a missing one is an answer and not an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


class Files:
    """The files below one root.

    Plain strings and system calls: a large server has thousands of these files, and `pathlib`
    costs more than the kernel does.

    Parameters
    ----------
    root : Path
        Folder that holds ``sys`` and ``proc``.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root).rstrip("/")

    def data(self, path: str, max_bytes: int = 4096) -> bytes | None:
        """Return the first bytes of a file, or None if it cannot be read."""
        try:
            descriptor = os.open(f"{self._root}/{path}", os.O_RDONLY)
        except OSError:
            return None
        try:
            return os.read(descriptor, max_bytes)
        except OSError:  # such as EINVAL for the speed of an interface that is down
            return None
        finally:
            os.close(descriptor)

    def text(self, path: str, max_bytes: int = 4096) -> str | None:
        """Return the first bytes of a file as stripped text, or None if it cannot be read."""
        data = self.data(path, max_bytes)
        return None if data is None else data.decode("utf-8", "replace").strip()

    def number(self, path: str) -> int | None:
        """Return a decimal integer, or None."""
        text = self.text(path)
        try:
            return int(text) if text is not None else None
        except ValueError:
            return None

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder; none if there is no such folder."""
        try:
            return sorted(os.listdir(f"{self._root}/{path}"))  # noqa: PTH208
        except OSError:
            return []

    def link(self, path: str) -> str | None:
        """Return where a symbolic link points, as written in it, or None if it is no link."""
        try:
            return os.readlink(f"{self._root}/{path}")  # noqa: PTH115
        except OSError:
            return None

    def numbered(self, path: str, prefix: str) -> Iterator[tuple[int, str]]:
        """Yield the number and path of each entry such as ``node0``, in order of the number."""
        found = []
        for name in self.names(path):
            number = name.removeprefix(prefix)
            if name.startswith(prefix) and number.isdecimal():
                found.append((int(number), f"{path}/{name}"))
        yield from sorted(found)
