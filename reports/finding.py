"""One finding, and the words that findings are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence or two with numbers.

    Attributes
    ----------
    level : str
        ``bad`` (wrong), ``warn`` (mind this), ``good`` (as it should be), ``note`` (good to know).
    lead : str
        The short claim, set in bold.
    rest : str
        Evidence, and what to do.
    """

    level: str
    lead: str
    rest: str = ""


def word(number: int) -> str:
    """Write a small number as a word."""
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def count(number: int, thing: str) -> str:
    """Write a number of things, as ``one fact`` or ``12 facts``."""
    return f"{word(number)} {thing}{'' if number == 1 else 's'}"


def capital(text: str) -> str:
    """Begin a sentence."""
    return text[:1].upper() + text[1:]


def some(texts: Sequence[str], counts: Sequence[int] = ()) -> str:
    """Write the first few of many clauses, and how many things there are besides.

    Parameters
    ----------
    texts : sequence of str
        The clauses.
    counts : sequence of int
        How many things each clause tells of, one by default: what is named and what is left out
        add up to the number that the finding leads with.
    """
    shown = "; ".join(text.rstrip(".") for text in texts[:_MOST_NAMED])
    left = sum(counts[_MOST_NAMED:]) if counts else len(texts) - _MOST_NAMED
    return f"{shown}; and {left} more" if len(texts) > _MOST_NAMED else shown


def listed(names: Iterable[str]) -> str:
    """Write the first few of many names, equal ones once with their number, and the rest."""
    counts = list(Counter(names).items())
    left = sum(number for _, number in counts[_MOST_NAMED:])
    shown = [name if number == 1 else f"{name} ({number})" for name, number in counts]
    return ", ".join(shown[:_MOST_NAMED]) + (f" and {left} more" if left else "")
