"""Cutting a text into functions: a line with an address, and the lines that belong to it."""

from __future__ import annotations

import re
from typing import NamedTuple

from topoprobe.errors import InputError
from topoprobe.machine.addresses import normal_address, sort_key
from topoprobe.machine.sources.lspci.words import Identity, identify
from topoprobe.records.base import Missing

# Quoted and indented pastes count too.
_MARGIN = " \t>"
# As many as one PCI domain can address; real servers have some hundreds.
_MAX_FUNCTIONS = 65_536
_FUNCTION = re.compile(
    r"((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7])\s+(\S.*)", re.IGNORECASE
)
_CUT_FUNCTION = re.compile(r"([0-9a-f:]{0,14}\.[0-7])\s+(\S.*)", re.IGNORECASE)
_LINE_WITH_ADDRESS = re.compile(r"(?:\A|\n)[ \t>]*" + _FUNCTION.pattern, re.IGNORECASE)
_CUT_NUMBER = re.compile(r"(?!Kernel|[0-9a-f]+:).*\d$", re.IGNORECASE)
# Every function has one line like these (the second with a single -v).
_ONCE = re.compile(r"Control: I/O|Flags: .*devsel")


class Block(NamedTuple):
    """A function and its lines, without their indentation."""

    address: str
    identity: Identity
    lines: list[str]


class Blocks(NamedTuple):
    """The functions of a text, and what of it cannot be used."""

    functions: list[Block]
    unknown: tuple[Missing, ...]


def holds_functions(text: str) -> bool:
    """Tell whether any line of a text tells a function apart."""
    return any(identify(match[2]) for match in _LINE_WITH_ADDRESS.finditer(text))


def split(text: str) -> Blocks:
    """Cut a text into functions.

    A blank line ends a function, and so does every line with an address. Lines that follow none,
    because the text was cut there, are left out, and so is a last line that may have been cut
    inside a number.

    Raises
    ------
    InputError
        If there are more functions than a machine can have.
    """
    functions: list[Block] = []
    current: Block | None = None
    num_lost = 0
    lines, unknown = _with_whole_start([line.strip(_MARGIN) for line in text.split("\n")])
    if _CUT_NUMBER.match(lines[-1]):
        lines.pop()
    for line in lines:
        match = _FUNCTION.match(line)
        if match is not None:
            current = _begin(match[1], match[2])
            if current is not None:
                functions.append(current)
            if len(functions) > _MAX_FUNCTIONS:
                raise InputError(
                    f"The text lists over {_MAX_FUNCTIONS} PCI functions, more than any machine "
                    "has; is it really lspci's?"
                )
        elif not line:
            current = None
        elif _ONCE.match(line) and (current is None or _is_begun(current)):
            current = None
            num_lost += 1
        elif current is not None:
            current.lines.append(line)
    if num_lost:
        reason = f"Functions left out, as the text lacks the line with their address: {num_lost}."
        unknown.append(Missing(subject="host", fact="functions", reason=reason))
    return Blocks(functions, tuple(unknown))


def _begin(address: str, line: str) -> Block | None:
    normal, identity = normal_address(address), identify(line)
    return Block(normal, identity, []) if normal and identity else None


def _is_begun(block: Block) -> bool:
    return any(_ONCE.match(line) for line in block.lines)


def _with_whole_start(lines: list[str]) -> tuple[list[str], list[Missing]]:
    """Complete an address whose first characters were cut off with the text's beginning.

    `lspci` sorts by address, so what is missing is what the next address begins with.
    """
    first = next((i for i, line in enumerate(lines) if line), len(lines))
    match = _CUT_FUNCTION.match(lines[first]) if first < len(lines) else None
    if match is None or identify(match[2]) is None:
        return lines, []
    others = (_FUNCTION.match(line) for line in lines[first + 1 :])
    following = next((other[1] for other in others if other), "")
    if len(match[1]) >= len(following):
        return lines, []
    whole = following[: -len(match[1])] + match[1]
    address, after = normal_address(whole), normal_address(following)
    if address is None or after is None or sort_key(address) >= sort_key(after):
        return lines, []
    reason = f"The text begins inside an address: {match[1]!r} is read as {whole!r}."
    completed = [*lines[:first], f"{whole} {match[2]}", *lines[first + 1 :]]
    return completed, [Missing(subject=address, fact="address", reason=reason)]
