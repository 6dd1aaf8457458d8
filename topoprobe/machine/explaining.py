"""The whole of a scan for people: findings, tree, matrix, contradictions, and what is unknown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

from topoprobe.machine.addresses import format_cpu_list
from topoprobe.machine.drawing import draw_tree
from topoprobe.machine.fabrics import draw_fabrics
from topoprobe.machine.findings import findings
from topoprobe.machine.matrix import draw_matrix
from topoprobe.machine.table import clip
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import printable, words_of
from topoprobe.records.machine import MachineDocument

_MOST_SUBJECTS = 3
_NUMBERS = re.compile(r"\([0-9]+,( [0-9]+(, [0-9]+)*)?\)")


def explain(document: MachineDocument, width: int) -> str:
    """Write a machine for a terminal of so many columns."""
    machine = Machine(document)
    parts = [
        _paragraphs(findings(machine), width),
        draw_tree(machine, width),
        draw_matrix(machine, width),
        draw_fabrics(machine, width),
        "\n".join(_contradictions(document, width)),
        "\n".join(_unknown(document, width)),
        f"Sources: {', '.join(document.sources)}"
        + (f", read {document.captured_at}." if document.captured_at else "."),
    ]
    return printable("\n\n".join(part for part in parts if part)) + "\n"


def _paragraphs(sentences: Sequence[str], width: int) -> str:
    return "\n".join(
        "\n".join(wrap(sentence, width, initial_indent="• ", subsequent_indent="  "))
        for sentence in sentences
    )


def _contradictions(document: MachineDocument, width: int) -> Iterator[str]:
    groups: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for found in document.contradictions:
        # The same mistake on many devices differs only in their addresses.
        shape = tuple(_reading(told.rpartition(": ")[2]) for told in found.readings)
        groups.setdefault((found.fact, found.meaning, shape), []).append(found.subject)
    if groups:
        yield "Contradictions"
    for (fact, meaning, shape), subjects in groups.items():
        yield from _item(
            f"{_listed(subjects)}: {words_of(fact)}: {' / '.join(shape)}. {meaning}", width
        )


def _reading(text: str) -> str:
    """Write a list of numbers as ranges: CPUs are many."""
    if not _NUMBERS.fullmatch(text):
        return text
    return format_cpu_list(tuple(map(int, text.strip("(,)").split(","))))


def _unknown(document: MachineDocument, width: int) -> Iterator[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for missing in document.unknown:
        groups.setdefault((missing.fact, missing.reason), []).append(missing.subject)
    if groups:
        yield "Unknown"
    for (fact, reason), subjects in groups.items():
        what = words_of(fact)
        yield from _item(f"{what} of {_listed(subjects)}: {reason}", width)


def _listed(subjects: Sequence[str]) -> str:
    if len(subjects) <= _MOST_SUBJECTS:
        return ", ".join(subjects)
    return f"{subjects[0]} and {len(subjects) - 1} more"


def _item(text: str, width: int) -> Iterator[str]:
    for line in wrap(text, width - 2, subsequent_indent="  ", break_on_hyphens=False):
        yield clip(f"  {line}", width)
