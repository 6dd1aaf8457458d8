"""Every answer of a driver as JSON, to be given again elsewhere."""

from __future__ import annotations

from typing import Any

import msgspec

from topoprobe.errors import InputError
from topoprobe.machine.sources.nvml.provider import Answer, Provider

VERSION = 1


class Call(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call with its answer."""

    function: str
    arguments: tuple[Any, ...] = ()
    value: Any = None
    reason: str | None = None
    code: int | None = None


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """All calls, in the order in which they were first made."""

    version: int = VERSION
    calls: tuple[Call, ...]


class RecordingProvider:
    """Passes each call on and remembers its answer; a repeated call keeps the latest."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._calls: dict[tuple[str, bytes], Call] = {}

    def ask(self, function: str, *arguments: Any) -> Answer:
        """Ask the provider below."""
        answer = self._provider.ask(function, *arguments)
        self._calls[_key(function, arguments)] = Call(
            function=function,
            arguments=arguments,
            value=answer.value,
            reason=answer.reason,
            code=answer.code,
        )
        return answer

    def to_json(self) -> bytes:
        """Return everything that was asked so far."""
        return msgspec.json.encode(Recording(calls=tuple(self._calls.values())))


class ReplayProvider:
    """Answers as the recorded driver did.

    Parameters
    ----------
    data : bytes
        What `RecordingProvider.to_json` gave.
    name : str
        How error messages call it.

    Raises
    ------
    InputError
        If it is damaged or written by a newer version.
    """

    def __init__(self, data: bytes, name: str) -> None:
        try:
            recording = msgspec.json.decode(data, type=Recording)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(
                f"{name} is no recording of NVML's answers ({error}); capture it again."
            ) from error
        if recording.version > VERSION:
            raise InputError(
                f"{name} is of version {recording.version}, and this topoprobe reads up to "
                f"{VERSION}; install a newer one."
            )
        self._calls = {_key(call.function, call.arguments): call for call in recording.calls}

    def ask(self, function: str, *arguments: Any) -> Answer:
        """Look the answer up; a call that nobody made then has none."""
        call = self._calls.get(_key(function, arguments))
        if call is None:
            return Answer(None, f"{function} was not recorded.")
        return Answer(call.value, call.reason, call.code)


def _key(function: str, arguments: tuple[Any, ...]) -> tuple[str, bytes]:
    return function, msgspec.json.encode(arguments)
