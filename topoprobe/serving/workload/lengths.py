"""Files of lengths without times: ``num_prefill_tokens,num_decode_tokens`` and more columns."""

from __future__ import annotations

from topoprobe.errors import InputError
from topoprobe.serving.workload.azure import read_count
from topoprobe.serving.workload.request import Lengths, check_lengths


def read_lengths_row(line: str) -> tuple[None, Lengths]:
    """Read one line; columns after the second are derived ones and are not looked at.

    Raises
    ------
    InputError
        If it has not two fields, or one of them makes no sense.
    """
    fields = line.split(",")
    if len(fields) < 2:
        raise InputError("expected 2 fields or more and found 1; is the line truncated?")
    return None, check_lengths(read_count(fields[0]), read_count(fields[1]))
