"""What a comparison says, on one screen: what is worse first, what is the same only counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from topoprobe.records.base import Change
from topoprobe.units import format_bytes, format_rate

_SECTIONS = (("worse", "Worse"), ("incomparable", "Different"), ("better", "Better"))
_MAX_LINES = 40
_MAX_NAME = 60


def change_lines(changes: Sequence[Change]) -> list[str]:
    """Say on one screen what changed.

    Parameters
    ----------
    changes : sequence of Change
        All of them, those that are the same included.
    """
    lines = [_summary(changes)]
    for verdict, title in _SECTIONS:
        mine = [c for c in changes if c.verdict == verdict and not _is_one_sided(c)]
        if mine:
            lines += ["", title, *_section(mine)]
    num_one_sided = sum(map(_is_one_sided, changes))
    if num_one_sided:
        lines += ["", f"{num_one_sided} figures are known of one side only; --json lists them."]
    return lines


def summary_counts(changes: Sequence[Change]) -> dict[str, int]:
    """Count the changes by verdict, those that there are none of included."""
    counts = Counter(change.verdict for change in changes)
    return {verdict: counts[verdict] for verdict in ("worse", "better", "incomparable", "same")}


def _summary(changes: Sequence[Change]) -> str:
    counts = summary_counts(changes)
    different = counts["incomparable"] - sum(map(_is_one_sided, changes))
    if not counts["worse"] and not counts["better"] and not different:
        return f"Nothing changed: {counts['same']} figures are the same."
    return (
        f"{counts['worse']} worse, {counts['better']} better, {different} different, "
        f"{counts['same']} the same."
    )


def _is_one_sided(change: Change) -> bool:
    """Tell whether nothing changed but what is known: another source told more or less."""
    return change.verdict == "incomparable" and None in {change.before, change.after}


def _section(changes: Sequence[Change]) -> Iterator[str]:
    shown = changes[:_MAX_LINES]
    width = max(min(len(change.name), _MAX_NAME) for change in shown)
    for change in shown:
        yield f"  {change.name:<{width}}  {_sides(change)}"
        if change.reason:
            yield f"    {change.reason}"
    if len(changes) > len(shown):
        yield f"  … and {len(changes) - len(shown)} more; --json lists them."


def _sides(change: Change) -> str:
    if change.before is None:
        return "new"
    if change.after is None:
        return "gone"
    ratio = "" if change.ratio is None else f" ({change.ratio:.3g}x)"
    return f"{_value(change.before, change.unit)} -> {_value(change.after, change.unit)}{ratio}"


def _value(value: str | float, unit: str | None) -> str:
    if isinstance(value, str) or unit is None:
        return str(value)
    if unit == "bytes_per_s":
        return format_rate(value)
    if unit == "bits_per_s":
        return f"{value / 1e9:g} Gb/s"
    return format_bytes(value)
