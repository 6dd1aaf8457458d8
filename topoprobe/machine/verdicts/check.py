"""What a check is, and its three kinds of answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from topoprobe.machine.view import Machine
from topoprobe.records.base import Verdict


class Check(NamedTuple):
    """One question to a machine.

    Attributes
    ----------
    name : str
        As in ``link-width``; part of the output that scripts read.
    all_well : str
        What several OKs say together, after their number: ``links run …``.
    judge : callable
        Yields verdicts; none where there is nothing to ask about. Evidence is about the subject
        and does not repeat its name.
    """

    name: str
    all_well: str
    judge: Callable[[Machine], Iterator[Verdict]]


def ok(check: str, subject: str, evidence: str) -> Verdict:
    """Say that something is as it should be, or why it cannot be judged and need not be."""
    return Verdict(level="OK", check=check, subject=subject, evidence=evidence)


def warn(check: str, subject: str, evidence: str, fix: str) -> Verdict:
    """Say that something deserves a look."""
    return Verdict(level="WARN", check=check, subject=subject, evidence=evidence, fix=fix)


def fail(check: str, subject: str, evidence: str, fix: str) -> Verdict:
    """Say that something costs speed or does not work, and can be mended."""
    return Verdict(level="FAIL", check=check, subject=subject, evidence=evidence, fix=fix)
