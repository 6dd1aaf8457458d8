"""Readings that cannot be true together, each with what was done about it."""

from __future__ import annotations

from collections.abc import Iterator

from topoprobe.machine.verdicts.check import Check, warn
from topoprobe.machine.view import Machine
from topoprobe.machine.wording import words_of
from topoprobe.records.base import Verdict

NAME = "contradictions"


def judge(machine: Machine) -> Iterator[Verdict]:
    """Pass on the document's contradictions."""
    names = {node.id: node.name for node in machine.document.nodes}
    for found in machine.document.contradictions:
        # A NIC is called by its port.
        fact = words_of(found.fact.removesuffix(f" of {names.get(found.subject)}"))
        begin = "There are" if found.subject == "host" else "Has"
        evidence = f"{begin} doubtful readings of {fact}: {' / '.join(found.readings)}."
        yield warn(NAME, found.subject, evidence, found.meaning)


CHECK = Check(NAME, "readings agree", judge)
