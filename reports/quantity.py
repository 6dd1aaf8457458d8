"""Numbers as people read them: text, interval, and where the number comes from."""

from __future__ import annotations

from dataclasses import dataclass

from topoprobe.records.base import Estimate, Source
from topoprobe.units import format_interval, format_value


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


def format_tick(value: float, unit: str) -> str:
    """Write a round number at an axis, without the zeros that say how precise it is."""
    number, _, rest = format_value(value, unit).partition(" ")
    if not value:
        return "0"
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{number} {rest}".rstrip()


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
