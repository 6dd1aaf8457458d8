"""The one way to ask NVML: a function's name and plain arguments in, plain data or a reason out.

Everything above this line works the same on a live driver, a recording of its answers, and a
made-up one.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Answer(NamedTuple):
    """What a call gave.

    Attributes
    ----------
    value : int, float, str, bool, list, dict or None
        Plain data that JSON can hold; structures are dicts by the names of their C fields.
    reason : str or None
        Why there is no value, in a sentence that names the function.
    code : int or None
        NVML's return code of a failed call (`codes.Code`); None if the function does not exist.
    """

    value: Any
    reason: str | None = None
    code: int | None = None


class Provider(Protocol):
    """Something that answers as NVML does.

    Devices are named by strings that the provider gives out itself (``gpu:0``, ``gpu:0/mig:1``)
    where NVML gives handles; they are passed back as arguments.
    """

    def ask(self, function: str, *arguments: Any) -> Answer:
        """Call one function; it never raises, since a refusal is an answer too."""
