"""The tree below a folder: the live machine's root, or a copy of another's."""

from __future__ import annotations

import os
from pathlib import Path

from topoprobe.machine.sources.files.base import Files
from topoprobe.machine.sources.files.links import Links

# A pipe in a stranger's folder would be waited for.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK


class Folder(Files):
    """The files below a folder.

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
            descriptor = os.open(self._real(path), _FLAGS)
        except OSError:
            return None
        try:
            return os.read(descriptor, max_bytes)
        except OSError:  # such as EINVAL for the speed of an interface that is down
            return None
        finally:
            os.close(descriptor)

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder; none if there is no such folder."""
        try:
            return sorted(os.listdir(self._real(path)))  # noqa: PTH208
        except OSError:
            return []

    def link(self, path: str) -> str | None:
        """Return where a symbolic link points, as written in it, or None if it is no link."""
        return self._written(path)

    def _real(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _written(self, path: str) -> str | None:
        try:
            return os.readlink(f"{self._root}/{path}")  # noqa: PTH115
        except OSError:
            return None


class Copy(Folder):
    """A stranger's folder: a link that leaves it is told but never followed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._links = Links(self._written)

    def link(self, path: str) -> str | None:
        """Return where a symbolic link points, as written in it, or None if it is no link."""
        place = self._links.place(path)
        return None if place is None else self._written(place)

    def _real(self, path: str) -> str:
        real = self._links.real(path)
        if real is None:
            raise FileNotFoundError(path)
        return super()._real(real)
