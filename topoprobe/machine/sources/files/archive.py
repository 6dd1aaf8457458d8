"""The tree in a tar archive, kept in memory and never unpacked to disk.

`tarfile` builds an object with two dozen attributes for each member, which takes longer than all
the rest of reading a recorded server; the headers are plain fields at fixed places [tar].
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from topoprobe.errors import InputError
from topoprobe.machine.sources.files.base import Files
from topoprobe.machine.sources.files.links import Links

_BLOCK = 512
_CHECKSUM = slice(148, 156)
# Kinds of member: files (of three ages), and those that describe the next member.
_FILES, _HARD_LINK, _LINK, _FOLDER = {b"0", b"\0", b"7"}, b"1", b"2", b"5"
_GNU_NAME, _GNU_TARGET, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"
_SPECIAL = {b"3": "a character device", b"4": "a block device", b"6": "a pipe"}
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")

# A large server's tree has 12,000 files, at most 25 deep below paths of 250 characters.
MAX_ENTRIES = 200_000
_MAX_PATH, _MAX_DEPTH = 1024, 64


class _Member(NamedTuple):
    name: str
    kind: bytes
    target: str
    start: int
    end: int


class Archive(Files):
    """The files in a tar archive; `read` makes one."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self._files: dict[str, tuple[int, int]] = {}
        self._targets: dict[str, str] = {}
        self._folders: dict[str, set[str]] = {"": set()}
        self._links = Links(self._targets.get)

    @classmethod
    def read(cls, data: bytes, name: str) -> Archive:
        """Read the table of contents.

        Parameters
        ----------
        data : bytes
            The archive without compression; its size is the caller's to bound.
        name : str
            How error messages call it.

        Raises
        ------
        InputError
            If it is damaged, has more than 200,000 entries, or a member that has no place in a
            copy of `/sys`: devices, absolute paths, or paths and links that leave the tree.
        """
        archive = cls(data, name)
        for member in _members(data, name):
            archive._add(member)
        archive._refuse_leaving_links()
        return archive

    def data(self, path: str, max_bytes: int = 4096) -> bytes | None:
        """Return the first bytes of a file, or None if there is none."""
        real = self._links.real(path)
        span = self._files.get(real) if real is not None else None
        return None if span is None else self._data[span[0] : min(span[1], span[0] + max_bytes)]

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder; none if there is no such folder."""
        real = self._links.real(path)
        return sorted(self._folders.get(real, ())) if real is not None else []

    def link(self, path: str) -> str | None:
        """Return where a symbolic link points, as written in it, or None if it is no link."""
        place = self._links.place(path)
        return self._targets.get(place) if place is not None else None

    def _add(self, member: _Member) -> None:
        path = self._path(member.name)
        if not path:
            return
        self._forget(path)
        if member.kind == _LINK:
            self._targets[path] = member.target
        elif member.kind == _HARD_LINK:
            span = self._files.get(self._path(member.target))
            if span is not None:
                self._files[path] = span
        elif member.kind == _FOLDER:
            self._folders.setdefault(path, set())
        else:
            self._files[path] = (member.start, member.end)
        self._note_folders_of(path)
        if len(self._files) + len(self._targets) + len(self._folders) > MAX_ENTRIES:
            raise InputError(
                f"{self._name} has more than {MAX_ENTRIES} files; a machine has fewer."
            )

    def _path(self, name: str) -> str:
        """Return a member's name as a path from the root of the archive."""
        path = name.rstrip("/")
        while path.startswith("./"):
            path = path[2:].lstrip("/")
        if name.startswith("/") or ".." in path.split("/"):
            raise InputError(
                f"{self._name} has a member {_shown(name)} that leads out of the archive; it is "
                "not read."
            )
        if len(path) > _MAX_PATH or path.count("/") >= _MAX_DEPTH:
            raise InputError(f"{self._name} has a path that is too long: {_shown(name)}.")
        return "" if path == "." else path

    def _forget(self, path: str) -> None:
        """Drop an earlier member of the same name: the last one counts."""
        self._files.pop(path, None)
        self._targets.pop(path, None)

    def _note_folders_of(self, path: str) -> None:
        """Enter a path in its folder, and that in its own, up to one that is known."""
        while path:
            folder, _, name = path.rpartition("/")
            is_known = folder in self._folders
            self._folders.setdefault(folder, set()).add(name)
            if is_known:
                return
            path = folder

    def _refuse_leaving_links(self) -> None:
        """Refuse symbolic links out of the tree: out of the only top folder, if there is one."""
        tops = self._folders[""]
        floor = 1 if len(tops) == 1 and next(iter(tops)) in self._folders else 0
        for path, target in self._targets.items():
            if target.startswith("/") or _leaves(path, target, floor):
                raise InputError(
                    f"{self._name} has a link {_shown(path)} to {_shown(target)}, out of the tree; "
                    "it is not read."
                )


