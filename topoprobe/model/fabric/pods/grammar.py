"""The grammar of pods: machines that a network joins, as one text.

::

    pod     = group ("," group)* ":" network
    group   = [number "x"] machine
    network = ("rail" | "flat") [rate] ["," "spine" number ":" number]

as ``128 x hgx-h100 : rail 400gb, spine 2:1``. A machine is a name or a path, or a made-up machine's
text in braces, ``{socket: 2 gpu, nic(cx7)}``. Hosts are numbered through all groups from 0.

In a ``rail`` network the first NICs of all hosts hang on one switch, the second ones on another,
and so on; what goes from one rail to another takes the spine, if there is one. In a ``flat``
network all hang on one. The rate is that of one NIC; the NICs that carry as much take part, the
fastest ones where none is told. ``spine 2:1`` has half the bandwidth of the hosts below it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NoReturn

from topoprobe.errors import InputError

MAX_HOSTS = 4096
_MEANT = re.compile(r":\s*(?:rail|flat)\b[^{}]*$", re.IGNORECASE)
_COUNT = re.compile(r"\s*(?P<number>[0-9]+)\s*x\s+")
_MACHINE = re.compile(r"\s*(?:\{(?P<text>[^{}]*)\}|(?P<name>[^\s,:{}]+))\s*")
_NETWORK = re.compile(r"\s*(?P<kind>[A-Za-z]+)\s*(?:(?P<rate>[0-9.]+)\s*(?P<unit>gb|tb)\b)?\s*",
                      re.IGNORECASE)  # fmt: skip
_SPINE = re.compile(r"\s*spine\s+(?P<down>[0-9]+)\s*:\s*(?P<up>[0-9]+)\s*", re.IGNORECASE)
_BITS = {"gb": 1e9, "tb": 1e12}


@dataclass(frozen=True, slots=True)
class Group:
    """Equal hosts, and where their text stands, from 0."""

    number: int
    machine: str
    position: int


@dataclass(frozen=True, slots=True)
class Network:
    """How hosts are joined.

    Attributes
    ----------
    kind : str
    rate_bits_per_s : float or None
        Of one NIC; None for that of the fastest ones.
    oversubscription_ratio : float or None
        What can come from below a spine over what it carries; None where there is no spine.
    """

    kind: Literal["rail", "flat"]
    rate_bits_per_s: float | None = None
    oversubscription_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """Hosts and their network."""

    groups: tuple[Group, ...]
    network: Network


def is_pod(text: str) -> bool:
    """Tell whether a text is meant as a pod: it ends with a network, or counts machines."""
    return _MEANT.search(text) is not None or _COUNT.match(text) is not None


def parse_pod(text: str) -> Pod:
    """Read the text of a pod.

    Raises
    ------
    InputError
        At the first mistake, with its column, counted from 1.
    """
    position, groups = 0, []
    while True:
        group, position = _group(text, position)
        groups.append(group)
        if text[position : position + 1] != ",":
            break
        position += 1
    if sum(group.number for group in groups) > MAX_HOSTS:
        raise InputError(f"The pod has more than {MAX_HOSTS} hosts; expected at most so many.")
    if text[position : position + 1] != ":":
        _fail(text, position, '"," and more machines, or ":" and a network as "rail 400gb"')
    return Pod(tuple(groups), _network(text, position + 1))


def _group(text: str, position: int) -> tuple[Group, int]:
    count, number = _COUNT.match(text, position), 1
    if count is not None:
        number = int(count["number"])
        if not 1 <= number <= MAX_HOSTS:
            _fail(text, position, f"a number from 1 to {MAX_HOSTS}")
        position = count.end()
    found = _MACHINE.match(text, position)
    if found is None:
        _fail(text, position, 'machines, as "4 x hgx-h100" or "4 x {socket: gpu, nic(cx7)}"')
    part = "name" if found["text"] is None else "text"
    return Group(number, found[part], found.start(part)), found.end()


def _network(text: str, position: int) -> Network:
    found = _NETWORK.match(text, position)
    kind = found["kind"].lower() if found is not None else ""
    if found is None or kind not in ("rail", "flat"):
        _fail(
            text,
            position,
            "rail or flat (a made-up machine's text stands in braces: "
            "2 x {socket: 2 gpu, nic(cx7)} : flat)",
        )
    rate = None
    if found["rate"] is not None:
        rate = _rate(text, found) * _BITS[found["unit"].lower()]
    position = found.end()
    ratio = None
    if text[position : position + 1] == ",":
        spine = _SPINE.match(text, position + 1)
        if spine is None or not int(spine["up"]) or not int(spine["down"]):
            _fail(text, position + 1, "a spine, as spine 2:1")
        ratio = int(spine["down"]) / int(spine["up"])
        position = spine.end()
    if position < len(text):
        _fail(text, position, 'a rate as 400gb, ", spine 2:1", or the end')
    return Network("rail" if kind == "rail" else "flat", rate, ratio)


def _rate(text: str, found: re.Match[str]) -> float:
    try:
        rate = float(found["rate"])
    except ValueError:
        rate = 0.0
    if not rate > 0.0:
        _fail(text, found.start("rate"), "a rate above zero, as 400gb")
    return rate


def _fail(text: str, position: int, expected: str) -> NoReturn:
    rest = text[position:]
    position += len(rest) - len(rest.lstrip())
    found = repr(text[position : position + 20]) if text[position:] else "its end"
    raise InputError(f"Pod, column {position + 1}: found {found}; expected {expected}.")
