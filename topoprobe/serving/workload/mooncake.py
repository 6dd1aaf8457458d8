"""Mooncake traces: one JSON object per line, times in milliseconds.

References
----------
[qin2025] Mooncake, whose authors published the traces.
"""

from __future__ import annotations

import math

import msgspec

from topoprobe.errors import InputError
from topoprobe.serving.workload.request import Lengths, check_lengths

_PS_PER_MS = 10**9


class _Row(msgspec.Struct):
    """The fields that are read; prefix hashes and whatever else is there are not."""

    timestamp: int | float
    input_length: int
    output_length: int


_DECODER = msgspec.json.Decoder(_Row)


def read_mooncake_row(line: str) -> tuple[int, Lengths]:
    """Read one line: its time in picoseconds, and its lengths.

    Raises
    ------
    InputError
        If it is no JSON object with these fields, or one of them makes no sense.
    """
    try:
        row = _DECODER.decode(line)
    except msgspec.DecodeError as error:
        raise InputError(f"it is no request: {error}; is the line truncated?") from error
    if not (math.isfinite(row.timestamp) and row.timestamp >= 0):
        raise InputError(f"found the timestamp {row.timestamp}; expected milliseconds from 0 up")
    return round(row.timestamp * _PS_PER_MS), check_lengths(row.input_length, row.output_length)
