"""Following symbolic links inside a tree of files, and never out of it."""

from __future__ import annotations

from collections.abc import Callable

_MOST_FOLLOWED = 40  # the kernel's own limit; more is a circle


class Links:
    """Where paths of a tree really lead.

    What was found is remembered: the files of one device are asked for through the same folders.

    Parameters
    ----------
    target_of : callable
        Gives what is written in the symbolic link at a path, or None if there is none. The folders
        of the paths that it is asked for are no links.
    """

    def __init__(self, target_of: Callable[[str], str | None]) -> None:
        self._target_of = target_of
        self._real: dict[str, str | None] = {"": ""}

    def real(self, path: str) -> str | None:
        """Return a path without links in it; None if a link leaves the tree or leads in circles.

        Whether there is anything at that path is another question.
        """
        if path not in self._real:
            folder, _, name = path.rpartition("/")
            start = self.real(folder)
            self._real[path] = None if start is None else self._walk(start, name)
        return self._real[path]

    def place(self, path: str) -> str | None:
        """Return where an entry itself stands, which may be a link."""
        folder, _, name = path.rpartition("/")
        start = self.real(folder)
        return None if start is None else _joined(start, name)

    def _walk(self, start: str, name: str) -> str | None:
        at, ahead, num_followed = start, [name], 0
        while ahead:
            part = ahead.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                if not at:
                    return None
                at = at.rpartition("/")[0]
                continue
            place = _joined(at, part)
            target = None if self._real.get(place) == place else self._target_of(place)
            if target is None:
                at = self._real[place] = place
                continue
            num_followed += 1
            if target.startswith("/") or num_followed > _MOST_FOLLOWED:
                return None
            ahead.extend(reversed(target.split("/")))
        return at


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
