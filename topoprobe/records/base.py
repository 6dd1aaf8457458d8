"""What every record has in common, and the `Estimate` that every calibrated number is."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen record; fields that it does not know are refused.

    Subclasses repeat ``frozen=True, kw_only=True``: type checkers and msgspec ask for it.
    """


class Status(StrEnum):
    """What became of a measurement; everything but ``ok`` comes with a reason."""

    OK = "ok"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNSTABLE = "unstable"


class Source(StrEnum):
    """Where a number comes from: measured here, derived from measured ones, or printed nominal."""

    MEASURED = "measured"
    DERIVED = "derived"
    NOMINAL = "nominal"


class Estimate(Record, frozen=True, kw_only=True):
    """A number with its 95 % interval and its origin.

    Attributes
    ----------
    value : float
        The estimate, in the unit that the field holding it names.
    low, high : float
        A 95 % interval; equal to `value` where there is none (`has_interval`).
    source : Source
        Whether it was measured, derived or is nominal.
    n : int
        Number of samples behind it; 0 for a nominal number.
    evidence : str
        What it rests on: the experiment and its factors, or the document that states it.
    """

    value: float
    low: float
    high: float
    source: Source
    n: int
    evidence: str

    @property
    def has_interval(self) -> bool:
        """Whether `low` and `high` tell anything: not of a nominal number, nor of one sample."""
        return self.source is not Source.NOMINAL and self.n > 1


class Missing(Record, frozen=True, kw_only=True):
    """A number that could not be given, and why."""

    subject: str
    fact: str
    reason: str


class Tool(Record, frozen=True, kw_only=True):
    """The program that wrote a document."""

    name: str = "topoprobe"
    tool_version: str
    revision: str | None = None


class Verdict(Record, frozen=True, kw_only=True):
    """What a check found about one thing, the evidence, and what to do.

    Attributes
    ----------
    level : str
        ``OK``, ``WARN`` (worth knowing, or cannot be told from here), ``FAIL`` (costs speed or
        does not work, and can be mended).
    check : str
        Name of the check, as ``link-width``; the same for every subject.
    subject : str
        A node id, a link id, or ``host``.
    evidence : str
        What was read, in one sentence with its figures.
    fix : str or None
        What to do, and what it gains; None where nothing needs doing.
    """

    level: Literal["OK", "WARN", "FAIL"]
    check: str
    subject: str
    evidence: str
    fix: str | None = None


class Change(Record, frozen=True, kw_only=True):
    """One figure of two documents of the same kind, side by side.

    Attributes
    ----------
    name : str
        What it is, as ``gpu@0000:1b:00.0 nominal link bandwidth``.
    before, after : str, int, float or None
        None where that document does not tell.
    ratio : float or None
        After by before, for numbers above zero.
    verdict : str
        ``incomparable`` if neither is better, or one of them is not known.
    unit : str or None
        Of numbers that are no counts, as ``bytes_per_s``.
    reason : str or None
        Why it is incomparable, where that is not plain.
    """

    name: str
    before: str | int | float | None
    after: str | int | float | None
    ratio: float | None
    verdict: Literal["same", "better", "worse", "incomparable"]
    unit: str | None = None
    reason: str | None = None
