"""Azure LLM inference traces: ``TIMESTAMP,ContextTokens,GeneratedTokens``.

References
----------
[patel2024] Splitwise, whose authors published the traces (AzurePublicDataset).
"""

from __future__ import annotations

import re
from datetime import datetime

from topoprobe.errors import InputError
from topoprobe.serving.workload.request import Lengths, check_lengths
from topoprobe.units import PS_PER_S

# Wall time with up to picoseconds; later releases of the traces append the offset from UTC.
_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?(?:Z|\+00:?00)?", re.ASCII
)
_COUNT = re.compile(r"-?\d{1,18}", re.ASCII)
_EPOCH = datetime(2000, 1, 1)


def read_azure_row(line: str) -> tuple[int, Lengths]:
    """Read one line: its time since an arbitrary instant in picoseconds, and its lengths.

    Raises
    ------
    InputError
        If it has not three fields, or one of them makes no sense.
    """
    fields = line.split(",")
    if len(fields) != 3:
        raise InputError(f"expected 3 fields and found {len(fields)}; is the line truncated?")
    return _time_ps(fields[0].strip()), check_lengths(read_count(fields[1]), read_count(fields[2]))


def read_count(text: str) -> int:
    """Read a whole number of tokens.

    Raises
    ------
    InputError
        If the text is none.
    """
    if _COUNT.fullmatch(text.strip()) is None:
        raise InputError(f"found {text.strip()!r}; expected a whole number of tokens")
    return int(text)


def _time_ps(text: str) -> int:
    match = _TIMESTAMP.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        since = datetime.fromisoformat(f"{match[1]} {match[2]}") - _EPOCH
    except ValueError as error:
        raise InputError(
            f"found the time {text!r}; expected one such as 2023-11-16 18:15:46.6805900"
        ) from error
    seconds = since.days * 86_400 + since.seconds
    return seconds * PS_PER_S + int((match[3] or "0").ljust(12, "0"))
