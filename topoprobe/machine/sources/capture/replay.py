"""What a capture holds besides `/sys` and `/proc`: when it was made, and NVML's answers."""

from __future__ import annotations

import msgspec

from topoprobe.errors import InputError
from topoprobe.machine.facts import Facts
from topoprobe.machine.sources.files import Files

ABOUT, ANSWERS = "topoprobe/capture.json", "topoprobe/nvml.json"
VERSION = 1
_MAX_BYTES = 32 << 20


class About(msgspec.Struct, frozen=True, kw_only=True):
    """Who captured when; `without_nvml` says why there are no answers of NVML."""

    version: int = VERSION
    tool_version: str
    captured_at: str | None = None
    without_nvml: str | None = None


def matches(files: Files) -> bool:
    """Tell whether a tree was captured by `topoprobe scan --capture`."""
    return files.data(ABOUT) is not None


def read(files: Files, name: str = "") -> Facts:
    """Ask the recorded driver what a live one would be asked.

    Raises
    ------
    InputError
        If the recording is damaged or of a newer version.
    """
    from topoprobe.machine.sources import nvml
    from topoprobe.machine.sources.nvml.recording import ReplayProvider

    about = _about(files, name)
    answers = files.data(ANSWERS, _MAX_BYTES)
    if answers is not None:
        facts = nvml.read(ReplayProvider(answers, f"{ANSWERS} in {name}"))
    else:
        facts = nvml.unavailable(about.without_nvml or "The capture has no answers of NVML.")
    return msgspec.structs.replace(
        facts, source=f"{facts.source} {name}".strip(), captured_at=about.captured_at
    )


def _about(files: Files, name: str) -> About:
    data = files.data(ABOUT, _MAX_BYTES) or b""
    try:
        about = msgspec.json.decode(data, type=About)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{name} has a damaged {ABOUT} ({error}); capture the machine again."
        ) from error
    if about.version > VERSION:
        raise InputError(
            f"{name} is a capture of version {about.version}, and this topoprobe reads up to "
            f"{VERSION}; install a newer one."
        )
    return about
