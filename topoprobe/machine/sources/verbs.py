"""Ports of verbs devices, as class infiniband has them: `DEVICE/ports/N/{rate,state,…}`."""

from __future__ import annotations

import re
from typing import NamedTuple

from topoprobe.machine.sources.files import Files

# `400 Gb/sec (4X NDR)`
_RATE = re.compile(r"([0-9]{1,6}(?:\.[0-9]+)?)\s*Gb/sec")


class VerbsPort(NamedTuple):
    """One port of a verbs device."""

    device: str
    number: int
    rate_bits_per_s: float | None
    state: str | None
    link_layer: str | None


def read_ports(files: Files, folder: str) -> tuple[VerbsPort, ...]:
    """Read the ports of the device with this folder."""
    device = folder.rpartition("/")[2]
    return tuple(
        _port(files, device, number, path) for number, path in files.numbered(f"{folder}/ports", "")
    )


def _port(files: Files, device: str, number: int, path: str) -> VerbsPort:
    state = _word(files.text(f"{path}/state"))
    is_up = state == "active" or (
        state is None and _word(files.text(f"{path}/phys_state")) == "linkup"
    )
    rate = _RATE.match(files.text(f"{path}/rate") or "")
    return VerbsPort(
        device=device,
        number=number,
        # A port that is down shows the least rate it has, or the last one.
        rate_bits_per_s=(float(rate[1]) * 1e9 or None) if rate and is_up else None,
        state=state,
        link_layer=files.text(f"{path}/link_layer") or None,
    )


def _word(text: str | None) -> str | None:
    """Return the word of `4: ACTIVE`, in lower case."""
    return (text or "").rpartition(":")[2].strip().lower() or None
