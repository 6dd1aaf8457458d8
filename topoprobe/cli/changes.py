"""What a comparison says, on one screen: what is worse first, what is the same only counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from textwrap import wrap

from topoprobe.machine.wording import count
from topoprobe.records.base import Change
from topoprobe.units import format_bytes, format_rate

_SECTIONS = (("worse", "Worse"), ("incomparable", "Different"), ("better", "Better"))
_MAX_LINES = 40
_MAX_NAME = 60
_MIN_SIDES = 24
# So many changes that differ only in the nodes they are about are listed one by one.
_MAX_ALIKE = 3
_NODE = re.compile(r"(\w+)[@:]\S+")


def change_lines(changes: Sequence[Change], width: int) -> list[str]:
    """Say on one screen what changed.

    Parameters
    ----------
    changes : sequence of Change
        All of them, those that are the same included.
    width : int
        Columns of the screen; values that need more are wrapped between words.
    """
    lines = [_summary(changes)]
    for verdict, title in _SECTIONS:
        mine = [c for c in changes if c.verdict == verdict and not _is_one_sided(c)]
        if mine:
            lines += ["", title, *_section(mine, width)]
    num_one_sided = sum(map(_is_one_sided, changes))
    if num_one_sided:
        are = "is" if num_one_sided == 1 else "are"
        known = f"{count(num_one_sided, 'figure')} {are} known of one side only; --json"
        lines += ["", f"{known} lists {'it' if num_one_sided == 1 else 'them'}."]
    return lines


def summary_counts(changes: Sequence[Change]) -> dict[str, int]:
    """Count the changes by verdict, those that there are none of included."""
    counts = Counter(change.verdict for change in changes)
    return {verdict: counts[verdict] for verdict in ("worse", "better", "incomparable", "same")}


def _summary(changes: Sequence[Change]) -> str:
    counts = summary_counts(changes)
    different = counts["incomparable"] - sum(map(_is_one_sided, changes))
    if not counts["worse"] and not counts["better"] and not different:
        are = "is" if counts["same"] == 1 else "are"
        return f"Nothing changed: {count(counts['same'], 'figure')} {are} the same."
    return (
        f"{counts['worse']} worse, {counts['better']} better, {different} different, "
        f"{counts['same']} the same."
    )


def _is_one_sided(change: Change) -> bool:
    """Tell whether nothing changed but what is known: another source told more or less."""
    return change.verdict == "incomparable" and None in {change.before, change.after}


def _section(changes: Sequence[Change], width: int) -> Iterator[str]:
    rows = list(_rows(changes))
    shown = rows[:_MAX_LINES]
    column = max(min(len(name), _MAX_NAME, width - _MIN_SIDES - 4) for name, _ in shown)
    for name, of in shown:
        yield from _row(name, _sides(of[0]), column, width)
        if of[0].reason:
            yield from _wrapped(of[0].reason, width, 4)
    num_cut = sum(len(of) for _, of in rows[_MAX_LINES:])
    if num_cut:
        yield f"  … and {num_cut} more; --json lists them."


def _rows(changes: Sequence[Change]) -> Iterator[tuple[str, list[Change]]]:
    """Name each row: a change, or the first of many that differ only in what they are about."""
    groups: dict[tuple[object, ...], list[Change]] = {}
    for change in changes:
        kind = tuple(_kind(word) for word in change.name.split())
        key = (kind, change.before, change.after, change.reason)
        groups.setdefault(key, []).append(change)
    for alike in groups.values():
        if len(alike) > _MAX_ALIKE:
            yield f"{alike[0].name} and {len(alike) - 1} more", alike
        else:
            yield from ((change.name, [change]) for change in alike)


def _kind(word: str) -> str:
    """Return the kind of a node, and any other word as it is."""
    node = _NODE.fullmatch(word)
    return node[1] if node else word


def _row(name: str, sides: str, column: int, width: int) -> Iterator[str]:
    """Set a change beside its name, or below it where the name leaves no room."""
    if len(name) > column:
        yield from _wrapped(name, width, 2)
        yield from _wrapped(sides, width, 4)
        return
    first, *others = _wrapped(sides, width, column + 4)
    yield f"  {name:<{column}}  {first.lstrip()}"
    yield from others


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    return wrap(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _sides(change: Change) -> str:
    if change.before is None:
        return "new"
    if change.after is None:
        return "gone"
    ratio = f" ({change.ratio:.3g}x)" if change.ratio else ""
    return f"{_value(change.before, change.unit)} -> {_value(change.after, change.unit)}{ratio}"


def _value(value: str | float, unit: str | None) -> str:
    if isinstance(value, str) or unit is None:
        return str(value)
    if unit == "bytes_per_s":
        return format_rate(value)
    if unit == "bits_per_s":
        return f"{value / 1e9:g} Gb/s"
    return format_bytes(value)
