"""Numbers as people read them: text, interval, and where the number comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from topoprobe.records.base import Estimate, Source
from topoprobe.units import format_bytes, format_flops, format_hz, format_rate, format_seconds

_FORMATS: dict[str, Callable[[float], str]] = {
    "bytes_per_s": format_rate,
    "flop_per_s": format_flops,
    "s": format_seconds,
    "bytes": format_bytes,
    "hz": format_hz,
    "per_s": lambda value: f"{format_hz(value)[:-2].rstrip()}/s",
    "ratio": lambda value: f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}",
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number ready for the page.

    Attributes
    ----------
    text : str
        The number with its unit.
    spread : str
        Half the width of the 95 % interval relative to the value, as ``± 1.8 %``; empty for
        nominal numbers.
    source : str
        ``measured``, ``derived`` or ``nominal``.
    tip : str
        Interval, source, number of samples and evidence, in lines.
    """

    text: str
    spread: str
    source: str
    tip: str


def format_value(value: float, unit: str) -> str:
    """Write a number in the unit that a document names, as ``19.3 GB/s``."""
    if unit.startswith("s_per_"):
        return f"{format_seconds(value)} per {unit.removeprefix('s_per_').replace('_', ' ')}"
    if unit in _FORMATS:
        return _FORMATS[unit](value)
    if unit.endswith("_per_s"):
        return f"{_counted(value)} {unit[: -len('_per_s')].replace('_', ' ')}/s"
    return f"{_counted(value)} {unit.replace('_', ' ')}"


def _counted(value: float) -> str:
    """Give three significant digits, with a decimal prefix from a hundred thousand on."""
    if abs(value) >= 1e5:
        return format_hz(value).removesuffix("Hz").rstrip()
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def format_tick(value: float, unit: str) -> str:
    """Write a round number at an axis, without the zeros that say how precise it is."""
    number, _, rest = format_value(value, unit).partition(" ")
    if not value:
        return "0"
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{number} {rest}".rstrip()


def format_interval(low: float, high: float, unit: str) -> str:
    """Write an interval, the unit once where both ends share it: ``18.9 to 19.6 GB/s``."""
    first, last = format_value(low, unit), format_value(high, unit)
    number, _, first_unit = first.partition(" ")
    if first_unit and first_unit == last.partition(" ")[2]:
        return f"{number} to {last}"
    return f"{first} to {last}"


def format_percent(ratio: float) -> str:
    """Write a small ratio in per cent: ``4.2 %``, ``12 %``."""
    return f"{ratio * 100:.1f} %" if abs(ratio) < 0.0995 else f"{ratio * 100:.0f} %"


def quantity(estimate: Estimate, unit: str) -> Quantity:
    """Prepare an estimate for the page."""
    return Quantity(
        text=format_value(estimate.value, unit),
        spread=_spread(estimate),
        source=estimate.source.value,
        tip=tip(estimate, unit),
    )


def tip(estimate: Estimate, unit: str) -> str:
    """Return the lines that a tooltip shows about an estimate."""
    lines = [format_value(estimate.value, unit)]
    if estimate.source is Source.NOMINAL:
        lines.append("nominal: stated, not measured")
    else:
        lines.append(_interval(estimate, unit))
        lines.append(f"{estimate.source.value}, n = {estimate.n}")
    if estimate.evidence:
        lines.append(estimate.evidence)
    return "\n".join(lines)


def _interval(estimate: Estimate, unit: str) -> str:
    """Write the interval of a measured estimate, or that one sample has none."""
    if not estimate.has_interval:
        return "one sample, no interval"
    return f"95 % interval {format_interval(estimate.low, estimate.high, unit)}"


def _spread(estimate: Estimate) -> str:
    if estimate.source is Source.NOMINAL or not estimate.value:
        return ""
    if not estimate.has_interval:
        return "one sample"
    half = (estimate.high - estimate.low) / 2 / abs(estimate.value)
    return f"± {format_percent(half)}"
