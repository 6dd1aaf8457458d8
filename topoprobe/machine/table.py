"""Laying out tables and lists in the columns of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Column(NamedTuple):
    """A header and one cell for each row."""

    header: str
    cells: tuple[str, ...]

    @property
    def size(self) -> int:
        """Width, with the blank before it."""
        return 1 + max(len(self.header), *(len(cell) for cell in self.cells))


def clip(text: str, width: int) -> str:
    """Cut a line that is too long, and mark the cut; a name with line breaks stays one line."""
    text = " ".join(text.splitlines())
    return text if len(text) <= width else text[: max(width - 1, 0)].rstrip() + "…"


def draw_table(rows: Sequence[str], groups: Sequence[Sequence[Column]], width: int) -> list[str]:
    """Lay columns side by side, in blocks one below the other that repeat the names of the rows.

    A group of columns that does not fit beside the last one starts a new block; one that is wider
    than the terminal is split evenly.
    """
    margin = max(len(row) for row in rows)
    blocks: list[list[Column]] = [[]]
    for group in groups:
        for part in _parts(group, width - margin):
            beside = (*blocks[-1], *_apart(part))
            if sum(column.size for column in beside) <= width - margin or not blocks[-1]:
                blocks[-1] = list(beside if blocks[-1] else part)
            else:
                blocks.append(list(part))
    lines: list[str] = []
    for block in blocks:
        lines += ["", *_block(rows, block, margin, width)]
    return lines[1:]


def side_by_side(items: Sequence[str], width: int) -> list[str]:
    """Lay short lines in as many columns as fit, to be read downwards."""
    if not items:
        return []
    size = max(len(item) for item in items) + 3
    num_columns = max(1, (width + 3) // size)
    num_lines = -(-len(items) // num_columns)
    return [
        clip("".join(item.ljust(size) for item in items[line::num_lines]).rstrip(), width)
        for line in range(num_lines)
    ]


def _apart(part: Sequence[Column]) -> list[Column]:
    """Set the first of some columns off from what stands before it."""
    first, *rest = part
    cells = tuple(f" {cell}" for cell in first.cells)
    return [Column(f" {first.header}", cells), *rest]


def _parts(group: Sequence[Column], room: int) -> Iterator[Sequence[Column]]:
    """Split columns evenly into as few parts as fit."""
    if not group:
        return
    total = sum(column.size for column in group)
    widest = max(column.size for column in group)
    num_parts = -(-total // max(room, 1))
    # Columns differ in width, so that even parts may not fit at first.
    while True:
        length = -(-len(group) // num_parts)
        parts = [group[at : at + length] for at in range(0, len(group), length)]
        if length == 1 or all(sum(c.size for c in part) <= max(room, widest) for part in parts):
            yield from parts
            return
        num_parts += 1


def _block(rows: Sequence[str], columns: Sequence[Column], margin: int, width: int) -> list[str]:
    heads = (column.header.ljust(column.size - 1) for column in columns)
    lines = [" ".join((" " * margin, *heads))]
    for index, row in enumerate(rows):
        cells = (column.cells[index].ljust(column.size - 1) for column in columns)
        lines.append(" ".join((row.ljust(margin), *cells)))
    return [clip(line.rstrip(), width) for line in lines]
