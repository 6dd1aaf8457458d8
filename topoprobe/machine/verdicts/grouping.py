"""Verdicts put together for people: the same finding on many devices is told once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from topoprobe.machine.wording import Names
from topoprobe.records.base import Verdict

_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}(:[0-9a-f]{2}\.[0-7])?")


class Group(NamedTuple):
    """Verdicts of one check that differ in their subjects (and addresses in the evidence) only."""

    level: str
    check: str
    subjects: tuple[str, ...]
    evidence: str
    fix: str | None


def grouped(verdicts: Iterable[Verdict]) -> list[Group]:
    """Put alike verdicts together, in the order of the first of each."""
    alike: dict[tuple[str, str, str, str | None], list[Verdict]] = {}
    for one in verdicts:
        key = (one.level, one.check, _without_addresses(one.evidence), one.fix)
        alike.setdefault(key, []).append(one)
    return [
        Group(
            level=level,
            check=check,
            subjects=tuple(dict.fromkeys(one.subject for one in members)),
            evidence=evidence if len(members) > 1 else members[0].evidence,
            fix=fix,
        )
        for (level, check, evidence, fix), members in alike.items()
    ]


def sentence(group: Group, names: Names) -> str:
    """Write what was found, as ``GPU 3 runs …`` or ``Each of GPUs 0-3 runs …``."""
    subject = names.each(group.subjects)
    if not subject:
        return group.evidence
    return f"{subject} {group.evidence[:1].lower()}{group.evidence[1:]}"


def _without_addresses(text: str) -> str:
    return _ADDRESS.sub("…", text)
