"""Finding the folder that matters in a copy that somebody took from higher up or lower down."""

from __future__ import annotations

from collections.abc import Callable

from topoprobe.machine.sources.files import Files

# How deep it may lie, and how many folders of a level, and entries of a folder, are looked into.
_MAX_DEPTH, _MAX_WIDTH = 6, 64


def find_folder(files: Files, is_it: Callable[[str], bool]) -> str | None:
    """Return the nearest folder below the root that is the one, or None.

    Parameters
    ----------
    files : Files
        A copy; of the live machine's root ask for the place itself.
    is_it : callable
        Takes a path below the root, ``""`` for the root itself.
    """
    level = [""]
    for _ in range(_MAX_DEPTH):
        found = next((folder for folder in level if is_it(folder)), None)
        if found is not None:
            return found
        level = [
            below(folder, name)
            for folder in level[:_MAX_WIDTH]
            for name in files.names(folder)[:_MAX_WIDTH]
        ]
    return None


def below(folder: str, name: str) -> str:
    """Return the path of an entry of a folder."""
    return f"{folder}/{name}" if folder else name
