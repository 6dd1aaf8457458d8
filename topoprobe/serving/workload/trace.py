"""Request traces: the format is found out from the content, plain or gzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from topoprobe.errors import InputError
from topoprobe.serving.workload.azure import read_azure_row
from topoprobe.serving.workload.lengths import read_lengths_row
from topoprobe.serving.workload.mooncake import read_mooncake_row
from topoprobe.serving.workload.request import Lengths

_GZIP = b"\x1f\x8b"
_EXPECTED = (
    "an Azure CSV (TIMESTAMP,ContextTokens,GeneratedTokens), a Mooncake JSONL (timestamp, "
    "input_length, output_length) or a CSV of lengths (num_prefill_tokens,num_decode_tokens)"
)

Row = tuple[int | None, Lengths]
"""Time since any fixed instant in picoseconds, None where a trace has no times; and lengths."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of trace.

    Attributes
    ----------
    name : str
        How it is called.
    header : str or None
        How its first line begins, in lower case; None for formats without a header line.
    read_row : callable
        Reads one line; raises InputError with a clause that says what is wrong with it.
    """

    name: str
    header: str | None
    read_row: Callable[[str], Row]


FORMATS = (
    Format("azure", "timestamp,contexttokens,generatedtokens", read_azure_row),
    Format("lengths", "num_prefill_tokens,num_decode_tokens", read_lengths_row),
    Format("mooncake", None, read_mooncake_row),
)


@dataclass(frozen=True, slots=True)
class Trace:
    """What a trace file holds.

    Attributes
    ----------
    format : str
        ``azure``, ``mooncake`` or ``lengths``.
    lengths : tuple of Lengths
        One per request.
    arrivals_ps : tuple of int or None
        Times since the first request; None where the trace records lengths only.
    """

    format: str
    lengths: tuple[Lengths, ...]
    arrivals_ps: tuple[int, ...] | None


def read_trace(data: bytes, name: str = "the trace", *, limit: int | None = None) -> Trace:
    """Read a trace.

    Parameters
    ----------
    data : bytes
        The file, plain or gzip.
    name : str
        How error messages call it.
    limit : int or None
        Read only so many requests.

    Raises
    ------
    InputError
        If it is empty, in no known format, or a line of it is truncated, has lengths that cannot
        be believed, or goes back in time; the message names the line.
    """
    lines = _text(data, name).splitlines()
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise InputError(f"{name} is empty; expected {_EXPECTED}.")
    kind = _detect(numbered[0][1])
    if kind is None:
        raise InputError(f"{name} begins with {_shown(numbered[0][1])}; expected {_EXPECTED}.")
    rows = numbered if kind.header is None else numbered[1:]
    if not rows:
        raise InputError(f"{name} has a header and no requests; expected one line for each.")
    return _collect(kind, rows if limit is None else rows[:limit], name)


def _collect(kind: Format, rows: Iterable[tuple[int, str]], name: str) -> Trace:
    times: list[int] = []
    lengths = []
    for number, line in rows:
        try:
            time_ps, row_lengths = kind.read_row(line)
            if time_ps is not None:
                if times and time_ps < times[-1]:
                    raise InputError("it is earlier than the line before; sort the trace by time")
                times.append(time_ps)
        except InputError as error:
            raise InputError(f"{name}, line {number}: {error} ({_shown(line)}).") from error
        lengths.append(row_lengths)
    arrivals = tuple(time_ps - times[0] for time_ps in times) if times else None
    return Trace(format=kind.name, lengths=tuple(lengths), arrivals_ps=arrivals)


def _detect(first_line: str) -> Format | None:
    start = first_line.strip().lower().replace(" ", "")
    for kind in FORMATS:
        if start.startswith("{" if kind.header is None else kind.header):
            return kind
    return None


def _text(data: bytes, name: str) -> str:
    try:
        plain = gzip.decompress(data) if data.startswith(_GZIP) else data
        return plain.decode("utf-8-sig")
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{name} is a damaged gzip file: {error}; fetch it again.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not text; expected {_EXPECTED}.") from error


def _shown(line: str) -> str:
    short = line.strip()
    return repr(short if len(short) <= 60 else short[:57] + "...")
