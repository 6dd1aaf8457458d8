"""Single values as `nvidia-smi -q -x` prints them, and its many ways to print none."""

from __future__ import annotations

import re

from topoprobe.machine.pcie import GENERATIONS, parse_width

_MEMORY = re.compile(r"([0-9]+) ?([KMGT]?)i?B", re.IGNORECASE)
_STATE = re.compile(r"P(?:[0-9]|1[0-5])")
_DEVICE_ID = re.compile(r"(?:0x)?([0-9A-F]{4})([0-9A-F]{4})", re.IGNORECASE)
_POWERS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_MAX_DIGITS = 18

# What stands where the board has no such thing.
_NOTHING = {"", "n/a", "not supported", "requested functionality has been deprecated"}

# nvmlErrorString, as it is printed where a value should be, and what older versions print.
_FAILURES = {
    "err!", "unknown error", "gpu is lost", "gpu requires restart", "gpu requires reset",
    "insufficient permissions", "timeout", "not found", "unknown",
}  # fmt: skip


def bare(text: str | None) -> str:
    """Return a text without blanks and the square brackets that older versions put around gaps."""
    return (text or "").strip().removeprefix("[").removesuffix("]").strip()


def is_nothing(text: str) -> bool:
    """Tell whether a bare text says that there is no such thing."""
    return text.lower() in _NOTHING


def name(text: str) -> str | None:
    """Return a name or identifier; the driver's words for a failure are none."""
    return None if text.lower() in _FAILURES else text or None


def number(text: str) -> int | None:
    """Read a count."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= _MAX_DIGITS else None


def size(text: str) -> int | None:
    """Read an amount of memory, as ``81559 MiB``; what old versions call MB is the same."""
    match = _MEMORY.fullmatch(text)
    if match is None or len(match[1]) > _MAX_DIGITS:
        return None
    return (int(match[1]) << _POWERS[match[2].upper()]) or None


def lanes(text: str) -> int | None:
    """Read a link width, as ``16x``."""
    return parse_width(text.lower().removesuffix("x"))


def generation(text: str) -> int | None:
    """Read a generation of PCIe; one that there is not, as 0, is none."""
    value = number(text)
    return value if value in {g.number for g in GENERATIONS} else None


def performance_state(text: str) -> str | None:
    """Read ``P0`` to ``P15``."""
    return text if _STATE.fullmatch(text) else None


def switch(text: str) -> bool | None:
    """Read ``Enabled`` or ``Disabled``, ``Active`` or ``Not Active``."""
    return {"enabled": True, "disabled": False, "active": True, "not active": False}.get(
        text.lower()
    )


def answer(text: str) -> bool | None:
    """Read ``Yes`` or ``No``."""
    return {"yes": True, "no": False}.get(text.lower())


def lowered(text: str) -> str | None:
    """Return a word in the spelling that `machine.nvidia` has."""
    return name(text.lower())


def device_and_vendor(text: str) -> tuple[str, str] | None:
    """Read the two ids in ``233010DE``."""
    match = _DEVICE_ID.fullmatch(text)
    return (match[1].lower(), match[2].lower()) if match else None
