"""Trees that start at another folder than the readers expect."""

from __future__ import annotations

from topoprobe.machine.sources.files.base import Files


class Below(Files):
    """The part of a tree below one of its folders, as if that were the root."""

    def __init__(self, files: Files, folder: str) -> None:
        self._files = files
        self._folder = folder

    def data(self, path: str, max_bytes: int = 4096) -> bytes | None:
        """Return the first bytes of a file, or None if it cannot be read."""
        return self._files.data(f"{self._folder}/{path}", max_bytes)

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder; none if there is no such folder."""
        return self._files.names(f"{self._folder}/{path}" if path else self._folder)

    def link(self, path: str) -> str | None:
        """Return where a symbolic link points, as written in it, or None if it is no link."""
        return self._files.link(f"{self._folder}/{path}")


class Inside(Files):
    """A tree whose root is one folder of what readers expect, as of `/sys` alone."""

    def __init__(self, files: Files, folder: str) -> None:
        self._files = files
        self._folder = folder

    def data(self, path: str, max_bytes: int = 4096) -> bytes | None:
        """Return the first bytes of a file, or None if it cannot be read."""
        inner = self._inner(path)
        return None if inner is None else self._files.data(inner, max_bytes)

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder; none if there is no such folder."""
        inner = self._inner(path)
        if inner is None:
            return [] if path else [self._folder]
        return self._files.names(inner)

    def link(self, path: str) -> str | None:
        """Return where a symbolic link points, as written in it, or None if it is no link."""
        inner = self._inner(path)
        return self._files.link(inner) if inner else None

    def _inner(self, path: str) -> str | None:
        top, _, rest = path.partition("/")
        return rest if top == self._folder else None
