"""The grammar of made-up machines: text in, a tree of items out."""

from __future__ import annotations

import re
from typing import NamedTuple

from topoprobe.errors import InputError

CONTENTS: dict[str, tuple[str, ...]] = {
    "machine": ("socket", "numa", "root", "switch", "gpu", "nic", "nvme", "nvswitch"),
    "socket": ("numa", "root", "switch", "gpu", "nic", "nvme", "nvswitch"),
    "numa": ("root", "switch", "gpu", "nic", "nvme", "nvswitch"),
    "root": ("switch", "gpu", "nic", "nvme", "nvswitch"),
    "switch": ("switch", "gpu", "nic", "nvme", "nvswitch"),
}
KINDS = CONTENTS["machine"]
# A machine has hundreds of parts, and as many pairs as their square.
MAX_PARTS = 1000
_MAX_DEPTH = 16
_MAX_LENGTH = 4096

_PLURALS = {f"{kind}{'es' if kind.endswith('ch') else 's'}": kind for kind in KINDS}
_WORDS = {kind: kind for kind in KINDS} | _PLURALS
_TOKEN = re.compile(r"\s*(?:(?P<number>[0-9]+)|(?P<word>[A-Za-z]+)|(?P<mark>\S)|$)")
_KIND_ALONE = re.compile(rf"(?<![\w./-])(?:{'|'.join(_WORDS)})(?![\w./-])", re.IGNORECASE)


class Attribute(NamedTuple):
    """A word between parentheses, lower case, and where it stands."""

    text: str
    position: int


class Item(NamedTuple):
    """One kind of thing, how many of it, and what stands in or below each."""

    kind: str
    number: int
    attributes: tuple[Attribute, ...]
    children: tuple[Item, ...]
    position: int


def is_meant(text: str) -> bool:
    """Tell whether somebody meant this text as a machine, and no path: it names a kind."""
    return "/" not in text and _KIND_ALONE.search(text) is not None


def parse(text: str) -> tuple[Item, ...]:
    """Read the text of a machine.

    Raises
    ------
    InputError
        At the first mistake, with its position and what was expected there.
    """
    if len(text) > _MAX_LENGTH:
        raise InputError(
            f"The text of a machine has {len(text)} characters; expected at most {_MAX_LENGTH}."
        )
    items = _Parser(text).parse()
    num_parts = _num_parts(items)
    if num_parts > MAX_PARTS:
        raise InputError(f"The machine would have {num_parts} parts; expected at most {MAX_PARTS}.")
    return items


def mistake(position: int, found: str, expected: str) -> InputError:
    """Return the error for what stands at a position of the text."""
    return InputError(
        f"The text of a machine has {found} at position {position + 1}; expected {expected}."
    )


class _Parser:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def parse(self) -> tuple[Item, ...]:
        items = self._list("machine", 0)
        if self._peek() is not None:
            raise self._mistake('"," or the end')
        return items

    def _list(self, inside: str, depth: int) -> tuple[Item, ...]:
        if depth > _MAX_DEPTH:
            raise self._mistake(f"at most {_MAX_DEPTH} levels")
        items = self._item(inside, depth)
        while self._peek() == ",":
            self._take()
            items += self._item(inside, depth)
        return items

    def _item(self, inside: str, depth: int) -> tuple[Item, ...]:
        count = 1
        if (self._peek() or "").isdecimal():
            count = self._count()
        if self._peek() == "[":
            self._take()
            grouped = self._list(inside, depth + 1)
            self._expect("]")
            if len(grouped) * count > MAX_PARTS:
                raise self._mistake(f"at most {MAX_PARTS} parts before it")
            return grouped * count
        position = self._skip()
        kind = _WORDS.get((self._peek() or "").lower())
        if kind is None:
            raise self._mistake(f"a number or one of {', '.join(CONTENTS[inside])}")
        if kind not in CONTENTS[inside]:
            raise self._mistake(
                f"what can stand in a {inside}: {', '.join(CONTENTS[inside])} (brackets, as in "
                f"[{inside}: …], end what is in it)"
            )
        self._take()
        attributes = self._attributes() if self._peek() == "(" else ()
        children: tuple[Item, ...] = ()
        if self._peek() == ":":
            if kind not in CONTENTS:
                raise self._mistake(f"nothing below a {kind}")
            self._take()
            children = self._list(kind, depth + 1)
        return (Item(kind, count, attributes, children, position),)

    def _count(self) -> int:
        digits = self._peek() or ""
        if len(digits) > 4 or not 1 <= int(digits) <= MAX_PARTS:
            raise self._mistake(f"a number from 1 to {MAX_PARTS}")
        self._take()
        return int(digits)

    def _attributes(self) -> tuple[Attribute, ...]:
        self._expect("(")
        end = self._text.find(")", self._position)
        if end < 0:
            self._position = len(self._text)
            raise self._mistake('")"')
        words = re.compile(r"[^\s,]+").finditer(self._text, self._position, end)
        found = tuple(Attribute(word[0].lower(), word.start()) for word in words)
        self._position = end + 1
        return found

    def _expect(self, mark: str) -> None:
        if self._peek() != mark:
            raise self._mistake(f'"{mark}"')
        self._take()

    def _peek(self) -> str | None:
        match = _TOKEN.match(self._text, self._position)
        return match[match.lastgroup] if match and match.lastgroup else None

    def _take(self) -> None:
        match = _TOKEN.match(self._text, self._position)
        self._position = match.end() if match else len(self._text)

    def _skip(self) -> int:
        """Return where the next token starts."""
        rest = self._text[self._position :]
        return self._position + len(rest) - len(rest.lstrip())

    def _mistake(self, expected: str) -> InputError:
        found = self._peek()
        return mistake(self._skip(), "its end" if found is None else repr(found), expected)


def _num_parts(items: tuple[Item, ...]) -> int:
    return sum(item.number * (1 + _num_parts(item.children)) for item in items)
