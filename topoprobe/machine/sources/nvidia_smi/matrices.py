"""The square tables that `nvidia-smi topo` prints, also as they look after copying and pasting.

A terminal may have wrapped the lines, fused two columns at its right margin (``NIC11NIC12``,
``NODENODE``, ``PH0-115``), or turned tabs into blanks; a person may have quoted, indented or cut
the text. Cells are told by their words. Which device a column belongs to is told by the header and
by the rows themselves: each has its X in the column of its own name.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_NAME = r"[A-Za-z]\w*?\d\w*"
_FUSED_NAMES = re.compile(r"(?:GPU|NIC|IB)\d+|mlx\d+_(?:bond_)?\d+")
_TITLE = re.compile(r"(CPU)\s*Affinity|(GPU)\s*NUMA\s*ID|(NUMA)(?:\s*Affinity)?")
_HEADER_WORDS = ("CPU", "Affinity", "NUMA", "GPU", "ID", "NIC", "mlx5_bond_")
_QUOTE = re.compile(r"[ \t]*(?:>[ \t]?)+")
_CONTINUATION = re.compile(r"[A-Z0-9#/,\- \t]*[A-Z0-9][A-Z0-9#/,\- \t]*")
_NUMBER_AT_END = re.compile(r"(?:NV)?\d[\d,-]*\Z")
_OTHER_WORD = re.compile(r"[A-Z][A-Z0-9]*")


class Words:
    """The words that the cells of one kind of table hold.

    Parameters
    ----------
    known : str
        A regular expression of them all.
    torn : mapping
        What words become that have lost their last letters, and what they were.
    devices : str
        A regular expression of the names that rows can have.
    """

    def __init__(self, known: str, torn: Mapping[str, str], devices: str = _NAME) -> None:
        # What is longer goes first, so that NOD is not taken for NO.
        either = "|".join((known, *sorted(torn, key=len, reverse=True)))
        self._torn = torn
        self._devices = re.compile(devices)
        self._known = re.compile(known)
        self._piece = re.compile(either)
        self._fused = re.compile(rf"((?:{either})+)(\d[\d,-]*)?")

    def is_device(self, token: str) -> bool:
        """Tell whether a row may have this name; what is left of a cell has none."""
        is_cell = self.is_known(token) or self.is_known(f"N{token}")
        return self._devices.fullmatch(token) is not None and not is_cell

    def is_known(self, token: str) -> bool:
        """Tell whether this is one of the words."""
        return self._known.fullmatch(token) is not None

    def split(self, token: str) -> tuple[tuple[str | None, ...], str] | None:
        """Split a token into cells and the number fused to them; None if it holds no cell.

        A word that ends in a number and touches the next may have lost digits: it is not told.
        """
        if self.is_known(token):
            return (token,), ""
        match = self._fused.fullmatch(token)
        if match is None:
            return ((token,), "") if _OTHER_WORD.fullmatch(token) else None
        pieces = self._piece.findall(match[1])
        *inner, last = (self._torn.get(piece, piece) for piece in pieces)
        told = (None if word[-1].isdigit() else word for word in inner)
        return (*told, last), match[2] or ""


class Row(NamedTuple):
    """One device's line of the table.

    Attributes
    ----------
    name : str
        The device.
    cells : tuple of str or None
        Words, one per column; None where one cannot be told.
    rest : tuple of str
        What stands right of them; empty cells are among it where tabs tell of them.
    is_wrapped : bool
        Whether it was put together from several lines.
    """

    name: str
    cells: tuple[str | None, ...]
    rest: tuple[str, ...]
    is_wrapped: bool


class Matrix(NamedTuple):
    """A table.

    Attributes
    ----------
    columns : tuple of str or None
        The device of each column; None where nothing tells.
    titles : tuple of str
        First words of the headings right of the columns: CPU, NUMA (affinity), GPU (NUMA ID).
    rows : tuple of Row
        Those that can be read.
    damaged : tuple of (str, str)
        Names of the rows that cannot, and why.
    before : str
        The text between the table before and this one.
    """

    columns: tuple[str | None, ...]
    titles: tuple[str, ...]
    rows: tuple[Row, ...]
    damaged: tuple[tuple[str, str], ...]
    before: str

    def devices(self) -> tuple[str, ...]:
        """Return all devices, in the order of the columns."""
        named = (*(c for c in self.columns if c), *(r.name for r in self.rows))
        return tuple(dict.fromkeys((*named, *(name for name, _ in self.damaged))))

    def missing_rows(self) -> tuple[str, ...]:
        """Return the devices that have a column and no row at all."""
        there = {r.name for r in self.rows} | {name for name, _ in self.damaged}
        return tuple(c for c in self.columns if c and c not in there)

    def is_complete(self) -> bool:
        """Tell whether every column has its row and every row was read."""
        return not self.damaged and not self.missing_rows() and None not in self.columns

    def words(self) -> Iterator[tuple[str, str, str]]:
        """Give row, column and word of each cell that can be told, without the diagonal."""
        for row in self.rows:
            for column, word in zip(self.columns, row.cells, strict=True):
                if column is not None and word is not None and column != row.name:
                    yield row.name, column, word


def find_matrices(text: str, words: Words) -> list[Matrix]:
    """Find all tables of one kind that have rows of GPUs."""
    return [
        _understood(block, words)
        for block in _blocks(_without_torn_end(text), words)
        if any(name.startswith("GPU") for name in block.names)
    ]


def _without_torn_end(text: str) -> str:
    """Leave out a number at the very end that may have lost digits: nothing closes its line."""
    match = _NUMBER_AT_END.search(text)
    if match is None or re.search(rf"(?<!\S){re.escape(match[0])}\s", text):
        return text
    return text[: match.start()]


class _Block:
    """The lines of one table, not understood yet."""

    def __init__(self, before: Sequence[str]) -> None:
        self.before = before
        self.header: list[str] = []
        self.rows: list[list[str]] = []
        self.names: set[str] = set()


def _blocks(text: str, words: Words) -> Iterator[_Block]:
    """Give the tables of a text, from header to header or from name to the same name."""
    block = _Block(())
    between: list[str] = []
    unfinished: list[str] = []
    for raw in text.split("\n"):
        quote = _QUOTE.match(raw)
        line = (raw[quote.end() :] if quote else raw).replace("|", " ")
        name = _row_name(line, words)
        is_header = name is None and _is_header(line)
        is_in_header = is_header and bool(unfinished) and unfinished is block.header
        is_top = is_header and not is_in_header and _names_gpus(line)
        if name in block.names or (is_top and (block.rows or not block.header)):
            if block.rows:
                yield block
            block, between = _Block(between), []
        if name is not None:
            block.names.add(name)
            unfinished = [line]
            block.rows.append(unfinished)
        elif is_top:
            block.header = unfinished = [line]
        elif is_in_header or (unfinished is not block.header and _continues(unfinished, line)):
            unfinished.append(line)
        else:
            unfinished = []
            between.append(line)
    yield block


def _continues(lines: Sequence[str], line: str) -> bool:
    return bool(lines) and _CONTINUATION.fullmatch(line) is not None


def _names_gpus(line: str) -> bool:
    return any(name.startswith("GPU") for name in _names_in(line))


def _row_name(line: str, words: Words) -> str | None:
    """Return the device whose row begins here: its name, then cells."""
    tokens = line.split()
    if len(tokens) < 2 or not words.is_device(tokens[0]) or words.split(tokens[1]) is None:
        return None
    return tokens[0] if any(words.is_known(token) for token in tokens[1:]) else None


def _is_header(line: str) -> bool:
    """Tell whether a line holds nothing but (pieces of) names of devices and titles."""
    tokens = line.split()
    if len(tokens) > 1 and tokens[0].isdecimal():
        del tokens[0]  # wrapping has cut the number off a name
    return bool(tokens) and all(
        re.fullmatch(_NAME, token) or any(token in word for word in _HEADER_WORDS)
        for token in tokens
    )


def _names_in(header: str) -> Iterator[str]:
    for token in _TITLE.sub(" ", header).split():
        fused = _FUSED_NAMES.findall(token)
        if "".join(fused) == token:
            yield from fused
        elif re.fullmatch(_NAME, token):
            yield token


def _understood(block: _Block, words: Words) -> Matrix:
    width = max(_width(line) for lines in (block.header, *block.rows) for line in lines)
    header = _joined(block.header, width, words)
    rows = [_row(lines, width, words) for lines in block.rows]
    columns = _columns(tuple(_names_in(header)), rows)
    # Where the header names all columns, a line of something else is no row of this table.
    is_whole = None not in columns
    faults = [(row.name, _fault(row, columns)) for row in rows]
    return Matrix(
        columns=columns,
        titles=tuple(title[title.lastindex or 0] for title in _TITLE.finditer(header)),
        rows=tuple(r for r, (_, fault) in zip(rows, faults, strict=True) if fault is None),
        damaged=tuple(
            (name, fault)
            for name, fault in faults
            if fault is not None and not (is_whole and name not in columns)
        ),
        before="\n".join(block.before),
    )


def _width(line: str) -> int:
    return len(line.expandtabs())


def _joined(lines: Sequence[str], width: int, words: Words) -> str:
    """Undo wrapping: a line that reaches the right margin may have been cut inside a word."""
    text = lines[0] if lines else ""
    for upper, lower in itertools.pairwise(lines):
        last, first = upper.split()[-1], lower.split()[0]
        is_cut = _width(upper) >= width and not (words.is_known(last) and words.is_known(first))
        text += lower if is_cut else f" {lower}"
    return text


def _row(lines: Sequence[str], width: int, words: Words) -> Row:
    text = _joined(lines, width, words).strip(" ")
    tokens = [token.strip() for token in text.split("\t")]
    if len(lines) > 1 or any(" " in token for token in tokens):
        tokens = text.split()
    name, *tokens = (token for place, token in enumerate(tokens) if token or place)
    cells: list[str | None] = []
    rest: list[str] = []
    for place, token in enumerate(tokens):
        split = words.split(token)
        if split is None:
            rest += tokens[place:]
            break
        cells += split[0]
        if split[1]:
            rest += (split[1], *tokens[place + 1 :])
            break
    return Row(name, tuple(cells), tuple(rest), len(lines) > 1)


def _columns(names: tuple[str, ...], rows: Sequence[Row]) -> tuple[str | None, ...]:
    """Tell the device of each column, by the header if it fits, or else by the rows' X."""
    is_distinct = len(set(names)) == len(names)
    listed = [row for row in rows if row.name in names]
    if is_distinct and listed and _usual_length(listed) == len(names):
        rows = listed  # others are lines of something else
    counts = {len(row.cells) for row in rows}
    num_columns = len(names) if len(names) in counts else _usual_length(rows)
    by_self = {
        row.cells.index("X"): row.name
        for row in rows
        if len(row.cells) == num_columns and row.cells.count("X") == 1
    }
    is_clean = len(names) >= num_columns and is_distinct
    agreeing = sum(is_clean and names[place] == name for place, name in by_self.items())
    if is_clean and 2 * agreeing >= len(by_self):
        return names[:num_columns]
    return tuple(by_self.get(place) for place in range(num_columns))


def _usual_length(rows: Sequence[Row]) -> int:
    counts = Counter(len(row.cells) for row in rows)
    return max(counts, key=lambda length: (counts[length], length))


def _fault(row: Row, columns: Sequence[str | None]) -> str | None:
    """Say why a row cannot be read, or None if it can."""
    if len(row.cells) != len(columns):
        return f"It has {len(row.cells)} cells below {len(columns)} columns."
    own = [place for place, name in enumerate(columns) if name == row.name]
    if [place for place, word in enumerate(row.cells) if word == "X"] != own:
        return "Its X does not stand in its own column."
    return None
