"""Verdicts for people: a screen that begins with what to do, and a block for a bug report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

from topoprobe.machine.findings import summary
from topoprobe.machine.verdicts import ALL_WELL
from topoprobe.machine.verdicts.grouping import Group, grouped, sentence
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import Names, count, printable
from topoprobe.records.base import Verdict

_INDENT = 20
# What names a board, a card or a person's network: UUIDs, MAC addresses and GUIDs.
_PRIVATE = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b"
    r"|\b([0-9a-f]{4}:){3}[0-9a-f]{4}\b",
    re.IGNORECASE,
)


def screen(machine: Machine, verdicts: Sequence[Verdict], width: int, *, are_all: bool) -> str:
    """Write verdicts for a terminal.

    Parameters
    ----------
    machine : Machine
        What they are about.
    verdicts : sequence of Verdict
        What fails first.
    width : int
        Columns.
    are_all : bool
        Whether to write every OK, and not one line for each check.
    """
    lines = [*wrap(_headline(verdicts), width), ""]
    for level, check, said, fix in _rows(machine, verdicts, are_all=are_all):
        label = f"{level:<4} {check:<14} "
        lines += _item(label, said, width)
        lines += _item(" " * _INDENT, f"→ {fix}", width) if fix else []
    return printable("\n".join(lines)) + "\n"


def markdown(machine: Machine, verdicts: Sequence[Verdict], versions: Sequence[str]) -> str:
    """Write verdicts, the machine and versions to paste into a bug report; nothing private."""
    lines = [
        f"**topoprobe doctor**: {_headline(verdicts)}",
        "",
        "| level | check | found | fix |",
        "| --- | --- | --- | --- |",
    ]
    for level, check, said, fix in _rows(machine, verdicts, are_all=False):
        cells = (level, check, _cell(machine, said), _cell(machine, fix or ""))
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {_cell(machine, fact)}" for fact in _about(machine)), ""]
    lines += [f"- {_cell(machine, version)}" for version in versions]
    return printable("\n".join(lines)) + "\n"


def _headline(verdicts: Sequence[Verdict]) -> str:
    groups = grouped(verdicts)
    fails = [group for group in groups if group.level == "FAIL"]
    warns = [group for group in groups if group.level == "WARN"]
    fine = {v.check for v in verdicts} - {group.check for group in (*fails, *warns)}
    rest = f"{count(len(fine), 'check')} found no fault"
    if not fails and not warns:
        return f"Nothing to mend: {rest}."
    parts = [f"{count(len(fails), 'thing')} to mend"] if fails else []
    parts += [f"{count(len(warns), 'thing')} to look at"] if warns else []
    return f"{', '.join(parts)}; {rest}." if fine else f"{', '.join(parts)}."


def _rows(
    machine: Machine, verdicts: Sequence[Verdict], *, are_all: bool
) -> Iterator[tuple[str, str, str, str | None]]:
    """Yield level, check, sentence and fix of each finding, then of what is well."""
    names = Names(machine)
    well: dict[str, list[Group]] = {}
    for group in grouped(verdicts):
        if group.level == "OK" and not are_all:
            well.setdefault(group.check, []).append(group)
        else:
            yield group.level, group.check, sentence(group, names), group.fix
    for check, groups in well.items():
        yield "OK", check, _well(check, groups, names), None


def _well(check: str, groups: Sequence[Group], names: Names) -> str:
    """Say in one line what is well: devices by their number, the host in its own words."""
    devices = [group for group in groups if group.subjects != ("host",)]
    host = [group.evidence for group in groups if group.subjects == ("host",)]
    number = sum(len(group.subjects) for group in devices)
    if len(devices) > 1:
        return " ".join([f"{number} {ALL_WELL[check]}.", *host])
    return " ".join([*(sentence(group, names) for group in devices), *host])


def _item(label: str, text: str, width: int) -> list[str]:
    return wrap(
        text,
        max(width, _INDENT + 20),
        initial_indent=label,
        subsequent_indent=" " * _INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _about(machine: Machine) -> Iterator[str]:
    document, host = machine.document, machine.host
    yield summary(machine)
    if host is not None:
        by = f" ({host.virtualization})" if host.virtualization else ""
        kind = f"virtual machine{by}" if host.is_virtual else ""
        facts = (
            host.product,
            host.operating_system,
            kind,
            "container" if host.is_container else "",
        )
        yield ", ".join(fact for fact in facts if fact) or "no word on the host"
    kinds = dict.fromkeys(source.partition(" ")[0] for source in document.sources)
    yield f"{document.origin}, from {', '.join(kinds)}"


def _cell(machine: Machine, text: str) -> str:
    """Make text safe for a table cell and for strangers' eyes."""
    for source in machine.document.sources:
        text = text.replace(source, source.partition(" ")[0])  # the rest is a file's name
    if machine.host is not None and len(machine.host.name) > 1:
        text = re.sub(rf"\b{re.escape(machine.host.name)}\b", "(this host)", text)
    text = _PRIVATE.sub("(withheld)", text)
    for mark in ("\\", "|", "<", "`", "*", "_"):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