def _leaves(path: str, target: str, floor: int) -> bool:
    depth = path.count("/")
    for part in target.split("/"):
        if part == "..":
            depth -= 1
            if depth < floor:
                return True
        elif part not in {"", "."}:
            depth += 1
    return False


def _members(data: bytes, name: str) -> Iterator[_Member]:
    """Yield the members in their order, with names and sizes that extra headers give."""
    at = 0
    long_name = long_target = None
    size_told: int | None = None
    while at + _BLOCK <= len(data):
        header = data[at : at + _BLOCK]
        if not header[0] and header.count(0) == _BLOCK:
            return
        kind, start = header[156:157], at + _BLOCK
        size = _size(header[124:136], header, name)
        if size_told is not None and kind not in {_PAX, _PAX_GLOBAL}:
            size = size_told
        if kind in {_LINK, _HARD_LINK, _FOLDER}:
            size = 0
        end = start + size
        if end > len(data):
            raise InputError(f"{name} ends in the middle of a file; it is truncated.")
        at = start + -(-size // _BLOCK) * _BLOCK
        if kind == _PAX:
            told = _pax(data[start:end])
            long_name, long_target = told.get("path"), told.get("linkpath")
            size_told = int(told["size"]) if told.get("size", "").isdecimal() else None
        elif kind == _GNU_NAME:
            long_name = _string(data[start:end])
        elif kind == _GNU_TARGET:
            long_target = _string(data[start:end])
        elif kind != _PAX_GLOBAL:
            own = _string(header[:100])
            # GNU's own header has times where POSIX's has the front of long names.
            if header[345] and header[257:263] == b"ustar\0":
                own = f"{_string(header[345:500])}/{own}"
            _refuse_special(kind, long_name or own, name)
            yield _Member(
                long_name or own, kind, long_target or _string(header[157:257]), start, end
            )
            long_name = long_target = size_told = None


def _refuse_special(kind: bytes, member: str, name: str) -> None:
    if kind in _FILES or kind in {_LINK, _HARD_LINK, _FOLDER}:
        return
    what = _SPECIAL.get(kind, f"of the kind {kind.decode('latin-1')!r}")
    raise InputError(
        f"{name} has a member {_shown(member)} that is {what}; expected files, folders and links."
    )


def _size(field: bytes, header: bytes, name: str) -> int:
    match = _OCTAL.fullmatch(field)
    # Sizes from 8 GiB up are written in base 256, far over what is read.
    if match is None or not _is_sound(header):
        raise InputError(f"{name} is damaged: a header in the archive makes no sense.")
    return int(match[1] or b"0", 8)


def _is_sound(header: bytes) -> bool:
    match = _OCTAL.fullmatch(header[_CHECKSUM])
    told = int(match[1] or b"0", 8) if match else -1
    return sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" ") == told


def _pax(data: bytes) -> dict[str, str]:
    """Read records such as ``27 path=some/long/name`` (the number is the record's length)."""
    found, at = {}, 0
    while at < len(data):
        number, _, _ = data[at : at + 12].partition(b" ")
        length = int(number) if number.isdigit() else 0
        if length <= 0:
            break
        key, _, value = data[at + len(number) + 1 : at + length - 1].partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        at += length
    return found


def _string(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _shown(text: str) -> str:
    """Write a stranger's path so that it cannot break the sentence."""
    return repr(text if len(text) <= 80 else f"{text[:79]}…")
