"""Conversions between SI base units in code and what people read.

Code and documents hold seconds, bytes, bytes per second, hertz, flop per second. Only this module
turns them into text (sizes in binary MiB/GiB, rates in decimal GB/s) and parses such text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from topoprobe.errors import InputError

PS_PER_S = 10**12

_BINARY = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_DECIMAL = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
_SIZE_UNITS = {
    "": 1, "b": 1,
    "k": 1 << 10, "kib": 1 << 10, "kb": 10**3,
    "m": 1 << 20, "mib": 1 << 20, "mb": 10**6,
    "g": 1 << 30, "gib": 1 << 30, "gb": 10**9,
    "t": 1 << 40, "tib": 1 << 40, "tb": 10**12,
}  # fmt: skip
_TIME_UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "m": 60.0}
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*(?:/s)?)\s*")


def format_bytes(num_bytes: float) -> str:
    """Write a size with a binary unit, as ``1.5 GiB``."""
    for unit, factor in _BINARY:
        if abs(num_bytes) >= factor:
            return f"{_short(num_bytes / factor)} {unit}"
    return f"{num_bytes:.0f} B"


def format_rate(bytes_per_s: float) -> str:
    """Write a data rate with a decimal unit, as ``31.5 GB/s``."""
    return f"{_scaled(bytes_per_s)}B/s"


def format_flops(flop_per_s: float) -> str:
    """Write an arithmetic rate, as ``151 GFLOP/s``."""
    return f"{_scaled(flop_per_s)}FLOP/s"


def format_hz(hz: float) -> str:
    """Write a frequency, as ``2.60 GHz``."""
    return f"{_scaled(hz)}Hz"


def format_seconds(seconds: float) -> str:
    """Write a duration with the unit that keeps it readable, as ``121 ns`` or ``3.2 s``."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if abs(seconds) >= factor:
            return f"{_short(seconds / factor)} {unit}"
    return f"{_short(seconds / 1e-12)} ps" if seconds else "0 s"


_FORMATS: dict[str, Callable[[float], str]] = {
    "bytes_per_s": format_rate,
    "flop_per_s": format_flops,
    "s": format_seconds,
    "bytes": format_bytes,
    "hz": format_hz,
    "per_s": lambda value: f"{_scaled(value).rstrip()}/s",
    "ratio": lambda value: f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}",
}


def format_value(value: float, unit: str) -> str:
    """Write a number in the unit that a document names, as ``19.3 GB/s``."""
    if unit.startswith("s_per_"):
        return f"{format_seconds(value)} per {unit.removeprefix('s_per_').replace('_', ' ')}"
    if unit in _FORMATS:
        return _FORMATS[unit](value)
    if unit.endswith("_per_s"):
        return f"{_counted(value)} {unit[: -len('_per_s')].replace('_', ' ')}/s"
    return f"{_counted(value)} {unit.replace('_', ' ')}"


def format_interval(low: float, high: float, unit: str) -> str:
    """Write an interval, the unit once where both ends share it: ``18.9 to 19.6 GB/s``."""
    first, last = format_value(low, unit), format_value(high, unit)
    number, _, first_unit = first.partition(" ")
    if first_unit and first_unit == last.partition(" ")[2]:
        return f"{number} to {last}"
    return f"{first} to {last}"


def parse_size(text: str) -> int:
    """Read a size such as ``64MiB``, ``64M`` (binary) or ``64MB`` (decimal) in bytes.

    Raises
    ------
    InputError
        If the text is not a number with one of the units B, K, KiB, KB, M, MiB, MB, G, GiB, GB,
        T, TiB, TB.
    """
    return int(_parse(text, _SIZE_UNITS, "a size such as 64MiB"))


def parse_rate(text: str) -> float:
    """Read a rate such as ``5GB/s`` or ``5G`` (decimal) in bytes per second.

    Raises
    ------
    InputError
        If the text is not a number with one of the units k, M, G, T (decimal), with or without B/s.
    """
    bare = text.strip().removesuffix("/s").removesuffix("B")
    factors = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
    return _parse(bare, factors, "a rate such as 5GB/s")


def parse_seconds(text: str) -> float:
    """Read a duration such as ``250ms`` or ``2s`` in seconds.

    Raises
    ------
    InputError
        If the text is not a number with one of the units s, ms, us, ns, min.
    """
    return _parse(text, _TIME_UNITS, "a duration such as 250ms")


def _parse(text: str, factors: dict[str, int] | dict[str, float], wanted: str) -> float:
    match = _NUMBER.fullmatch(text)
    if match is None or match[2].lower() not in factors:
        raise InputError(f"{text.strip()!r} is not {wanted}.")
    return float(match[1]) * factors[match[2].lower()]


def _scaled(value: float) -> str:
    for prefix, factor in _DECIMAL:
        if abs(value) >= factor:
            return f"{_short(value / factor)} {prefix}"
    return f"{_short(value)} "


def _counted(value: float) -> str:
    """Give three significant digits, with a decimal prefix from a hundred thousand on."""
    if abs(value) >= 1e5:
        return _scaled(value).rstrip()
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _short(value: float) -> str:
    """Give three significant digits without an exponent."""
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"
