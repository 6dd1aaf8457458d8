"""One GPU or MIG device: asking it, and remembering what it would not tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from topoprobe.machine.sources.nvml.codes import Code
from topoprobe.machine.sources.nvml.provider import Answer, Provider
from topoprobe.records.base import Missing

T = TypeVar("T")


class Device:
    """Asks one device.

    A GPU that has fallen off the bus is asked no more: every further call would fail the same way
    and may take long to do so.

    Parameters
    ----------
    provider : Provider
        Who answers.
    handle : str
        The provider's name of the device.
    subject : str
        How facts call it.

    Attributes
    ----------
    unknown : list of Missing
        What it was asked and did not tell.
    """

    def __init__(self, provider: Provider, handle: str, subject: str) -> None:
        self.provider = provider
        self.handle = handle
        self.subject = subject
        self.unknown: list[Missing] = []
        self._lost: Answer | None = None

    @property
    def is_lost(self) -> bool:
        """Whether it has fallen off the bus while it was asked."""
        return self._lost is not None

    def ask(self, function: str, *arguments: Any) -> Answer:
        """Call a function with the device as its first argument."""
        if self._lost is not None:
            return self._lost
        answer = self.provider.ask(function, self.handle, *arguments)
        if answer.code == Code.GPU_IS_LOST:
            self._lost = answer
        return answer

    def wanted(
        self, fact: str, kind: Callable[[Any], T | None], function: str, *arguments: Any
    ) -> T | None:
        """Ask for a fact that every GPU should have; a refusal is noted.

        Parameters
        ----------
        fact : str
            Its name.
        kind : callable
            Makes the fact of the value, or None where the value makes no sense.
        function : str
            What to call.
        *arguments
            After the device.
        """
        answer = self.ask(function, *arguments)
        if answer.reason is not None:
            self.miss(fact, answer.reason)
            return None
        found = kind(answer.value)
        if found is None:
            self.miss(fact, f"{function} gave {answer.value!r}, which means nothing.")
        return found

    def offered(
        self, fact: str, kind: Callable[[Any], T | None], function: str, *arguments: Any
    ) -> T | None:
        """Ask for a fact that only some boards have: that it is not supported is an answer."""
        answer = self.ask(function, *arguments)
        if answer.reason is not None and answer.code != Code.NOT_SUPPORTED:
            self.miss(fact, answer.reason)
        return None if answer.reason is not None else kind(answer.value)

    def miss(self, fact: str, reason: str) -> None:
        """Note that a fact is unknown."""
        self.unknown.append(Missing(subject=self.subject, fact=fact, reason=reason))


def number(value: Any) -> int | None:
    """Return a number that is not negative, or None; recordings may hold anything."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value < 1 << 64 else None


def size(value: Any) -> int | None:
    """Return a positive number, or None."""
    return number(value) or None


def text(value: Any) -> str | None:
    """Return a text that is not empty, or None."""
    return value.strip() or None if isinstance(value, str) else None


def member(value: Any, name: str) -> Any:
    """Return a member of a structure, or None."""
    return value.get(name) if isinstance(value, dict) else None


def numbers(value: Any) -> list[int | None]:
    """Return the numbers of an array; empty for anything else."""
    return [number(one) for one in value] if isinstance(value, list) else []


def bits(value: Any) -> tuple[int, ...]:
    """Return the bits that are set in an array of 64-bit words, lowest first."""
    return tuple(
        64 * index + bit
        for index, word in enumerate(numbers(value))
        for bit in range(64)
        if (word or 0) >> bit & 1
    )


def field_values(value: Any) -> list[int | None]:
    """Return what `nvmlDeviceGetFieldValues` gave, in order; None for each that failed."""
    fields = value if isinstance(value, list) else []
    return [
        number(member(one, "value")) if member(one, "nvmlReturn") == 0 else None for one in fields
    ]
