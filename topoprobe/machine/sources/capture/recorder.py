"""Remembering which files, folders and links a reader asked for, and what it was given."""

from __future__ import annotations

from typing import NamedTuple

from topoprobe.machine.sources.files import Files
from topoprobe.machine.sources.files.links import Links

# A link to the number of this process, which is of no use elsewhere.
_OWN_PROCESS = "proc/self"


class Tree(NamedTuple):
    """Files, folders and links by their real paths, that is without links in them."""

    files: dict[str, bytes]
    folders: set[str]
    links: dict[str, str]


class Recorder(Files):
    """Passes each question on and remembers what is needed to answer it again.

    The folders and links in a listed folder are remembered too, but not the files that nobody
    opened: an empty file in their place would be an answer.

    Parameters
    ----------
    files : Files
        The tree that is asked.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._links = Links(self._target)
        self.tree = Tree({}, set(), {})

    def data(self, path: str, max_bytes: int = 4096) -> bytes | None:
        """Return the first bytes of a file, or None if it cannot be read."""
        data = self._files.data(path, max_bytes)
        if data is not None:
            real = self._real(path)
            self.tree.files[real] = max(self.tree.files.get(real, b""), data, key=len)
        return data

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder; none if there is no such folder."""
        names = self._files.names(path)
        real = self._real(path)
        folder, _, name = real.rpartition("/")
        if not names and folder in self.tree.folders and name in self._files.names(folder):
            self.tree.folders.add(real)  # an empty folder is an answer too
        if names and real not in self.tree.folders:
            self.tree.folders.add(real)
            for name in names:
                entry = f"{real}/{name}".lstrip("/")
                if self._target(entry) is None and self._files.names(entry):
                    self.tree.folders.add(entry)
        return names

    def link(self, path: str) -> str | None:
        """Return where a symbolic link points, as written in it, or None if it is no link."""
        target = self._files.link(path)
        place = self._links.place(path)
        if target is not None:
            self.tree.links[path if place is None else place] = target
        return target

    def _real(self, path: str) -> str:
        """Return where a path leads; what is outside of the tree stays where it was asked for."""
        real = self._links.real(path)
        return path if real is None else real

    def _target(self, place: str) -> str | None:
        target = None if place == _OWN_PROCESS else self._files.link(place)
        if target is not None:
            self.tree.links[place] = target
        return target
